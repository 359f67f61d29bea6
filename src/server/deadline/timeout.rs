//! `grpc-timeout`, as the specification of gRPC over HTTP/2 has it: at most eight digits and a unit.

use std::time::Duration;

use http::HeaderMap;

use crate::rpc::Error;

const HEADER: &str = "grpc-timeout";
/// Whoever gives more time than this means for ever, and gets what a clock can hold.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// How long the caller waits, where it says so.
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get(HEADER) else {
        return Ok(None);
    };
    let timeout = value.to_str().ok().and_then(parse).ok_or_else(|| {
        Error::invalid(
            HEADER,
            "must be one to eight digits and a unit: H, M, S, m (milliseconds), u or n",
        )
    })?;
    Ok(Some(timeout.min(LONGEST)))
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last().filter(char::is_ascii)?;
    let digits = text.get(..text.len() - 1)?;
    // A sign is no digit, though a number may have one.
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(value * 3_600)),
        'M' => Some(Duration::from_secs(value * 60)),
        'S' => Some(Duration::from_secs(value)),
        'm' => Some(Duration::from_millis(value)),
        'u' => Some(Duration::from_micros(value)),
        'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::parse;

    #[test]
    fn each_unit_is_read() {
        for (text, nanos) in [
            ("1H", 3_600_000_000_000),
            ("2M", 120_000_000_000),
            ("3S", 3_000_000_000),
            ("4m", 4_000_000),
            ("5u", 5_000),
            ("6n", 6),
            ("0S", 0),
            ("00000001S", 1_000_000_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        assert!(parse("99999999H").is_some());
    }

    #[test]
    fn whatever_else_is_refused() {
        for text in [
            "",
            "S",
            "1",
            "1s",
            "1 S",
            "-1S",
            "+1S",
            "1.5S",
            "123456789S",
            "1ä",
            "ä",
            "1SS",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much_for_it(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
