//! Rows that must not be stored, with the reason and where in the row it lies.

use leadvault::proto::r#type::v1::RejectionReason as Reason;

/// A row that must be rejected.
pub(super) struct Bad {
    pub(super) row: Vec<u8>,
    pub(super) reason: Reason,
    pub(super) pointer: &'static str,
}

fn bad(row: impl Into<Vec<u8>>, reason: Reason, pointer: &'static str) -> Bad {
    Bad {
        row: row.into(),
        reason,
        pointer,
    }
}

/// A row that is good but for what it holds besides.
fn with(field: &str) -> String {
    format!(r#"{{"email":"bad@x.example",{field}}}"#)
}

fn with_email(json: &str) -> String {
    format!(r#"{{"email":{json}}}"#)
}

/// Bad rows; none but the last has a line break, so that all others go as NDJSON too.
pub(super) fn bad_rows() -> Vec<Bad> {
    let mut rows = text();
    rows.extend(numbers());
    rows.extend(shapes());
    rows.extend(emails());
    rows.extend(sizes());
    rows
}

fn text() -> Vec<Bad> {
    use Reason::{NotJson, NotUtf8, UnstorableText};
    vec![
        bad(with(r#""note":"a\u0000b""#), UnstorableText, "/note"),
        bad(with(r#""a\u0000b":1"#), UnstorableText, ""),
        bad(with(r#""deep":[{"k\u0000":1}]"#), UnstorableText, "/deep/0"),
        bad(with("\"note\":\"a\0b\""), NotJson, ""),
        bad(with(r#""note":"\ud800""#), UnstorableText, "/note"),
        bad(with(r#""note":"\udc00\ud800""#), UnstorableText, "/note"),
        bad(
            with(r#""a/b":{"c~d":["\udfff"]}"#),
            UnstorableText,
            "/a~1b/c~0d/0",
        ),
        bad(with(r#""\ud83d":1"#), UnstorableText, ""),
        bad(
            with_email(r#""a\u0000@x.example""#),
            UnstorableText,
            "/email",
        ),
        bad(b"{\"email\":\"bad@x.example\",\"n\":\"\xff\"}", NotUtf8, ""),
        // Overlong, a surrogate in UTF-8, past the last code point.
        bad(b"{\"n\":\"\xc0\x80\"}", NotUtf8, ""),
        bad(b"{\"n\":\"\xed\xa0\x80\"}", NotUtf8, ""),
        bad(b"{\"n\":\"\xf4\x90\x80\x80\"}", NotUtf8, ""),
        bad(b"{\"n\":\"\xe2\x82", NotUtf8, ""),
    ]
}

fn numbers() -> Vec<Bad> {
    use Reason::{NotJson, NumberOutOfRange};
    let many = vec!["1e131071"; 2_000].join(",");
    vec![
        bad(with(r#""n":1e400000"#), NumberOutOfRange, "/n"),
        bad(with(r#""n":-1e400000"#), NumberOutOfRange, "/n"),
        bad(with(r#""n":1e-100000"#), NumberOutOfRange, "/n"),
        bad(
            with(r#""n":0e999999999999999999999"#),
            NumberOutOfRange,
            "/n",
        ),
        bad(with(r#""n":{"m":[0,1e309]}"#), NumberOutOfRange, "/n/m/1"),
        bad(
            with(&format!(r#""n":{}"#, "9".repeat(65))),
            NumberOutOfRange,
            "/n",
        ),
        bad(with(&format!(r#""n":[{many}]"#)), NumberOutOfRange, "/n/0"),
        bad(with(r#""n":NaN"#), NotJson, ""),
        bad(with(r#""n":-Infinity"#), NotJson, ""),
        bad(with(r#""n":01"#), NotJson, ""),
    ]
}

fn shapes() -> Vec<Bad> {
    use Reason::{EmptyRow, NestedTooDeeply, NotAnObject, NotJson};
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}{}", open.repeat(depth), close.repeat(depth))
    };
    let deep_objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    vec![
        bad("", EmptyRow, ""),
        bad(" \t\r", EmptyRow, ""),
        bad("[]", NotAnObject, ""),
        bad(r#"[{"email":"bad@x.example"}]"#, NotAnObject, ""),
        bad(r#""bad@x.example""#, NotAnObject, ""),
        bad("null", NotAnObject, ""),
        bad("1", NotAnObject, ""),
        bad(nested("[", "]", 10_000), NotAnObject, ""),
        bad(nested("[", "", 10_000), NotJson, ""),
        bad(deep_objects, NestedTooDeeply, DEEP_OBJECT_POINTER),
        bad(
            with(&format!(r#""n":{}"#, nested("[", "]", 64))),
            NestedTooDeeply,
            DEEP_POINTER,
        ),
        bad("{", NotJson, ""),
        bad("not json", NotJson, ""),
        bad("{}{}", NotJson, ""),
        bad(r#"{"email":"bad@x.example",}"#, NotJson, ""),
        bad("\u{feff}{}", NotJson, ""),
        bad(with("\"n\":\"\u{1}\""), NotJson, ""),
    ]
}

fn emails() -> Vec<Bad> {
    use Reason::{InvalidEmail, MissingEmail};
    let spaces = "\u{2003}".repeat(5_000);
    vec![
        bad("{}", MissingEmail, "/email"),
        bad(r#"{"Email":"bad@x.example"}"#, MissingEmail, "/email"),
        bad(with_email("null"), MissingEmail, "/email"),
        bad(with_email(r#""  ""#), MissingEmail, "/email"),
        // Of a key that appears twice the last one counts, as in jsonb.
        bad(
            r#"{"email":"bad@x.example","email":null}"#,
            MissingEmail,
            "/email",
        ),
        bad(with_email(r#"["bad@x.example"]"#), InvalidEmail, "/email"),
        bad(
            with_email(r#"{"is":"bad@x.example"}"#),
            InvalidEmail,
            "/email",
        ),
        bad(with_email("5"), InvalidEmail, "/email"),
        bad(with_email("true"), InvalidEmail, "/email"),
        bad(with_email(r#""no address""#), InvalidEmail, "/email"),
        bad(
            with_email(&format!(r#""{}@x.example""#, "a".repeat(290))),
            InvalidEmail,
            "/email",
        ),
        bad(
            with_email(&format!(r#""a@{}x.example""#, "abcdefghi.".repeat(29))),
            InvalidEmail,
            "/email",
        ),
        bad(
            with_email(&format!(r#""{spaces}bad@x.example{spaces}""#)),
            InvalidEmail,
            "/email",
        ),
    ]
}

fn sizes() -> Vec<Bad> {
    use Reason::{RowTooLarge, TextTooLong};
    const MIB: usize = 1024 * 1024;
    let written_out = vec!["1e300"; 2_000].join(",");
    let text_of = |bytes: usize| "c".repeat(bytes);
    vec![
        bad(
            with(&format!(r#""n":"{}""#, text_of(5 * MIB))),
            RowTooLarge,
            "",
        ),
        bad(
            with(&format!(r#""n":"{}""#, text_of(256 * 1024))),
            RowTooLarge,
            "",
        ),
        // Short as it is sent, 600,000 digits as PostgreSQL prints it.
        bad(with(&format!(r#""n":[{written_out}]"#)), RowTooLarge, ""),
        bad(
            with(&format!(r#""company":"{}""#, text_of(9_000))),
            TextTooLong,
            "/company",
        ),
        bad(
            with(&format!(r#""name":"{}""#, "é".repeat(501))),
            TextTooLong,
            "/name",
        ),
        bad(
            with(&format!(r#""website":"{}""#, text_of(1_001))),
            TextTooLong,
            "/website",
        ),
    ]
}

const DEEP_POINTER: &str = "/n/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0";
const DEEP_OBJECT_POINTER: &str = "/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a";

/// Good rows at the edge of what is taken; `nth` makes the email their own.
pub(super) fn good_row(nth: usize) -> String {
    let email = format!("good{nth}@x.example");
    let rest = match nth % 16 {
        0 => format!(r#""n":{}"#, "[".repeat(63) + &"]".repeat(63)),
        1 => r#""n":[1e308,-1e308,1e-300,-0,0.0,1E+2]"#.to_owned(),
        2 => format!(r#""n":{}"#, "9".repeat(64)),
        3 => r#""n":"\ud83d\ude00 \uffff \u0001 \u007f \\u0000""#.to_owned(),
        4 => format!(r#""n":"{}""#, "x".repeat(200_000)),
        5 => format!(
            r#""company":"{}","name":"{}""#,
            "é".repeat(500),
            "n".repeat(1_000)
        ),
        6 => r#""company":["no","text"],"name":{"no":"text"},"website":5"#.to_owned(),
        7 => format!(r#""{}":1"#, "key".repeat(5_000)),
        8 => format!(r#""n":[{}]"#, vec!["1e300"; 800].join(",")),
        9 => r#""email2":"\t","":{"":[null,true,false]},"a":1,"a":2"#.to_owned(),
        10 => "\"n\":\"\u{10ffff}\u{fffe}\u{85}\u{2028}\"".to_owned(),
        11 => format!(r#""n":[{}]"#, vec!["0"; 100_000].join(",")),
        12 => format!(r#""n":"{}""#, r"\u0001".repeat(40_000)),
        13 => r#""n":1e-330"#.to_owned(),
        14 => format!(
            r#""n":{{{}}}"#,
            (0..20_000)
                .map(|key| format!(r#""{key}":1"#))
                .collect::<Vec<_>>()
                .join(",")
        ),
        _ => r#""n":null"#.to_owned(),
    };
    format!(r#" {{"em\u0061il" : "{email}",{rest}}} "#)
}
