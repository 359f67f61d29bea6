//! Exact numbers, as text: no number of a source or a caller is ever squeezed through a double.

use std::{cmp::Ordering, fmt};

/// The most digits of a number, before and after the point together.
const MAX_DIGITS: usize = 64;
/// The largest power of ten that is applied: beyond it a number has too many digits or is zero.
const MAX_EXPONENT: i64 = 1_000;

/// A number that PostgreSQL's `numeric` holds exactly: at most 64 digits, written without an exponent, without
/// needless zeros in front. Zeros at its end stay: they say how exact the source was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    /// Digits before the point, at least one.
    whole: String,
    /// Digits after the point, may be none.
    fraction: String,
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidDecimal {
    /// It is not of the form `-12.34e5`.
    NotANumber,
    /// It has over 64 digits when it is written out.
    TooManyDigits,
}

impl fmt::Display for InvalidDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber => write!(f, "must be a decimal number, such as 1234.50"),
            Self::TooManyDigits => write!(f, "must have at most {MAX_DIGITS} digits, written out"),
        }
    }
}

impl std::error::Error for InvalidDecimal {}

impl Decimal {
    /// Reads a number as `google.type.Decimal` and JSON write it.
    ///
    /// # Errors
    /// [`InvalidDecimal`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidDecimal> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (text, 0),
        };
        let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || whole.len() + fraction.len() == 0 {
            return Err(InvalidDecimal::NotANumber);
        }
        let mut number = Self {
            negative: mantissa.starts_with('-'),
            whole: whole.to_owned(),
            fraction: fraction.to_owned(),
        };
        number.shift(exponent);
        number.bounded()
    }

    /// The number times ten to the power of `places`.
    ///
    /// # Errors
    /// [`InvalidDecimal::TooManyDigits`].
    pub fn scaled(mut self, places: u8) -> Result<Self, InvalidDecimal> {
        self.shift(places.into());
        self.bounded()
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Its digits, where nothing but zeros follows the point.
    pub fn whole(&self) -> Option<&str> {
        let is_whole = self.fraction.bytes().all(|byte| byte == b'0');
        is_whole.then_some(self.whole.as_str())
    }

    /// Moves the point to the right, or to the left.
    fn shift(&mut self, places: i64) {
        let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
        if is_zero(&self.whole) && is_zero(&self.fraction) {
            return;
        }
        for _ in 0..places.clamp(0, MAX_EXPONENT) {
            let digit = if self.fraction.is_empty() {
                '0'
            } else {
                self.fraction.remove(0)
            };
            self.whole.push(digit);
        }
        for _ in 0..places.saturating_neg().clamp(0, MAX_EXPONENT) {
            self.fraction.insert(0, self.whole.pop().unwrap_or('0'));
        }
    }

    fn bounded(mut self) -> Result<Self, InvalidDecimal> {
        let digits = self.whole.trim_start_matches('0');
        self.whole = if digits.is_empty() { "0" } else { digits }.to_owned();
        if self.whole.len() + self.fraction.len() > MAX_DIGITS {
            return Err(InvalidDecimal::TooManyDigits);
        }
        let is_zero = self.whole == "0" && self.fraction.bytes().all(|byte| byte == b'0');
        self.negative &= !is_zero;
        Ok(self)
    }

    /// How it compares, of two that are not negative.
    pub(super) fn compare_sizes(&self, other: &Self) -> Ordering {
        let key = |number: &Self| (number.whole.len(), number.whole.clone());
        let fraction = |number: &Self| number.fraction.trim_end_matches('0').to_owned();
        (key(self), fraction(self)).cmp(&(key(other), fraction(other)))
    }
}

fn parse_exponent(text: &str) -> Result<i64, InvalidDecimal> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidDecimal::NotANumber);
    }
    let size = digits.parse().unwrap_or(MAX_EXPONENT).min(MAX_EXPONENT);
    Ok(if text.starts_with('-') { -size } else { size })
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let point = if self.fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{}{point}{}", self.whole, self.fraction)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_out_exactly() {
        for (sent, number) in [
            ("0", "0"),
            ("-0.0", "0.0"),
            ("007", "7"),
            ("+1.50", "1.50"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1.5e3", "1500"),
            ("1.2345E+2", "123.45"),
            ("12e-3", "0.012"),
            ("-4.5e0", "-4.5"),
            ("0e999999999999", "0"),
            (
                "123456789012345678901234567890.12",
                "123456789012345678901234567890.12",
            ),
        ] {
            assert_eq!(Decimal::parse(sent).unwrap().to_string(), number, "{sent}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for sent in [
            "", "-", ".", "e5", "1e", "1e+", "1,000", "0x1", "NaN", "Infinity", " 1", "1.2.3",
        ] {
            assert_eq!(
                Decimal::parse(sent),
                Err(InvalidDecimal::NotANumber),
                "{sent}"
            );
        }
        let long = "9".repeat(65);
        for sent in ["1e64", "1e-64", "1e999999999999999999999", long.as_str()] {
            assert_eq!(
                Decimal::parse(sent),
                Err(InvalidDecimal::TooManyDigits),
                "{sent}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_a_number_reads_as_itself(
            sent in "[-+]?[0-9.]{0,70}([eE][-+]?[0-9]{0,25})?|\\PC*"
        ) {
            if let Ok(number) = Decimal::parse(&sent) {
                prop_assert_eq!(Decimal::parse(&number.to_string()), Ok(number));
            }
        }
    }
}
