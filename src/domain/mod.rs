//! Values that cannot be wrong once made. This floor knows neither proto nor diesel.
//!
//! A value is made by its `parse` or `new`, which says what is wrong with the input; who holds one need
//! not check again. The rules are those that the database keeps too: nothing that passes here is refused
//! there, at once or later.

mod deal_value;
mod decimal;
mod email;
mod free_mail;
mod host;
mod linkedin;
mod names;
mod number;
pub mod row;
mod score;
mod web_domain;

pub use deal_value::{DealValue, InvalidDealValue};
pub use decimal::{Decimal, InvalidDecimal};
pub use email::{Email, InvalidEmail};
pub use linkedin::{InvalidLinkedInUrl, LinkedInKind, LinkedInUrl};
pub use names::{Actor, BatchId, InvalidName, MAX_INDEXED_TEXT_BYTES, Source};
pub use number::{Headcount, Money, Unread};
pub use score::{InvalidScore, Score};
pub use web_domain::{DomainVerdict, InvalidDomain, WebDomain};

/// What became of a row when it was received. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Stored as pending.
    Accepted,
    /// Stored as a duplicate.
    Duplicate,
    /// Not stored; kept among the rejected rows.
    Rejected,
}

impl Fate {
    /// Reads the byte that `intake.batch_chunks.fates` keeps; `None` for one that it never writes.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'a' => Some(Self::Accepted),
            b'd' => Some(Self::Duplicate),
            b'r' => Some(Self::Rejected),
            _ => None,
        }
    }
}

/// What to do with a row whose email was accepted within the duplicate window of 30 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicatePolicy {
    /// Store it as a duplicate.
    Mark,
    /// Accept it when its content differs from the last accepted row of that email.
    AcceptChanged,
}

impl DuplicatePolicy {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::AcceptChanged => "accept_changed",
        }
    }
}

/// How many rows had which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows stored as pending.
    pub accepted: i64,
    /// Rows stored as duplicates.
    pub duplicate: i64,
    /// Rows kept among the rejected rows.
    pub rejected: i64,
}

impl Tally {
    /// Counts fates.
    pub fn of(fates: impl IntoIterator<Item = Fate>) -> Self {
        let mut tally = Self::default();
        for fate in fates {
            match fate {
                Fate::Accepted => tally.accepted += 1,
                Fate::Duplicate => tally.duplicate += 1,
                Fate::Rejected => tally.rejected += 1,
            }
        }
        tally
    }

    /// Rows received: law 1, conservation.
    pub fn received(&self) -> i64 {
        self.accepted + self.duplicate + self.rejected
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.rejected += other.rejected;
    }
}
