//! Every query of the room.

pub(super) mod campaigns;
pub(super) mod conversions;
pub(super) mod conversions_report;
pub(super) mod engagements;
pub(super) mod feedback;
mod listing;
pub(super) mod outreach;
pub(super) mod reports;
