//! JSON values as text, with all that JSON allows and some that it does not.

use proptest::{collection::vec, prelude::*, sample::select};

/// What a string may hold, as it stands between the quotes.
const TEXT: [&str; 36] = [
    "Ada",
    "Lovelace",
    " ",
    "-",
    "@",
    ".",
    "https://www.acme.com/about",
    "linkedin.com/in/ada",
    "1,200",
    "51-200",
    "$4.5M",
    "2026-01-31",
    "active",
    "unsubscribed",
    "\u{e9}",
    "e\u{301}",
    "\u{202e}",
    "\u{2028}",
    "\u{85}",
    "\u{7f}",
    "\u{fffe}",
    "\u{feff}",
    "\u{10ffff}",
    "\u{1f642}",
    r"\n",
    r"\/",
    r#"\""#,
    r"\\",
    r"\\u0000",
    r"\u00e9",
    r"\u0001",
    r"\ud83d\ude00",
    "'; DROP TABLE intake.raw_loads; --",
    "$1 %s {}",
    r"\\x41",
    "=1+1",
];

/// What no string may hold.
const NO_TEXT: [&str; 9] = [
    r"\u0000",
    r"\ud800",
    r"\udc00",
    r"\ud800\ud800",
    r"\ud83d\n",
    r"\u12",
    r"\x41",
    "\u{0}",
    "\u{1f}",
];

const NUMBERS: [&str; 28] = [
    "0",
    "-0",
    "0.0",
    "1",
    "-1",
    "12.50",
    "1E+2",
    "1e-2",
    "0e0",
    "0e330",
    "0e331",
    "1e308",
    "-1e308",
    "1e-330",
    "1.7976931348623157e308",
    "9007199254740993",
    "18446744073709551616",
    "0.1000000000000000000000000000000000000000000000000000000000001",
    "4.9e-324",
    "1e00000000000000000000000000000000000000000000000000000000000001",
    "1e309",
    "1e-331",
    "1e131071",
    "1e99999999999999999999",
    "0e-99999999999999999999",
    "01",
    "1.",
    "NaN",
];

/// Keys that somebody reads, or that promotion must not be led by.
const KEYS: [&str; 40] = [
    "email",
    "Email",
    r"em\u0061il",
    "name",
    "first_name",
    "last_name",
    "phone",
    "company",
    "title",
    "tags",
    "custom_fields",
    "website",
    "domain",
    "industry",
    "linkedin_url",
    "company_linkedin_url",
    "location",
    "employee_count",
    "revenue",
    "status",
    "score",
    "source",
    "contact_id",
    "load_id",
    "created_at",
    "updated_at",
    "pins",
    "metadata",
    "normalized_email",
    "failure",
    "lane",
    "offset",
    "__proto__",
    "",
    " ",
    "a/b~c",
    r"\u00e9",
    "$.email",
    r"\u0000",
    r"\ud800",
];

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(&NUMBERS[..20]).prop_map(str::to_owned),
        // Out of range, or no numbers at all.
        1 => select(&NUMBERS[20..]).prop_map(str::to_owned),
        2 => any::<i64>().prop_map(|number| number.to_string()),
        2 => any::<f64>().prop_filter_map("no JSON", |number| {
            number.is_finite().then(|| format!("{number:e}"))
        }),
        1 => (60..70_usize).prop_map(|digits| "9".repeat(digits)),
    ]
}

/// A string with its quotes.
pub(super) fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        90 => select(&TEXT[..]).prop_map(str::to_owned),
        20 => "[a-zA-Z0-9 ]{0,12}",
        1 => select(&NO_TEXT[..]).prop_map(str::to_owned),
        // About as long as an index takes, in characters of one to four bytes.
        1 => (240..260_usize).prop_map(|length| "\u{1f642}".repeat(length)),
        1 => (990..1_010_usize).prop_map(|length| "t".repeat(length)),
    ];
    vec(piece, 0..4).prop_map(|pieces| format!(r#""{}""#, pieces.concat()))
}

/// A key with its quotes.
pub(super) fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        // The last two belong to no good row.
        60 => select(&KEYS[..38]).prop_map(|key| format!(r#""{key}""#)),
        1 => select(&KEYS[38..]).prop_map(|key| format!(r#""{key}""#)),
        9 => string(),
        1 => (1_000..9_000_usize).prop_map(|length| format!(r#""{}""#, "k".repeat(length))),
    ]
}

fn tags() -> impl Strategy<Value = String> {
    let some = vec(prop_oneof![4 => string(), 1 => number()], 0..6);
    prop_oneof![
        9 => some.prop_map(|tags| format!("[{}]", tags.join(","))),
        1 => (990..1_010_usize).prop_map(|count| {
            let tags: Vec<_> = (0..count).map(|tag| format!(r#""t{tag}""#)).collect();
            format!("[{}]", tags.join(","))
        }),
    ]
}

/// Any value, a few levels deep.
pub(super) fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        6 => string(),
        3 => number(),
        2 => select(&["true", "false", "null"][..]).prop_map(str::to_owned),
        1 => tags(),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
            vec((key(), inner), 0..4).prop_map(|fields| object_of(&fields)),
        ]
    })
}

/// An object of keys and values.
pub(super) fn object_of(fields: &[(String, String)]) -> String {
    let fields = fields.iter().map(|(key, value)| format!("{key}: {value}"));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}
