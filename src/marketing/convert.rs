//! Between the messages of marketing and the names of the database, and the fields that its calls share.
//!
//! What is wrong with an item comes back as a description, and the caller says where: a batch refuses the item
//! alone, a call of one thing is refused whole.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use uuid::Uuid;

use crate::{
    proto::{marketing::v1 as pb, vault::v1 as vault},
    rpc::{Error, from_timestamp},
};

/// The types of a campaign, by their names in the database.
pub(super) const CAMPAIGN_TYPES: [(pb::CampaignType, &str); 3] = [
    (pb::CampaignType::ColdOutreach, "cold_outreach"),
    (pb::CampaignType::Nurture, "nurture"),
    (pb::CampaignType::FollowUp, "follow_up"),
];

/// The states of a campaign, by their names in the database.
pub(super) const CAMPAIGN_STATUSES: [(pb::CampaignStatus, &str); 4] = [
    (pb::CampaignStatus::Draft, "draft"),
    (pb::CampaignStatus::Active, "active"),
    (pb::CampaignStatus::Paused, "paused"),
    (pb::CampaignStatus::Completed, "completed"),
];

/// The channels of a message, by their names in the database.
pub(super) const CHANNELS: [(pb::OutreachChannel, &str); 3] = [
    (pb::OutreachChannel::Email, "email"),
    (pb::OutreachChannel::Linkedin, "linkedin"),
    (pb::OutreachChannel::Phone, "phone"),
];

/// The types of a message, by their names in the database.
pub(super) const MESSAGE_TYPES: [(pb::MessageType, &str); 3] = [
    (pb::MessageType::Initial, "initial"),
    (pb::MessageType::FollowUp, "follow_up"),
    (pb::MessageType::Reply, "reply"),
];

/// What may become of a message, by its names in the database.
pub(super) const OUTREACH_STATUSES: [(pb::OutreachStatus, &str); 4] = [
    (pb::OutreachStatus::Sent, "sent"),
    (pb::OutreachStatus::Opened, "opened"),
    (pb::OutreachStatus::Bounced, "bounced"),
    (pb::OutreachStatus::Replied, "replied"),
];

/// What may happen to a message, by its names in the database.
pub(super) const ENGAGEMENT_KINDS: [(pb::EngagementKind, &str); 3] = [
    (pb::EngagementKind::Opened, "opened"),
    (pb::EngagementKind::Replied, "replied"),
    (pb::EngagementKind::Bounced, "bounced"),
];

/// How a message may bounce, by its names in the database.
pub(super) const BOUNCE_TYPES: [(pb::BounceType, &str); 2] = [
    (pb::BounceType::Hard, "hard"),
    (pb::BounceType::Soft, "soft"),
];

/// The types of a conversion, by their names in the database.
pub(super) const CONVERSION_TYPES: [(pb::ConversionType, &str); 4] = [
    (pb::ConversionType::Meeting, "meeting"),
    (pb::ConversionType::Demo, "demo"),
    (pb::ConversionType::Signup, "signup"),
    (pb::ConversionType::Sale, "sale"),
];

/// The scopes of the ledger of suppressions, by their names in the database.
pub(super) const SCOPES: [(vault::Channel, &str); 4] = [
    (vault::Channel::All, "all"),
    (vault::Channel::Email, "email"),
    (vault::Channel::Linkedin, "linkedin"),
    (vault::Channel::Phone, "phone"),
];

/// The reasons of the ledger of suppressions, by their names in the database.
pub(super) const REASONS: [(vault::SuppressionReason, &str); 5] = [
    (vault::SuppressionReason::Unsubscribed, "unsubscribed"),
    (vault::SuppressionReason::Bounced, "bounced"),
    (vault::SuppressionReason::Complaint, "complaint"),
    (vault::SuppressionReason::Manual, "manual"),
    (vault::SuppressionReason::Legal, "legal"),
];

/// The name of a number; `None` for the unspecified one.
pub(super) fn to_name<E: TryFrom<i32> + PartialEq>(
    number: i32,
    names: &[(E, &'static str)],
) -> Result<Option<&'static str>, String> {
    let value = E::try_from(number).map_err(|_| format!("{number} is not a value of its enum"))?;
    let found = names.iter().find(|(own, _)| *own == value);
    Ok(found.map(|(_, name)| *name))
}

/// The name of a number that must be one.
pub(super) fn required_name<E: TryFrom<i32> + PartialEq>(
    number: i32,
    names: &[(E, &'static str)],
) -> Result<&'static str, String> {
    to_name(number, names)?.ok_or_else(|| "is required".to_owned())
}

/// The value of a name; the unspecified one for a name that only a newer version knows.
pub(super) fn from_name<E: Copy + Default>(name: &str, names: &[(E, &'static str)]) -> E {
    let found = names.iter().find(|(_, own)| *own == name);
    found.map_or_else(E::default, |(value, _)| *value)
}

/// An id.
pub(super) fn id(text: &str) -> Result<Uuid, String> {
    Uuid::parse_str(text).map_err(|_| "must be a UUID".to_owned())
}

/// An id that may be left out.
pub(super) fn optional_id(text: &str) -> Result<Option<Uuid>, String> {
    (!text.is_empty()).then(|| id(text)).transpose()
}

/// Refuses a text that is too long, or that PostgreSQL cannot store.
pub(super) fn check_text(text: &str, max_bytes: usize) -> Result<(), String> {
    let bytes = text.len();
    if bytes > max_bytes {
        return Err(format!("has {bytes} bytes, at most {max_bytes} are taken"));
    }
    if text.contains('\0') {
        return Err("must not hold the character U+0000".to_owned());
    }
    Ok(())
}

/// What is wrong with one item of a batch, which is refused alone.
#[derive(Debug)]
pub(super) struct InvalidItem {
    /// The field.
    pub(super) field: &'static str,
    /// What is wrong with it and what would be right.
    pub(super) detail: String,
}

/// A field of an item, or where and why the item is refused.
pub(super) fn item_field<T>(
    field: &'static str,
    value: Result<T, String>,
) -> Result<T, InvalidItem> {
    value.map_err(|detail| InvalidItem { field, detail })
}

/// Since when, and before when; either end may be open.
type Ends = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// A period, of the fields with these names.
pub(super) fn period(
    [from_field, before_field]: [&'static str; 2],
    [from, before]: [Option<Timestamp>; 2],
) -> Result<Ends, Error> {
    let from = from_timestamp(from_field, from)?;
    let before = from_timestamp(before_field, before)?;
    if let (Some(from), Some(before)) = (from, before)
        && before < from
    {
        let description = format!("is before {from_field}; a period must not end before it starts");
        return Err(Error::invalid(before_field, description));
    }
    Ok((from, before))
}
