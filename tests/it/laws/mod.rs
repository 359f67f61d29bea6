//! Laws of the design that each have a test that names them.

mod law_01_conservation;
mod law_02_exactly_once;
mod law_04_one_winner;
mod law_12_bounded_work;

/// A small random number generator (`SplitMix64`), so that a failure repeats itself.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Rows of a lane: good ones, duplicates of a few hundred emails that lanes share, and bad ones.
fn mixed_rows(random: &mut Random, count: usize) -> Vec<String> {
    let mut row = || match random.below(10) {
        0 => String::new(),
        1 => "[1,2]".to_owned(),
        2 => r#"{"email":"a@x.example","n":"\u0000"}"#.to_owned(),
        _ => format!(
            r#"{{"email":"P{}@x.example","title":"{}"}}"#,
            random.below(300),
            random.below(4)
        ),
    };
    std::iter::repeat_with(&mut row).take(count).collect()
}
