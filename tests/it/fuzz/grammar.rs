//! Rows: good ones, good ones gone wrong, and bytes that never were a row.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

use super::{
    emails::email,
    values::{key, object_of, string, value},
};

/// Pieces that hurt where they land.
const PIECES: [&[u8]; 28] = [
    br"\u0000",
    br"\ud800",
    br"\udc00",
    br"\u",
    b"\\",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"1e400",
    b"1e-99999",
    b"-",
    b"null",
    b"\0",
    b"\n",
    b"\r",
    b"\x0c",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    b"/**/",
    b"\"email\":\"z@x.example\",",
    b"\"email\":null,",
];

/// The bytes of JSON, from which a parser goes furthest.
const TOKENS: &[u8] = b"{}[]:,\"\\eE+-.0123456789 \t\rntrufalsemxd";

/// Any row.
pub(super) fn any_row() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        30 => good().prop_map(String::into_bytes),
        40 => object().prop_map(String::into_bytes),
        30 => mutated(),
        6 => vec(any::<u8>(), 0..200),
        6 => vec(select(TOKENS), 0..60),
        2 => "[ \t\r\x0c]{0,4}".prop_map(String::into_bytes),
        4 => value().prop_map(String::into_bytes),
        3 => deep().prop_map(String::into_bytes),
        2 => long().prop_map(String::into_bytes),
    ]
    .boxed()
}

/// An address as JSON, plain or written out in escapes.
fn email_json() -> impl Strategy<Value = String> {
    (email(), 0..8_u8).prop_map(|(email, style)| {
        if style > 0 {
            return serde_json::to_string(&email).unwrap();
        }
        let units = email.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        format!(r#""{}""#, units.collect::<String>())
    })
}

/// A row with an address and texts; most of these are stored.
fn good() -> impl Strategy<Value = String> {
    let field = (key(), string());
    (email_json(), vec(field, 0..4)).prop_map(|(email, mut fields)| {
        fields.push((r#""email""#.to_owned(), email));
        object_of(&fields)
    })
}

/// An object of anything, mostly with an address somewhere in it.
fn object() -> impl Strategy<Value = String> {
    let email = prop_oneof![
        16 => email_json(),
        1 => value(),
    ];
    let fields = vec((key(), value()), 0..5);
    let email = prop::option::weighted(0.95, email);
    (email, fields, any::<Index>()).prop_map(|(email, mut fields, at)| {
        if let Some(email) = email {
            let at = at.index(fields.len() + 1);
            fields.insert(at, (r#""email""#.to_owned(), email));
        }
        object_of(&fields)
    })
}

/// An object with pieces put in, cut out or doubled.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<Index>(), 0_usize..4, select(&PIECES[..]));
    let byte = (
        any::<Index>(),
        prop_oneof![4 => 0..0x80_u8, 1 => 0x80..=0xff_u8],
    );
    let cut = prop::option::weighted(0.1, any::<Index>());
    (object(), vec(edit, 0..3), vec(byte, 0..2), cut).prop_map(|(row, edits, bytes, cut)| {
        let mut row = row.into_bytes();
        for (index, deleted, piece) in edits {
            let at = index.index(row.len() + 1);
            let end = (at + deleted).min(row.len());
            row.splice(at..end, piece.iter().copied());
        }
        for (index, byte) in bytes {
            if !row.is_empty() {
                let at = index.index(row.len());
                row[at] = byte;
            }
        }
        if let Some(cut) = cut {
            row.truncate(cut.index(row.len() + 1));
        }
        row
    })
}

/// Arrays and objects within one another, about as deep as is taken, or far deeper; some never closed.
fn deep() -> impl Strategy<Value = String> {
    let depth = prop_oneof![3 => 55..75_usize, 1 => 1..5_000_usize];
    let kind = select(&[("[", "]"), (r#"{"a":"#, "}"), (r#"[{"":"#, "}]")][..]);
    (depth, kind, 0..8_u8, email_json()).prop_map(|(depth, (open, close), style, email)| {
        let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        match style {
            0 => nested,
            1 => open.repeat(depth),
            _ => format!(r#"{{"n":{nested},"email":{email}}}"#),
        }
    })
}

/// Rows that are long in one way or another.
fn long() -> impl Strategy<Value = String> {
    const LIMIT: usize = 256 * 1024;
    let filler = prop_oneof![
        6 => (990..1_010_usize).prop_map(|length| {
            format!(r#""company":"{}""#, "c".repeat(length))
        }),
        6 => (490..510_usize).prop_map(|length| {
            format!(r#""website":"{}""#, "\u{e9}".repeat(length))
        }),
        6 => (1..30_000_usize).prop_map(|length| format!(r#""n":"{}""#, "n".repeat(length))),
        4 => (1..3_000_usize).prop_map(|count| format!(r#""n":[{}]"#, vec!["0"; count].join(","))),
        4 => (800..950_usize).prop_map(|count| {
            format!(r#""n":[{}]"#, vec!["1e300"; count].join(","))
        }),
        4 => (1..2_000_usize).prop_map(|count| {
            let fields: Vec<_> = (0..count).map(|key| format!(r#""k{key}":{key}"#)).collect();
            fields.join(",")
        }),
        1 => (LIMIT - 60..LIMIT + 10).prop_map(|length| {
            format!(r#""n":"{}""#, "n".repeat(length))
        }),
    ];
    (filler, email_json()).prop_map(|(filler, email)| format!(r#"{{{filler},"email":{email}}}"#))
}
