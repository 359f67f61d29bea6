//! Marketing: campaigns, the gate before each send, what came of it, and what it came to.

mod attribution;
mod attribution_sums;
mod campaigns;
mod conversions;
mod conversions_badly;
mod conversions_listing;
mod engagements;
mod journeys;
mod outreach;
mod reports;
