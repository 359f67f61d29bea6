//! Whose a conversion is: how each model shares its credit and its value among the touches before it.
//!
//! Credit is counted in parts of 10^12, value in cents, and both are shared out by the largest remainder, so that
//! the shares of a conversion sum to exactly what there is. There is no float: the powers of time decay are
//! integers too.

mod tally;

pub(super) use tally::{Share, Tally, Touch};

/// The credit of one conversion, in parts.
pub(super) const WHOLE: i128 = 1_000_000_000_000;

/// How credit is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// All of it to the first touch.
    FirstTouch,
    /// All of it to the last touch.
    LastTouch,
    /// The same to each touch.
    Linear,
    /// 40 % to the first, 40 % to the last, 20 % to those between; of two half to each.
    PositionBased,
    /// A touch counts half of one that is a half-life nearer to the conversion.
    TimeDecay {
        /// In nanoseconds, above zero.
        half_life: i128,
    },
}

impl Model {
    /// The credits of touches at these times (in nanoseconds of any era, oldest first). They sum to [`WHOLE`],
    /// unless there is none.
    pub(super) fn credits(self, times: &[i128]) -> Vec<i128> {
        apportion(WHOLE, &self.weights(times))
    }

    fn weights(self, times: &[i128]) -> Vec<i128> {
        let count = times.len();
        let last = count.saturating_sub(1);
        let only = |wanted: usize| (0..count).map(|nth| i128::from(nth == wanted)).collect();
        match self {
            Self::FirstTouch => only(0),
            Self::LastTouch => only(last),
            Self::Linear => vec![1; count],
            Self::PositionBased => positions(count),
            // The last touch weighs 1: what lies between it and the conversion divides all alike, and would
            // only cost digits.
            Self::TimeDecay { half_life } => times
                .iter()
                .map(|time| decay(times[last].saturating_sub(*time), half_life))
                .collect(),
        }
    }
}

/// Of n touches the first and the last weigh 2(n-2), those between 1 each: 40 %, 40 % and 20 %.
fn positions(count: usize) -> Vec<i128> {
    let between = i128::try_from(count.saturating_sub(2)).unwrap_or(i128::MAX);
    let end = if between == 0 { 1 } else { 2 * between };
    let is_end = |nth| nth == 0 || nth + 1 == count;
    (0..count)
        .map(|nth| if is_end(nth) { end } else { 1 })
        .collect()
}

/// Shares `total` by weights: each gets its share rounded down, and what is left over goes, one each, to the
/// largest remainders, of equals to the earlier. Weights that are all zero get nothing.
pub(super) fn apportion(total: i128, weights: &[i128]) -> Vec<i128> {
    let sum: i128 = weights.iter().sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let mut shares: Vec<i128> = weights.iter().map(|weight| total * weight / sum).collect();
    let left_over = total - shares.iter().sum::<i128>();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|nth| std::cmp::Reverse(total * weights[*nth] % sum));
    // Fewer than there are remainders above zero.
    let left_over = usize::try_from(left_over).unwrap_or(0);
    for nth in by_remainder.into_iter().take(left_over) {
        shares[nth] += 1;
    }
    shares
}

/// The bits after the point of a weight.
const WEIGHT_BITS: u32 = 62;
const ONE: u128 = 1 << WEIGHT_BITS;
/// How many bits of a fraction of a half-life are looked at; beyond it a weight does not change.
const ROOT_COUNT: usize = 60;
/// 2^(-1/2), 2^(-1/4), 2^(-1/8), ...
const ROOTS: [u128; ROOT_COUNT] = roots();

const fn roots() -> [u128; ROOT_COUNT] {
    let mut roots = [0; ROOT_COUNT];
    let mut root = ONE / 2;
    let mut nth = 0;
    while nth < ROOT_COUNT {
        root = (root << WEIGHT_BITS).isqrt();
        roots[nth] = root;
        nth += 1;
    }
    roots
}

/// 2^(-age / half-life), 1 being [`ONE`]: whole half-lives shift it, and each bit of the rest multiplies a root.
fn decay(age: i128, half_life: i128) -> i128 {
    let halvings = u32::try_from(age / half_life).unwrap_or(u32::MAX);
    let mut weight = ONE.checked_shr(halvings).unwrap_or(0);
    let mut rest = age % half_life;
    for root in ROOTS {
        rest *= 2;
        if rest >= half_life {
            rest -= half_life;
            weight = (weight * root) >> WEIGHT_BITS;
        }
    }
    // At most ONE.
    i128::try_from(weight).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i128 = 3_600_000_000_000;
    const DAY: i128 = 24 * HOUR;

    /// Every model, time decay with a half-life.
    pub(super) fn models(half_life: i128) -> [Model; 5] {
        [
            Model::FirstTouch,
            Model::LastTouch,
            Model::Linear,
            Model::PositionBased,
            Model::TimeDecay { half_life },
        ]
    }

    /// One touch takes everything, by every model.
    #[test]
    fn a_single_touch_takes_it_all_and_no_touch_nothing() {
        for model in models(7 * DAY) {
            assert_eq!(model.credits(&[DAY]), [WHOLE], "{model:?}");
            assert!(model.credits(&[]).is_empty());
        }
    }

    /// Three touches: on day 0, day 7 and day 14, with a half-life of 7 days. By hand:
    /// * linear: a third each is 333,333,333,333 and 1/3 parts; the part that is left over goes to the earliest.
    /// * position based: 40, 20, 40 %.
    /// * time decay: the weights are 1/4, 1/2, 1, of 7/4: 1/7, 2/7, 4/7. In parts: 142,857,142,857 and 1/7,
    ///   285,714,285,714 and 2/7, 571,428,571,428 and 4/7; one is left over and goes to the 4/7.
    #[test]
    fn three_touches_by_hand() {
        let times = [0, 7 * DAY, 14 * DAY];
        let credits = models(7 * DAY).map(|model| model.credits(&times));
        assert_eq!(credits[0], [WHOLE, 0, 0]);
        assert_eq!(credits[1], [0, 0, WHOLE]);
        assert_eq!(
            credits[2],
            [333_333_333_334, 333_333_333_333, 333_333_333_333]
        );
        assert_eq!(
            credits[3],
            [400_000_000_000, 200_000_000_000, 400_000_000_000]
        );
        assert_eq!(
            credits[4],
            [142_857_142_857, 285_714_285_714, 571_428_571_429]
        );
    }

    /// Two touches half a half-life apart: the weights are 1/sqrt(2) and 1. With sqrt(2) = 1.41421356237309505 the
    /// first is 1 / (1 + sqrt(2)) = sqrt(2) - 1 of it: 414,213,562,373.095 parts, rounded down.
    #[test]
    fn a_fraction_of_a_half_life_by_hand() {
        let model = Model::TimeDecay { half_life: 2 * DAY };
        assert_eq!(
            model.credits(&[5 * DAY, 6 * DAY]),
            [414_213_562_373, 585_786_437_627]
        );
    }

    #[test]
    fn position_based_halves_two_and_shares_a_fifth_among_those_between() {
        let model = Model::PositionBased;
        assert_eq!(model.credits(&[0, 1]), [WHOLE / 2, WHOLE / 2]);
        assert_eq!(
            model.credits(&[0, 1, 2, 3]),
            [
                400_000_000_000,
                100_000_000_000,
                100_000_000_000,
                400_000_000_000
            ]
        );
    }

    #[test]
    fn what_is_ages_ago_weighs_nothing_and_the_last_touch_still_all() {
        let model = Model::TimeDecay { half_life: 1 };
        assert_eq!(model.credits(&[0, 9_999 * 366 * DAY]), [0, WHOLE]);
        let model = Model::TimeDecay {
            half_life: 315_576_000_000 * 1_000_000_000,
        };
        assert_eq!(model.credits(&[0, 0]), [WHOLE / 2, WHOLE / 2]);
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_total_and_none_is_off_by_one_or_more(
            total in 0..1_000_000_000_000_000_000_i128,
            weights in proptest::collection::vec(0..=ONE.cast_signed(), 0..40),
        ) {
            let shares = apportion(total, &weights);
            let sum: i128 = weights.iter().sum();
            prop_assert_eq!(shares.iter().sum::<i128>(), if sum == 0 { 0 } else { total });
            for (share, weight) in shares.iter().zip(&weights) {
                let exact = total * weight;
                prop_assert!((share * sum - exact).abs() < sum.max(1));
            }
        }

        #[test]
        fn credits_sum_to_the_whole_by_every_model(
            mut times in proptest::collection::vec(0..(20_000 * DAY), 1..60),
            half_life in prop_oneof![1..1_000_i128, 1..(400 * DAY)],
        ) {
            times.sort_unstable();
            for model in models(half_life) {
                let credits = model.credits(&times);
                prop_assert_eq!(credits.len(), times.len());
                prop_assert_eq!(credits.iter().sum::<i128>(), WHOLE, "{:?}", model);
                prop_assert!(credits.iter().all(|credit| *credit >= 0));
            }
        }

        /// Against floats, which are right to about 15 digits.
        #[test]
        fn decay_is_the_power_of_two(age in 0..(60 * DAY), half_life in HOUR..(30 * DAY)) {
            let exact = 2f64.powf(-(age as f64) / half_life as f64);
            let weight = decay(age, half_life) as f64 / ONE as f64;
            prop_assert!((weight - exact).abs() < 1e-14, "{} {}", weight, exact);
        }
    }
}
