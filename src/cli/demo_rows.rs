//! Made-up rows for the demo: realistic, and the same ones each time.
//!
//! The people are invented, the domains end in the reserved `.example` and `.test`, and the phone numbers
//! are of the 555 kind, so that nobody is ever written to or called. About one row in twenty repeats the
//! email of an earlier one, often in another spelling; about three in a hundred cannot be stored, each kind
//! of trouble among them.

use serde_json::{Map, Value, json};

/// One row in so many repeats an earlier email.
const DUPLICATE_EVERY: u64 = 20;
/// Of a thousand rows so many are bad.
const BAD_OF_THOUSAND: u64 = 30;

const FIRST_NAMES: [(&str, &str); 24] = [
    ("Ada", "ada"),
    ("Renée", "renee"),
    ("Björn", "bjorn"),
    ("João", "joao"),
    ("Zoë", "zoe"),
    ("Łukasz", "lukasz"),
    ("Nguyễn", "nguyen"),
    ("Ömer", "omer"),
    ("Σοφία", "sofia"),
    ("Дмитрий", "dmitri"),
    ("Олена", "olena"),
    ("محمد", "mohammed"),
    ("ליאת", "liat"),
    ("अनन्या", "ananya"),
    ("太郎", "taro"),
    ("小明", "xiaoming"),
    ("민준", "minjun"),
    ("ปิยะ", "piya"),
    ("Aoife", "aoife"),
    ("Chidi", "chidi"),
    ("Mary-Jane", "mary-jane"),
    ("Grace", "grace"),
    ("Thabo", "thabo"),
    ("Lucía", "lucia"),
];

const LAST_NAMES: [(&str, &str); 20] = [
    ("Lovelace", "lovelace"),
    ("O'Brien", "obrien"),
    ("Müller", "mueller"),
    ("García Márquez", "garcia"),
    ("Kowalski", "kowalski"),
    ("Παπαδοπούλου", "papadopoulou"),
    ("Іваненко", "ivanenko"),
    ("الحسن", "alhassan"),
    ("שרון", "sharon"),
    ("शर्मा", "sharma"),
    ("山田", "yamada"),
    ("王", "wang"),
    ("김", "kim"),
    ("Nguyen", "nguyen"),
    ("van der Berg", "vandenberg"),
    ("Smith", "smith"),
    ("Okafor", "okafor"),
    ("Øster", "oster"),
    ("D'Souza", "dsouza"),
    ("Haddad-Jones", "haddad-jones"),
];

const COMPANIES: [(&str, &str); 16] = [
    ("Acme Robotics", "acme-robotics.example"),
    ("Bluebird Logistics", "bluebird.example"),
    ("Cobalt & Sons", "cobalt-sons.example"),
    ("Delta Kliniken GmbH", "delta-kliniken.test"),
    ("Éclair Pâtisserie SARL", "eclair.example"),
    ("Fjord Energi AS", "fjord-energi.test"),
    ("Globex", "globex.example"),
    ("Harbour Insurance plc", "harbour.test"),
    ("Indigo Studios", "indigo-studios.example"),
    ("Jade 翡翠 Trading", "jade-trading.test"),
    ("Kestrel Analytics", "kestrel.example"),
    ("Lumen \"Light\" Works", "lumen.test"),
    ("Monsoon Textiles", "monsoon.example"),
    ("Northwind", "northwind.test"),
    ("Orchard Foods", "orchard.example"),
    ("Пчёлка", "pchelka.test"),
];

const TITLES: [&str; 12] = [
    "Chief Executive Officer",
    "Chief Technology Officer",
    "VP of Sales",
    "Head of \"Growth\"",
    "Director, Procurement",
    "Senior Software Engineer",
    "Leiterin Einkauf",
    "Responsable achats",
    "Founder & CEO 🚀",
    "Office Manager",
    "Data Analyst",
    "Product Manager",
];

const PLACES: [(&str, &str); 8] = [
    ("San Francisco", "United States"),
    ("München", "Germany"),
    ("São Paulo", "Brazil"),
    ("東京", "Japan"),
    ("Nairobi", "Kenya"),
    ("Kraków", "Poland"),
    ("Bengaluru", "India"),
    ("Toronto", "Canada"),
];

const INDUSTRIES: [&str; 6] = [
    "Logistics",
    "Healthcare",
    "Software",
    "Energy",
    "Retail",
    "Financial Services",
];

/// `count` rows as JSON text; the same ones for the same seed, and the first of a longer run.
pub(crate) fn demo_rows(count: u64, seed: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(move |number| demo_row(number, seed))
}

/// The row of a number. It depends on nothing but the number and the seed, so that no earlier row has to
/// be kept for a duplicate of it.
fn demo_row(number: u64, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::of(number, seed);
    if random.below(1000) < BAD_OF_THOUSAND {
        return bad_row(number, seed, &mut random);
    }
    if number > 0 && random.below(DUPLICATE_EVERY) == 0 {
        let original = random.below(number);
        let mut lead = lead(original, seed);
        let email = respell(&email(original, seed), &mut random);
        lead.insert("email".to_owned(), email.into());
        return Value::Object(lead).to_string().into_bytes();
    }
    Value::Object(lead(number, seed)).to_string().into_bytes()
}

/// Who a number is: the same person wherever it comes up.
struct Person {
    first: (&'static str, &'static str),
    last: (&'static str, &'static str),
    company: (&'static str, &'static str),
}

impl Person {
    fn of(number: u64, seed: u64) -> Self {
        let mut random = SplitMix64::of(number, seed ^ 0x9e_a1);
        Self {
            first: random.pick(&FIRST_NAMES),
            last: random.pick(&LAST_NAMES),
            company: random.pick(&COMPANIES),
        }
    }
}

/// The email of a number; no other number has it.
fn email(number: u64, seed: u64) -> String {
    let person = Person::of(number, seed);
    let (first, last, domain) = (person.first.1, person.last.1, person.company.1);
    format!("{first}.{last}{number}@{domain}")
}

/// The good row of a number.
fn lead(number: u64, seed: u64) -> Map<String, Value> {
    let mut random = SplitMix64::of(number, seed ^ 0x1e_ad);
    let person = Person::of(number, seed);
    let (city, country) = random.pick(&PLACES);
    let line = random.below(10_000);
    let mut lead = Map::new();
    let mut add = |key: &str, value: Value| {
        lead.insert(key.to_owned(), value);
    };
    add("email", email(number, seed).into());
    add("first_name", person.first.0.into());
    add("last_name", person.last.0.into());
    add("title", random.pick(&TITLES).into());
    add("company", person.company.0.into());
    add(
        "website",
        format!("https://www.{}/", person.company.1).into(),
    );
    add("city", city.into());
    add("country", country.into());
    if random.below(10) < 7 {
        add("phone", format!("+1 415-555-{line:04}").into());
    }
    // Of a company everybody says the same: its contacts make one slot, not one each.
    let company = person.company.1.len() as u64 * 131 + u64::from(person.company.1.as_bytes()[0]);
    let mut of_company = SplitMix64::of(company, 0);
    add("industry", of_company.pick(&INDUSTRIES).into());
    add("employee_count", (1 + of_company.below(5_000)).into());
    if random.below(10) < 3 {
        add("tags", json!(["newsletter", "fair-2026"]));
    }
    if random.below(10) < 2 {
        add("notes", "Met at the fair.\nCall back in \"Q3\".".into());
    }
    lead
}

/// Another spelling of the same email, as different sources write it.
fn respell(email: &str, random: &mut SplitMix64) -> String {
    match random.below(4) {
        0 => email.to_uppercase(),
        1 => format!("  {email} "),
        2 => {
            let (local, domain) = email.split_once('@').unwrap_or((email, ""));
            format!("{local}@{}", domain.to_uppercase())
        }
        _ => email.to_owned(),
    }
}

/// A row that cannot be stored.
fn bad_row(number: u64, seed: u64, random: &mut SplitMix64) -> Vec<u8> {
    let mut lead = lead(number, seed);
    let good = Value::Object(lead.clone()).to_string();
    let with = |key: &str, value: &str| format!("{},{key:?}:{value}}}", &good[..good.len() - 1]);
    let row = match random.below(10) {
        0..=2 => {
            lead.remove("email");
            Value::Object(lead).to_string()
        }
        3 | 4 => {
            let wrong = [
                "n/a",
                "ada at acme.example",
                "ada@localhost",
                "@acme.example",
            ];
            lead.insert("email".to_owned(), random.pick(&wrong).into());
            Value::Object(lead).to_string()
        }
        5 => good.chars().take(good.len() / 3).collect(),
        6 => format!("[{good}]"),
        7 => String::new(),
        8 => with("comment", r#""a null \u0000 character""#),
        _ => with("annual_revenue", "1e400"),
    };
    row.into_bytes()
}

/// The generator of Steele, Lea and Flood: small, fast, and the same everywhere.
struct SplitMix64(u64);

impl SplitMix64 {
    /// The generator of one row.
    fn of(number: u64, seed: u64) -> Self {
        let mut mixed = Self(seed.wrapping_add(number.wrapping_mul(0xd134_2543_de82_ef95)));
        Self(mixed.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound; the tiny bias of a remainder does not matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        // The remainder is below the length, which is a usize.
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn parse(row: &[u8]) -> Option<String> {
        let value: Value = serde_json::from_slice(row).ok()?;
        let email = value.as_object()?.get("email")?.as_str()?;
        Some(email.trim().to_lowercase())
    }

    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn the_rows_are_the_same_each_time() {
        let rows: Vec<_> = demo_rows(500, 7).collect();
        assert!(demo_rows(1000, 7).take(500).eq(rows.iter().cloned()));
        assert!(!demo_rows(500, 8).eq(rows));
    }

    #[test]
    fn duplicates_and_bad_rows_are_among_them_in_their_measure() {
        let rows: Vec<_> = demo_rows(20_000, 1).collect();
        let mut emails = HashMap::new();
        for email in rows.iter().filter_map(|row| parse(row)) {
            *emails.entry(email).or_insert(0u32) += 1;
        }
        let duplicates = emails.values().map(|count| count - 1).sum::<u32>();
        assert!((800..1200).contains(&duplicates), "{duplicates}");
        let spellings: HashSet<String> = rows
            .iter()
            .filter_map(|row| {
                serde_json::from_slice::<Value>(row).ok()?["email"]
                    .as_str()
                    .map(str::to_owned)
            })
            .collect();
        assert!(spellings.len() > emails.len() + 300);
    }

    #[test]
    fn every_kind_of_trouble_is_among_them() {
        let rows: Vec<String> = demo_rows(5_000, 1)
            .map(|row| String::from_utf8(row).unwrap())
            .collect();
        let kinds: [fn(&str) -> bool; 7] = [
            |row| row.is_empty(),
            |row| row.starts_with('['),
            |row| row.ends_with(",\"annual_revenue\":1e400}"),
            |row| row.ends_with("\\u0000 character\"}"),
            |row| row.starts_with('{') && !row.contains("\"email\""),
            |row| row.contains("\"email\":\"n/a\""),
            |row| row.starts_with('{') && !row.ends_with('}'),
        ];
        for (kind, is) in kinds.iter().enumerate() {
            assert!(rows.iter().any(|row| is(row)), "kind {kind} is missing");
        }
    }

    #[test]
    fn nobody_real_is_in_them() {
        for email in demo_rows(5_000, 3).filter_map(|row| parse(&row)) {
            let (_, domain) = email.split_once('@').unwrap_or_default();
            let reserved = [".example", ".test", "localhost"];
            let reserved = reserved.iter().any(|end| domain.ends_with(end));
            assert!(reserved || domain.is_empty(), "{email}");
        }
    }
}
