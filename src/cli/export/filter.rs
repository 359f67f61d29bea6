//! Which contacts to export, as the command line says it: every filter of the API.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::{Args, ValueEnum};
use prost_types::Timestamp;

use crate::{
    domain::Score,
    proto::vault::v1::{ContactFilter, ContactStatus},
};

/// Which contacts.
#[derive(Args, Debug)]
pub(super) struct FilterArgs {
    /// Only contacts with this status.
    #[arg(long, value_enum)]
    status: Option<StatusArg>,
    /// Only contacts that came from this source first.
    #[arg(long, value_parser = not_blank)]
    source: Option<String>,
    /// Only contacts of this company.
    #[arg(long, value_parser = not_blank)]
    company: Option<String>,
    /// Only contacts with this tag.
    #[arg(long, value_parser = not_blank)]
    tag: Option<String>,
    /// Only contacts with this score or more.
    #[arg(long, value_name = "SCORE", value_parser = Score::parse)]
    score_from: Option<Score>,
    /// Only contacts with this score or less.
    #[arg(long, value_name = "SCORE", value_parser = Score::parse)]
    score_to: Option<Score>,
    /// Only contacts made at this time or later, such as 2026-01-31 (UTC) or 2026-01-31T09:00:00+01:00.
    #[arg(long, value_name = "TIME", value_parser = time)]
    created_from: Option<DateTime<Utc>>,
    /// Only contacts made before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    created_before: Option<DateTime<Utc>>,
    /// Only contacts changed at this time or later.
    #[arg(long, value_name = "TIME", value_parser = time)]
    updated_from: Option<DateTime<Utc>>,
    /// Only contacts changed before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    updated_before: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusArg {
    Active,
    Inactive,
    Bounced,
    Unsubscribed,
}

impl From<StatusArg> for ContactStatus {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Active => Self::Active,
            StatusArg::Inactive => Self::Inactive,
            StatusArg::Bounced => Self::Bounced,
            StatusArg::Unsubscribed => Self::Unsubscribed,
        }
    }
}

/// To the service an empty filter means every contact. Here it means that a script's variable was not set.
fn not_blank(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("it must not be blank; to export all contacts, leave the flag out"),
        _ => Ok(text.to_owned()),
    }
}

/// A time of RFC 3339, or a day's beginning.
fn time(text: &str) -> Result<DateTime<Utc>, &'static str> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d");
    day.map(|day| day.and_time(NaiveTime::MIN).and_utc())
        .map_err(
            |_| "expected a time such as 2026-01-31T09:00:00Z, or a day such as 2026-01-31 (UTC)",
        )
}

impl FilterArgs {
    /// The filter of the API.
    pub(super) fn to_proto(&self) -> ContactFilter {
        let score = |score: Option<Score>| score.map(|score| score.to_string()).unwrap_or_default();
        let status = self.status.map(ContactStatus::from).unwrap_or_default();
        ContactFilter {
            status: status.into(),
            source: self.source.clone().unwrap_or_default(),
            company: self.company.clone().unwrap_or_default(),
            tag: self.tag.clone().unwrap_or_default(),
            score_from: score(self.score_from),
            score_to: score(self.score_to),
            created_from: self.created_from.map(timestamp),
            created_before: self.created_before.map(timestamp),
            updated_from: self.updated_from.map(timestamp),
            updated_before: self.updated_before.map(timestamp),
        }
    }
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        // Below 2^31 also in a leap second.
        nanos: time.timestamp_subsec_nanos().min(999_999_999) as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_a_day() {
        let seconds = |text| time(text).map(|time| time.timestamp());
        assert_eq!(seconds("1970-01-02"), Ok(86_400));
        assert_eq!(seconds("1970-01-01T01:00:05.5+01:00"), Ok(5));
        for wrong in ["", "1970", "1970-02-30", "1970-01-01 00:00", "now"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
