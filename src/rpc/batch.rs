//! Batches: how many items one call may have.

use super::Error;

/// The most items of one call. A promise of the API to every caller, and so no setting.
pub(crate) const MAX_ITEMS: usize = 1_000;

/// Refuses a call without items, and one with more than [`MAX_ITEMS`]; `field` holds them.
///
/// # Errors
/// [`Error::InvalidField`] for none, [`Error::LimitExceeded`] for too many.
pub(crate) fn check_items(field: &'static str, count: usize) -> Result<(), Error> {
    match count {
        0 => Err(Error::invalid(field, "give at least one")),
        1..=MAX_ITEMS => Ok(()),
        _ => Err(Error::LimitExceeded {
            what: field,
            limit: MAX_ITEMS,
            actual: count,
            setting: None,
        }),
    }
}
