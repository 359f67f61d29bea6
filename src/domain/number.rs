//! Numbers of companies, as sources write them: read where they have one reading, else not at all.

use std::{cmp::Ordering, fmt};

use serde_json::value::RawValue;

use super::decimal::{Decimal, InvalidDecimal};

/// A number of employees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Headcount(i32);

/// An amount of money, without its currency: not negative, at most 64 digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money(Decimal);

/// Why a value is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It has no single reading as a number.
    NotANumber,
    /// It is below zero.
    Negative,
    /// It is more than the column holds.
    OutOfRange,
    /// A boolean, an array or an object.
    WrongType,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber => write!(
                f,
                "it has no single reading as a number; 1200, \"1,200\", \"51-200\" and \"4.5M\" have"
            ),
            Self::Negative => write!(f, "it is below zero"),
            Self::OutOfRange => write!(f, "it is more than the field holds"),
            Self::WrongType => write!(f, "it is neither a number nor a text"),
        }
    }
}

impl std::error::Error for Unread {}

impl From<InvalidDecimal> for Unread {
    fn from(error: InvalidDecimal) -> Self {
        match error {
            InvalidDecimal::NotANumber => Self::NotANumber,
            InvalidDecimal::TooManyDigits => Self::OutOfRange,
        }
    }
}

impl Headcount {
    /// Reads a value of a row; `None` where it says nothing. `"1,200"`, `"58.0"`, `"1.5K"` and
    /// `"~200 employees"` are read, of `"51-200"` and `"10K+"` the lower bound.
    ///
    /// # Errors
    /// [`Unread`] says why it cannot be read.
    pub fn read(value: &RawValue) -> Result<Option<Self>, Unread> {
        let Some(number) = read(value, headcount_text)? else {
            return Ok(None);
        };
        let whole = number.whole().ok_or(Unread::NotANumber)?;
        // Nothing but digits is left, so that only their number can be too large.
        let count = whole.parse().map_err(|_| Unread::OutOfRange)?;
        Ok(Some(Self(count)))
    }

    /// The number.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl Money {
    /// Reads a value of a row; `None` where it says nothing. `"$4.5M"`, `"1,200,000 USD"` and `"€2 billion"`
    /// are read, of `"$1M-$5M"` the lower bound. `"1.200"` may be either of two numbers and is not.
    ///
    /// # Errors
    /// [`Unread`] says why it cannot be read.
    pub fn read(value: &RawValue) -> Result<Option<Self>, Unread> {
        Ok(read(value, money_text)?.map(Self))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn read(
    value: &RawValue,
    read_text: impl FnOnce(&str) -> Result<Decimal, Unread>,
) -> Result<Option<Decimal>, Unread> {
    let raw = value.get();
    let number = match raw.as_bytes().first() {
        Some(b'"') => {
            let text: String = serde_json::from_str(raw).map_err(|_| Unread::NotANumber)?;
            if text.trim().is_empty() {
                return Ok(None);
            }
            read_text(text.trim())?
        }
        Some(b'-' | b'0'..=b'9') => Decimal::parse(raw)?,
        Some(b'n') => return Ok(None),
        _ => return Err(Unread::WrongType),
    };
    if number.is_negative() {
        return Err(Unread::Negative);
    }
    Ok(Some(number))
}

fn headcount_text(text: &str) -> Result<Decimal, Unread> {
    let text = text.to_lowercase();
    let text = text.strip_suffix("employees").unwrap_or(&text).trim();
    range(text, |text| {
        let amount = Amount::parse(text)?;
        // Half an employee is a thousand's separator that was meant, or none.
        if amount.scale == 0 && amount.number.whole().is_none() {
            return Err(Unread::NotANumber);
        }
        Ok(amount)
    })
}

fn money_text(text: &str) -> Result<Decimal, Unread> {
    range(text, |text| Amount::parse(without_currency(text)))
}

/// A number, or the lower bound of a range of two.
fn range(text: &str, parse: impl Fn(&str) -> Result<Amount, Unread>) -> Result<Decimal, Unread> {
    if let Some(positive) = text.strip_prefix(['-', '\u{2212}']) {
        return match parse(positive.trim_start()) {
            Ok(amount) => Err(amount.value().err().unwrap_or(Unread::Negative)),
            Err(error) => Err(error),
        };
    }
    let bounds = ["-", "\u{2013}", "\u{2014}", " to "]
        .into_iter()
        .find_map(|between| text.split_once(between));
    let Some((from, to)) = bounds else {
        let text = text.strip_prefix('~').unwrap_or(text);
        let text = text.strip_suffix('+').unwrap_or(text);
        return parse(text.trim())?.value();
    };
    let (from, to) = (parse(from.trim())?, parse(to.trim())?);
    // In `1-5M` the first bound may be a million or one.
    if from.scale == 0 && to.scale > 0 {
        return Err(Unread::NotANumber);
    }
    let from = from.value()?;
    match from.compare_sizes(&to.value()?) {
        Ordering::Greater => Err(Unread::NotANumber),
        _ => Ok(from),
    }
}

/// A number with the power of a thousand that its suffix stands for.
struct Amount {
    number: Decimal,
    scale: u8,
}

impl Amount {
    fn parse(text: &str) -> Result<Self, Unread> {
        const SUFFIXES: [(&str, u8); 10] = [
            ("thousand", 3),
            ("million", 6),
            ("billion", 9),
            ("trillion", 12),
            ("bn", 9),
            ("mn", 6),
            ("k", 3),
            ("m", 6),
            ("b", 9),
            ("t", 12),
        ];
        let lower = text.to_lowercase();
        let scaled = SUFFIXES
            .into_iter()
            .find_map(|(suffix, scale)| Some((lower.strip_suffix(suffix)?, scale)));
        let (digits, scale) = scaled.unwrap_or((&lower, 0));
        let number = grouped(digits.trim_end(), scale > 0)?;
        Ok(Self { number, scale })
    }

    fn value(self) -> Result<Decimal, Unread> {
        Ok(self.number.scaled(self.scale)?)
    }
}

/// A number whose thousands may be set apart, by the same sign throughout.
fn grouped(text: &str, is_scaled: bool) -> Result<Decimal, Unread> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let separator = whole.chars().find(|char| !char.is_ascii_digit());
    let digits = match separator {
        None if is_digits(whole) => whole.to_owned(),
        Some(separator) if is_separator(separator) => {
            let groups: Vec<&str> = whole.split(separator).collect();
            let (first, rest) = groups.split_first().ok_or(Unread::NotANumber)?;
            let fits = first.len() <= 3 && rest.iter().all(|group| group.len() == 3);
            if !fits || !groups.iter().all(|group| is_digits(group)) {
                return Err(Unread::NotANumber);
            }
            groups.concat()
        }
        _ => return Err(Unread::NotANumber),
    };
    let Some(fraction) = fraction else {
        return Ok(Decimal::parse(&digits)?);
    };
    if !is_digits(fraction) {
        return Err(Unread::NotANumber);
    }
    // `1.200` is twelve hundred where the point sets thousands apart.
    let may_be_thousands =
        fraction.len() == 3 && digits.len() <= 3 && !digits.starts_with('0') && !is_scaled;
    if may_be_thousands && separator.is_none() {
        return Err(Unread::NotANumber);
    }
    Ok(Decimal::parse(&format!("{digits}.{fraction}"))?)
}

fn is_separator(char: char) -> bool {
    [
        ',', ' ', '_', '\'', '\u{2019}', '\u{a0}', '\u{202f}', '\u{2009}',
    ]
    .contains(&char)
}

/// The text without one sign or code of a currency, in front or behind.
fn without_currency(text: &str) -> &str {
    const SIGNS: [&str; 42] = [
        "us$", "ca$", "au$", "nz$", "hk$", "sg$", "r$", "c$", "a$", "s$", "$", "€", "£", "¥", "₹",
        "₩", "₽", "₪", "₺", "usd", "eur", "gbp", "jpy", "cny", "inr", "chf", "cad", "aud", "nzd",
        "sek", "nok", "dkk", "sgd", "hkd", "brl", "krw", "pln", "ils", "zar", "mxn", "aed", "czk",
    ];
    let front = SIGNS.into_iter().find_map(|sign| {
        let head = text.get(..sign.len())?;
        head.eq_ignore_ascii_case(sign).then(|| &text[sign.len()..])
    });
    let behind = || {
        SIGNS.into_iter().find_map(|sign| {
            let at = text.len().checked_sub(sign.len())?;
            let tail = text.get(at..)?;
            tail.eq_ignore_ascii_case(sign).then(|| &text[..at])
        })
    };
    front.or_else(behind).unwrap_or(text).trim()
}

#[cfg(test)]
mod tests;
