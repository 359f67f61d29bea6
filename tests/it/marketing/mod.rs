//! Marketing: campaigns, the gate before each send, what came of it, and what it came to.

mod attribution;
mod campaigns;
mod conversions;
mod engagements;
mod outreach;
mod reports;
