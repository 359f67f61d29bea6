//! Addresses, and what people take for one.

use proptest::{prelude::*, sample::select};

const LOCAL_PARTS: [&str; 18] = [
    "a",
    "A.B+c",
    "a..b",
    ".a",
    "a.",
    "a b",
    "",
    "a@b",
    "jos\u{e9}",
    "o'hara",
    "!#$%&'*+/=?^_`{|}~-",
    r#""quoted local""#,
    r#""a@b""#,
    r#""a\"b""#,
    "\"\u{1}\"",
    "<ada>",
    "Ada <ada",
    "mailto:ada",
];

const DOMAINS: [&str; 36] = [
    "x.example",
    "X.EXAMPLE",
    "x.example.",
    "x..example",
    ".example",
    "x example",
    "localhost",
    "gmail.com",
    "co.uk",
    "[192.0.2.1]",
    "192.0.2.1",
    "0x7f.1",
    "x.123",
    "a_b.example",
    "-a.example",
    "a-.example",
    "ab--cd.example",
    "xn--a.example",
    "xn--bcher-kva.example",
    "XN--BCHER-KVA.example",
    "b\u{fc}cher.example",
    "B\u{dc}CHER.example",
    "bu\u{308}cher.example",
    "\u{df}.example",
    "\u{4f8b}\u{3048}.jp",
    "x\u{3002}example",
    "x.ex\u{ad}ample",
    "a\u{200d}b.example",
    "\u{1f642}.example",
    "\u{212a}.example",
    "\u{5d0}a.example",
    "\u{661}\u{5d0}.example",
    "\u{fdfa}.example",
    "x.example\u{0}",
    "x.example/path",
    "x.example:25",
];

const SPACES: [&str; 7] = ["", "", "", " ", "\t\r", "\u{a0}", "\u{2003}"];

/// An address that is one; some come again.
fn plain() -> impl Strategy<Value = String> {
    let number = prop_oneof![4 => 0..100_000_000_u32, 1 => 0..1_000_u32];
    (number, any::<bool>()).prop_map(|(number, upper)| {
        let email = format!("p{number}@firm{}.example", number % 97);
        if upper { email.to_uppercase() } else { email }
    })
}

fn odd() -> impl Strategy<Value = String> {
    let local = prop_oneof![
        4 => select(&LOCAL_PARTS[..]).prop_map(str::to_owned),
        1 => (60..70_usize).prop_map(|length| "l".repeat(length)),
        1 => "[ -~]{0,12}",
        1 => "\\PC{0,6}",
    ];
    let domain = prop_oneof![
        6 => select(&DOMAINS[..]).prop_map(str::to_owned),
        1 => (60..66_usize).prop_map(|length| format!("{}.example", "d".repeat(length))),
        1 => (100..130_usize).prop_map(|labels| "d.".repeat(labels) + "example"),
        1 => "[a-z0-9.-]{1,20}",
        1 => "\\PC{1,4}\\.[a-z]{1,5}",
    ];
    (select(&SPACES[..]), local, domain, select(&SPACES[..]))
        .prop_map(|(before, local, domain, after)| format!("{before}{local}@{domain}{after}"))
}

/// A text that may be an address.
pub(super) fn email() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => plain(),
        4 => odd(),
        1 => "\\PC{0,10}",
        1 => select(&SPACES[..]).prop_map(str::to_owned),
    ]
}
