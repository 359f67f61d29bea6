//! Fields of requests that both rooms have, and why they are refused.

use uuid::Uuid;

use crate::{
    domain::{BatchId, MAX_INDEXED_TEXT_BYTES, Source},
    rpc::Error,
};

/// Refuses more than `limit` of what a field holds.
pub(crate) fn within(
    what: &'static str,
    actual: usize,
    limit: usize,
    setting: &'static str,
) -> Result<(), Error> {
    if actual <= limit {
        return Ok(());
    }
    Err(Error::LimitExceeded {
        what,
        limit,
        actual,
        setting: Some(setting),
    })
}

/// A text that is looked for or stored in an index; `None` for the empty one.
pub(crate) fn indexed(field: &'static str, text: String) -> Result<Option<String>, Error> {
    let bytes = text.len();
    if bytes > MAX_INDEXED_TEXT_BYTES {
        let description = format!("has {bytes} bytes, at most {MAX_INDEXED_TEXT_BYTES} are taken");
        return Err(Error::invalid(field, description));
    }
    if text.contains('\0') {
        return Err(Error::invalid(field, "must not hold the character U+0000"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A number of an enum that this version knows.
pub(crate) fn known<E: TryFrom<i32>>(field: &'static str, number: i32) -> Result<E, Error> {
    E::try_from(number)
        .map_err(|_| Error::invalid(field, format!("{number} is not a value of its enum")))
}

/// An id.
pub(crate) fn id(field: &'static str, text: &str) -> Result<Uuid, Error> {
    Uuid::parse_str(text).map_err(|_| Error::invalid(field, "must be a UUID"))
}

/// A batch; `None` for the empty text.
pub(crate) fn batch_id(text: &str) -> Result<Option<BatchId>, Error> {
    (!text.is_empty())
        .then(|| BatchId::parse(text))
        .transpose()
        .map_err(|error| Error::invalid("batch_id", error))
}

/// A source; `None` for the empty text.
pub(crate) fn source(text: &str) -> Result<Option<Source>, Error> {
    (!text.is_empty())
        .then(|| Source::parse(text))
        .transpose()
        .map_err(|error| Error::invalid("source", error))
}

/// An etag as a caller sent it: it is only ever compared, but what PostgreSQL cannot read it cannot compare.
pub(crate) fn etag(field: &'static str, text: &str) -> Result<String, Error> {
    if text.is_empty() {
        return Err(Error::invalid(
            field,
            "is required: pass the etag of the record as it was read",
        ));
    }
    Ok(text.replace('\0', "\u{fffd}"))
}

/// The names of a mask or of pins: those in `editable`, each once. The columns are called alike.
pub(crate) fn columns(
    field: &'static str,
    names: &[String],
    editable: &[&'static str],
    immutable: &[&'static str],
) -> Result<Vec<&'static str>, Error> {
    let mut columns = Vec::new();
    for name in names {
        let Some(column) = editable.iter().find(|column| *column == name) else {
            let description = if immutable.contains(&name.as_str()) {
                format!("{name:?} cannot be changed")
            } else {
                format!("{name:?} is not a field of it")
            };
            return Err(Error::invalid(field, description));
        };
        if !columns.contains(column) {
            columns.push(*column);
        }
    }
    Ok(columns)
}

/// Refuses a change of nothing, and a field that is changed and unpinned at once.
pub(crate) fn check_mask(mask: &[&str], unpin: &[&str], may_be_empty: bool) -> Result<(), Error> {
    if mask.is_empty() && unpin.is_empty() && !may_be_empty {
        return Err(Error::invalid(
            "update_mask",
            "name at least one field, or unpin one",
        ));
    }
    match unpin.iter().find(|column| mask.contains(column)) {
        Some(both) => Err(Error::invalid(
            "unpin",
            format!("{both:?} is in update_mask too"),
        )),
        None => Ok(()),
    }
}
