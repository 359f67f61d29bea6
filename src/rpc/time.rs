//! Times on the wire and in the database.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

use super::Error;

/// A time for the wire, exact to the microsecond that PostgreSQL keeps.
pub(crate) fn to_timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        // Below a billion, so it fits.
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0),
    }
}

/// A time from the wire, within the years 1 to 9999 that a Timestamp may hold.
///
/// # Errors
/// [`Error::InvalidField`] for any other.
pub(crate) fn from_timestamp(
    field: &'static str,
    timestamp: Option<Timestamp>,
) -> Result<Option<DateTime<Utc>>, Error> {
    use chrono::Datelike as _;
    timestamp
        .map(|timestamp| {
            u32::try_from(timestamp.nanos)
                .ok()
                // chrono takes more for a leap second; a Timestamp has none.
                .filter(|nanos| *nanos < 1_000_000_000)
                .and_then(|nanos| DateTime::from_timestamp(timestamp.seconds, nanos))
                .filter(|time| (1..=9999).contains(&time.year()))
                .ok_or_else(|| Error::invalid(field, "must be a time in the years 1 to 9999"))
        })
        .transpose()
}
