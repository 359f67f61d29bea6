//! What the whole room needs between messages and the database: the names of the API's enums, and the rule
//! for texts.
//!
//! What is wrong comes back as a description, and the caller says where: the path of an item's field is made
//! only when it is needed.

use crate::proto::vault::v1 as pb;

/// The statuses of a contact, by their names in the database.
pub(super) const STATUSES: [(pb::ContactStatus, &str); 4] = [
    (pb::ContactStatus::Active, "active"),
    (pb::ContactStatus::Inactive, "inactive"),
    (pb::ContactStatus::Bounced, "bounced"),
    (pb::ContactStatus::Unsubscribed, "unsubscribed"),
];

/// The channels and scopes, by their names in the database.
pub(super) const CHANNELS: [(pb::Channel, &str); 4] = [
    (pb::Channel::All, "all"),
    (pb::Channel::Email, "email"),
    (pb::Channel::Linkedin, "linkedin"),
    (pb::Channel::Phone, "phone"),
];

/// The reasons of a suppression, by their names in the database.
pub(super) const REASONS: [(pb::SuppressionReason, &str); 5] = [
    (pb::SuppressionReason::Unsubscribed, "unsubscribed"),
    (pb::SuppressionReason::Bounced, "bounced"),
    (pb::SuppressionReason::Complaint, "complaint"),
    (pb::SuppressionReason::Manual, "manual"),
    (pb::SuppressionReason::Legal, "legal"),
];

/// A number of an enum that this version knows.
pub(super) fn known<E: TryFrom<i32>>(number: i32) -> Result<E, String> {
    E::try_from(number).map_err(|_| format!("{number} is not a value of its enum"))
}

/// The name of a number; `None` for the unspecified one.
pub(super) fn to_name<E: TryFrom<i32> + PartialEq>(
    number: i32,
    names: &[(E, &'static str)],
) -> Result<Option<&'static str>, String> {
    let value: E = known(number)?;
    let found = names.iter().find(|(own, _)| *own == value);
    Ok(found.map(|(_, name)| *name))
}

/// The value of a name; the unspecified one for a name that only a newer version knows.
pub(super) fn from_name<E: Copy + Default>(name: &str, names: &[(E, &'static str)]) -> E {
    let found = names.iter().find(|(_, own)| *own == name);
    found.map_or_else(E::default, |(value, _)| *value)
}

/// Refuses a text that is too long, or that PostgreSQL cannot store.
pub(super) fn check_text(text: &str, max_bytes: usize) -> Result<(), String> {
    let bytes = text.len();
    if bytes > max_bytes {
        return Err(format!("has {bytes} bytes, at most {max_bytes} are taken"));
    }
    storable(text)
}

/// Refuses a text that PostgreSQL cannot store.
pub(super) fn storable(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("must not hold the character U+0000".to_owned());
    }
    Ok(())
}
