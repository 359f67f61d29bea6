//! Exact numbers on the wire.

use super::Error;
use crate::{domain, proto::google::r#type::Decimal};

/// A number for the wire, as PostgreSQL prints it.
pub(crate) fn to_decimal(value: String) -> Decimal {
    Decimal { value }
}

/// A number from the wire.
///
/// # Errors
/// [`Error::InvalidField`] for what is none, or has over 64 digits.
pub(crate) fn from_decimal(
    field: &'static str,
    decimal: &Decimal,
) -> Result<domain::Decimal, Error> {
    domain::Decimal::parse(&decimal.value).map_err(|error| Error::invalid(field, error))
}
