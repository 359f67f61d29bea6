//! Promotion: is a slot fit to become a golden record, and what does its row say?

use diesel_async::AsyncPgConnection;
use serde::Serialize;
use uuid::Uuid;

use super::{KIND, repository::promotion as repository};
use crate::{
    domain::{Actor, DomainVerdict, Headcount, LinkedInKind, Money, WebDomain},
    golden::{
        Kind,
        promotion::{PendingSlot, Progress, Promoted, Promoting},
        reading::{Note, Reading, SlotRejection},
    },
    metrics::ChunkOf,
    proto::company::v1 as pb,
    rpc::Error,
};

/// `PromoteCompanies`.
pub(super) struct PromoteSlots;

impl Promoting for PromoteSlots {
    const KIND: Kind = KIND;
    const CHUNK_OF: ChunkOf = ChunkOf::PromoteCompanies;
    type Response = pb::PromoteCompaniesResponse;

    async fn promote(
        connection: &mut AsyncPgConnection,
        slots: Vec<PendingSlot>,
        actor: &Actor,
    ) -> Result<Promoted, Error> {
        let (mut read, mut rejected) = (Vec::new(), Vec::new());
        for slot in slots {
            match ReadSlot::of(&slot) {
                Ok(company) => read.push(company),
                Err(rejection) => rejected.push(RejectedSlot {
                    id: slot.id.to_string(),
                    reason: rejection.reason,
                    detail: rejection.detail,
                }),
            }
        }
        repository::promote(connection, &read, &rejected, actor).await
    }

    fn message(progress: Progress) -> Self::Response {
        let total = progress.total;
        pb::PromoteCompaniesResponse {
            done: progress.done,
            promoted: total.promoted,
            updated: total.updated,
            unchanged: total.unchanged,
            rejected: total.rejected,
            noted: total.noted,
            people_linked: total.linked,
            left: progress.left,
            rows_per_second: progress.rows_per_second,
            finished: progress.finished,
        }
    }
}

/// A slot as it was read; the names are those of the columns. Numbers are texts, so that they stay exact.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ReadSlot {
    id: String,
    slot_number: i64,
    domain: String,
    name: Option<String>,
    industry: Option<String>,
    employee_count: Option<i32>,
    revenue: Option<String>,
    location: Option<String>,
    linkedin_url: Option<String>,
    website: Option<String>,
    notes: Vec<Note>,
}

/// A slot that is refused.
#[derive(Debug, Serialize)]
pub(super) struct RejectedSlot {
    id: String,
    reason: &'static str,
    detail: String,
}

impl ReadSlot {
    fn of(slot: &PendingSlot) -> Result<Self, SlotRejection> {
        let mut row = Reading::of(&slot.raw_data)?;
        Ok(Self {
            id: Uuid::to_string(&slot.id),
            slot_number: slot.slot_number,
            domain: domain(&slot.key)?,
            name: row.indexed_text("name")?,
            industry: row.indexed_text("industry")?,
            employee_count: row
                .number("employee_count", Headcount::read)
                .map(Headcount::get),
            revenue: row
                .number("revenue", Money::read)
                .map(|money| money.to_string()),
            location: row.indexed_text("location")?,
            linkedin_url: row
                .linkedin_url("linkedin_url", LinkedInKind::Company)
                .map(|url| url.as_str().to_owned()),
            website: website(&mut row)?,
            notes: row.notes,
        })
    }
}

fn domain(key: &str) -> Result<String, SlotRejection> {
    let domain = WebDomain::parse(key)
        .map_err(|error| SlotRejection::new("INVALID_DOMAIN", format!("no domain: {error}")))?;
    match domain.verdict() {
        DomainVerdict::Company => Ok(domain.as_str().to_owned()),
        DomainVerdict::PublicSuffix => Err(SlotRejection::new(
            "PUBLIC_SUFFIX",
            format!(
                "{domain} is a public suffix: names below it are somebody's, it is nobody's own"
            ),
        )),
        DomainVerdict::FreeMail => Err(SlotRejection::new(
            "FREE_MAIL_DOMAIN",
            format!("{domain} gives mailboxes to the public: it says nothing of who uses one"),
        )),
    }
}

/// The website as it was sent; one that has no domain is noted.
fn website(row: &mut Reading) -> Result<Option<String>, SlotRejection> {
    let Some(website) = row.indexed_text("website")? else {
        return Ok(None);
    };
    match WebDomain::parse(&website) {
        Ok(_) => Ok(Some(website)),
        Err(error) => {
            row.note("website", "NOT_A_URL", format!("no website: {error}"));
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, raw_data: &str) -> Result<ReadSlot, &'static str> {
        let slot = PendingSlot {
            id: Uuid::nil(),
            slot_number: 7,
            key: key.to_owned(),
            raw_data: raw_data.to_owned(),
        };
        ReadSlot::of(&slot).map_err(|rejection| rejection.reason)
    }

    #[test]
    fn what_a_row_says_is_read_and_what_it_does_not_is_noted() {
        let row = r#"{"domain":"x","name":" Acme ","industry":7,"employee_count":"51-200","revenue":"$4.5M",
            "location":"","linkedin_url":"linkedin.com/company/Acme/","website":"https://acme.com"}"#;
        let slot = read("acme.com", row).unwrap();
        assert_eq!(slot.name.as_deref(), Some("Acme"));
        assert_eq!(slot.industry.as_deref(), Some("7"));
        assert_eq!(slot.employee_count, Some(51));
        assert_eq!(slot.revenue.as_deref(), Some("4500000"));
        assert_eq!(slot.location, None);
        assert_eq!(
            slot.linkedin_url.as_deref(),
            Some("https://www.linkedin.com/company/acme")
        );
        assert_eq!(slot.website.as_deref(), Some("https://acme.com"));
        assert_eq!(slot.notes, []);

        let row = r#"{"name":["Acme"],"employee_count":"many","revenue":-1,"linkedin_url":"x","website":"http://"}"#;
        let slot = read("acme.com", row).unwrap();
        let notes: Vec<_> = slot
            .notes
            .iter()
            .map(|note| (note.field, note.reason))
            .collect();
        assert_eq!(
            notes,
            [
                ("name", "WRONG_TYPE"),
                ("employee_count", "NOT_A_NUMBER"),
                ("revenue", "NEGATIVE"),
                ("linkedin_url", "NOT_A_LINKEDIN_URL"),
                ("website", "NOT_A_URL"),
            ]
        );
    }

    #[test]
    fn a_slot_that_is_not_fit_is_refused_with_its_reason() {
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(1_001));
        for (key, row, reason) in [
            ("github.io", "{}", "PUBLIC_SUFFIX"),
            ("gmail.com", "{}", "FREE_MAIL_DOMAIN"),
            ("localhost", "{}", "INVALID_DOMAIN"),
            ("acme.com", "[]", "NOT_AN_OBJECT"),
            ("acme.com", "7", "NOT_AN_OBJECT"),
            ("acme.com", long.as_str(), "TEXT_TOO_LONG"),
        ] {
            assert_eq!(read(key, row), Err(reason), "{key} {row}");
        }
    }
}
