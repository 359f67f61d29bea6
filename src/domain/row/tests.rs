use super::*;

fn reason_and_pointer(row: &[u8]) -> (RejectionReason, String) {
    let rejection = validate(row, &RowLimits::default()).unwrap_err();
    (rejection.reason, rejection.pointer)
}

fn nested(depth: usize) -> String {
    // The row itself is the first level.
    format!(
        r#"{{"email":"a@x.example","v":{}{}}}"#,
        "[".repeat(depth - 1),
        "]".repeat(depth - 1)
    )
}

#[test]
fn a_row_is_stored_for_its_normalized_email() {
    let row = br#" {"email":" John@Example.com ","n":1e308,"s":"\ud83d\ude00","t":null} "#;
    let valid = validate(row, &RowLimits::default()).unwrap();
    assert_eq!(valid.email.as_str(), "john@example.com");
}

#[test]
fn of_a_repeated_key_the_last_one_counts_as_in_jsonb() {
    let row = br#"{"email":"a@x.example","company":1,"\u0065mail":"b@x.example"}"#;
    let valid = validate(row, &RowLimits::default()).unwrap();
    assert_eq!(valid.email.as_str(), "b@x.example");
}

#[test]
fn every_bad_row_has_its_own_reason_and_a_pointer() {
    use RejectionReason::*;
    let long = "x".repeat(1_001);
    for (row, reason, pointer) in [
        (&b""[..], EmptyRow, ""),
        (b" \t\r\n", EmptyRow, ""),
        (b"{\"email\":\"\xff\"}", NotUtf8, ""),
        (b"{\"email\":", NotJson, ""),
        (b"\xef\xbb\xbf{}", NotJson, ""),
        (br#"{"email":"a@x.example"} {}"#, NotJson, ""),
        (b"[1]", NotAnObject, ""),
        (b"null", NotAnObject, ""),
        (b"{}", MissingEmail, "/email"),
        (br#"{"email":null}"#, MissingEmail, "/email"),
        (br#"{"email":"  "}"#, MissingEmail, "/email"),
        (br#"{"email":["a@x.example"]}"#, InvalidEmail, "/email"),
        (br#"{"email":7}"#, InvalidEmail, "/email"),
        (br#"{"email":"nobody"}"#, InvalidEmail, "/email"),
        (
            br#"{"email":"a@x.example","v":{"s~/":["\u0000"]}}"#,
            UnstorableText,
            "/v/s~0~1/0",
        ),
        (
            br#"{"email":"a@x.example","v":"\ud800"}"#,
            UnstorableText,
            "/v",
        ),
        (
            br#"{"email":"a@x.example","v":{"\udc00":1}}"#,
            UnstorableText,
            "/v",
        ),
        (
            br#"{"email":"a@x.example","a\u0000":1}"#,
            UnstorableText,
            "",
        ),
        (
            br#"{"email":"a@x.example","v":1e400000}"#,
            NumberOutOfRange,
            "/v",
        ),
        (
            br#"{"email":"a@x.example","v":[0,-1e309]}"#,
            NumberOutOfRange,
            "/v/1",
        ),
        (
            br#"{"email":"a@x.example","v":1e-100000}"#,
            NumberOutOfRange,
            "/v",
        ),
        (
            br#"{"email":"a@x.example","v":0e-99999999999999999999}"#,
            NumberOutOfRange,
            "/v",
        ),
    ] {
        let text = String::from_utf8_lossy(row).into_owned();
        assert_eq!(
            reason_and_pointer(row),
            (reason, pointer.to_owned()),
            "{text}"
        );
    }
    let number = format!(r#"{{"email":"a@x.example","v":{}}}"#, "1".repeat(65));
    assert_eq!(reason_and_pointer(number.as_bytes()).0, NumberOutOfRange);
    for key in INTAKE_KEYS.into_iter().filter(|key| *key != EMAIL_KEY) {
        let row = format!(r#"{{"email":"a@x.example","{key}":"{long}"}}"#);
        assert_eq!(
            reason_and_pointer(row.as_bytes()),
            (TextTooLong, format!("/{key}"))
        );
    }
    let large = format!(
        r#"{{"email":"a@x.example","v":"{}"}}"#,
        "x".repeat(256 * 1024)
    );
    assert_eq!(reason_and_pointer(large.as_bytes()).0, RowTooLarge);
}

#[test]
fn numbers_that_explode_when_printed_count_as_what_they_become() {
    let numbers = vec!["1e300"; 1_000].join(",");
    let row = format!(r#"{{"email":"a@x.example","v":[{numbers}]}}"#);
    assert_eq!(
        reason_and_pointer(row.as_bytes()).0,
        RejectionReason::RowTooLarge
    );
}

#[test]
fn nesting_is_limited_and_never_overflows_the_stack() {
    assert!(validate(nested(64).as_bytes(), &RowLimits::default()).is_ok());
    assert_eq!(
        reason_and_pointer(nested(65).as_bytes()).0,
        RejectionReason::NestedTooDeeply
    );
    let (reason, pointer) = reason_and_pointer(nested(10_000).as_bytes());
    assert_eq!(reason, RejectionReason::NestedTooDeeply);
    assert!(pointer.len() <= 500);
}

#[test]
fn the_indexed_keys_are_sorted_for_the_search() {
    assert!(INTAKE_KEYS.is_sorted());
}
