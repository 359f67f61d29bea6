//! A lead score, exact: no float ever holds one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The highest score, in hundredths.
const MAX_HUNDREDTHS: u16 = 100 * 100;

/// A lead score: 0 to 100 with two decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Score(u16);

/// A text that is no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidScore;

impl fmt::Display for InvalidScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be a decimal number from 0 to 100 with at most two decimals, such as 87.5",
        )
    }
}

impl std::error::Error for InvalidScore {}

impl Score {
    /// Takes digits, and one or two more behind a point: no sign, exponent or white space.
    ///
    /// # Errors
    /// [`InvalidScore`] for anything else, and for more than 100.
    pub fn parse(text: &str) -> Result<Self, InvalidScore> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let whole = digits(whole, 3)?;
        let hundredths = match decimals.len() {
            1 => digits(decimals, 1)? * 10,
            _ => digits(decimals, 2)?,
        };
        let score = whole * 100 + hundredths;
        (score <= u32::from(MAX_HUNDREDTHS))
            .then(|| u16::try_from(score).ok().map(Self))
            .flatten()
            .ok_or(InvalidScore)
    }
}

/// One to `most` ASCII digits.
fn digits(text: &str, most: usize) -> Result<u32, InvalidScore> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok())
        .flatten()
        .ok_or(InvalidScore)
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl TryFrom<String> for Score {
    type Error = InvalidScore;

    fn try_from(text: String) -> Result<Self, InvalidScore> {
        Self::parse(&text)
    }
}

impl From<Score> for String {
    fn from(score: Score) -> Self {
        score.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_0_to_100_with_two_decimals() {
        for (text, score) in [
            ("0", "0.00"),
            ("7.5", "7.50"),
            ("87.50", "87.50"),
            ("087.05", "87.05"),
            ("100", "100.00"),
            ("100.00", "100.00"),
        ] {
            assert_eq!(Score::parse(text).unwrap().to_string(), score, "{text}");
        }
    }

    #[test]
    fn what_is_no_score_is_refused() {
        for text in [
            "", " ", ".", "5.", ".5", "-1", "+1", "1e1", "100.01", "101", "999", "1000", "1.234",
            "NaN", "Infinity", "1,5", "1 ", "１", "1.2.3", "0x1", "1\0",
        ] {
            assert_eq!(Score::parse(text), Err(InvalidScore), "{text:?}");
        }
    }
}
