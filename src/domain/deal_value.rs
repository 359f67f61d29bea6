//! What a conversion is worth.

use std::fmt;

use super::decimal::{Decimal, InvalidDecimal};

/// The most digits of a value in cents.
const MAX_CENT_DIGITS: usize = 18;

/// An amount of money, without its currency: not negative, below 10^16, exact to the cent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DealValue {
    /// Below 10^18, so that it fits.
    cents: i64,
}

/// Why a number is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidDealValue {
    /// It is no number.
    NotANumber(InvalidDecimal),
    /// It is below zero.
    Negative,
    /// It has a fraction of a cent.
    TooFine,
    /// It is 10^16 or more.
    TooLarge,
}

impl fmt::Display for InvalidDealValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber(error) => error.fmt(f),
            Self::Negative => write!(f, "must not be negative"),
            Self::TooFine => write!(f, "must have at most 2 digits after the point"),
            Self::TooLarge => write!(f, "must have at most 16 digits before the point"),
        }
    }
}

impl std::error::Error for InvalidDealValue {}

impl DealValue {
    /// Reads a value as `google.type.Decimal` writes it. Zeros at its end do not make it finer.
    ///
    /// # Errors
    /// [`InvalidDealValue`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidDealValue> {
        let number = Decimal::parse(text).map_err(InvalidDealValue::NotANumber)?;
        if number.is_negative() {
            return Err(InvalidDealValue::Negative);
        }
        let cents = number.scaled(2).map_err(|_| InvalidDealValue::TooLarge)?;
        let cents = cents.whole().ok_or(InvalidDealValue::TooFine)?;
        if cents.len() > MAX_CENT_DIGITS {
            return Err(InvalidDealValue::TooLarge);
        }
        let cents = cents.parse().map_err(|_| InvalidDealValue::TooLarge)?;
        Ok(Self { cents })
    }
}

impl fmt::Display for DealValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.cents / 100, self.cents % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exact_to_the_cent() {
        for (sent, value) in [
            ("0", "0.00"),
            ("-0", "0.00"),
            (".5", "0.50"),
            ("12.345000e1", "123.45"),
            ("1999.9900000", "1999.99"),
            ("9999999999999999.99", "9999999999999999.99"),
        ] {
            assert_eq!(DealValue::parse(sent).unwrap().to_string(), value, "{sent}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        use InvalidDealValue as Why;
        let forty_digits = "1234567890".repeat(4);
        for (sent, why) in [
            ("", Why::NotANumber(InvalidDecimal::NotANumber)),
            ("NaN", Why::NotANumber(InvalidDecimal::NotANumber)),
            ("1e64", Why::NotANumber(InvalidDecimal::TooManyDigits)),
            ("-0.01", Why::Negative),
            ("0.001", Why::TooFine),
            ("10000000000000000", Why::TooLarge),
            (forty_digits.as_str(), Why::TooLarge),
            ("1e63", Why::TooLarge),
        ] {
            assert_eq!(DealValue::parse(sent), Err(why), "{sent}");
        }
    }
}
