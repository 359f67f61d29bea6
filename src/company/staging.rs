//! Staging: whose row is it? And the rows that contacts make.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::{RawValue, to_raw_value};

use super::KIND;
use crate::{
    domain::{
        DomainVerdict, InvalidDomain, WebDomain,
        row::{Fields, RejectionReason, RowLimits, RowRejection, validate_keys},
    },
    golden::{
        Kind,
        from_vault::{Contact, FromVault, Progress},
        staging::{Sent, Staged, Staging},
    },
    proto::company::v1 as pb,
};

/// The keys of a row that hold its domain, or whose text an index holds. Sorted.
const KEYS: [&str; 6] = [
    "domain",
    "industry",
    "linkedin_url",
    "location",
    "name",
    "website",
];

/// `StageCompanies`.
pub(super) struct StageRows;

impl Staging for StageRows {
    const KIND: Kind = KIND;
    const METHOD: &'static str = "StageCompanies";
    type Request = pb::StageCompaniesRequest;
    type Response = pb::StageCompaniesResponse;

    fn sent(request: Self::Request) -> Sent {
        Sent {
            batch_id: request.batch_id,
            source: request.source,
            rows: request.rows,
            json_rows: request.json_rows,
            offset: request.offset,
            request_id: request.request_id,
            validate_only: request.validate_only,
        }
    }

    fn key(raw: &[u8], limits: &RowLimits) -> Result<String, RowRejection> {
        let fields = validate_keys(raw, limits, &KEYS, &[])?;
        domain(&fields).map(|domain| domain.as_str().to_owned())
    }

    fn respond(staged: Staged) -> Self::Response {
        pb::StageCompaniesResponse {
            batch_id: staged.batch_id,
            first_offset: staged.first_offset,
            outcomes: staged.outcomes,
            tally: Some(staged.tally),
        }
    }
}

/// The domain of a row as staging reads it, or why staging would reject the row.
pub(crate) fn staged_key(raw: &[u8], limits: &RowLimits) -> Result<String, RowRejection> {
    StageRows::key(raw, limits)
}

/// The domain of a row: that of `domain`, or of `website` where `domain` says nothing. A bad domain is not made
/// good by a website: which of the two is meant is not ours to guess.
fn domain<const N: usize>(fields: &Fields<'_, N>) -> Result<WebDomain, RowRejection> {
    for key in ["domain", "website"] {
        let raw = fields.get(key).map_or("null", RawValue::get);
        if raw == "null" {
            continue;
        }
        let invalid =
            |detail: String| RowRejection::of_field(RejectionReason::InvalidDomain, key, detail);
        let sent: String =
            serde_json::from_str(raw).map_err(|_| invalid(format!("a {key} is a JSON string")))?;
        match WebDomain::parse(&sent) {
            Ok(domain) => return Ok(domain),
            Err(InvalidDomain::Blank) => {}
            Err(error) => return Err(invalid(format!("no domain: {error}"))),
        }
    }
    Err(RowRejection::of_field(
        RejectionReason::MissingDomain,
        "domain",
        "the row has neither a domain nor a website",
    ))
}

/// `StageCompaniesFromVault`.
pub(super) struct StageContacts;

/// The columns of a company, by the custom field of a contact that holds them.
const CUSTOM_FIELDS: [(&str, &str); 6] = [
    ("website", "website"),
    ("industry", "industry"),
    ("employee_count", "employee_count"),
    ("revenue", "revenue"),
    ("company_location", "location"),
    ("company_linkedin_url", "linkedin_url"),
];

impl FromVault for StageContacts {
    const KIND: Kind = KIND;
    type Response = pb::StageCompaniesFromVaultResponse;

    fn slot(contact: &Contact) -> Option<(String, String)> {
        // Always an object; one that an administrator broke has no fields.
        let custom: HashMap<String, Box<RawValue>> =
            serde_json::from_str(&contact.custom_fields).unwrap_or_default();
        let domain = contact_domain(contact, &custom)?.as_str().to_owned();
        let mut row: BTreeMap<&str, Box<RawValue>> = CUSTOM_FIELDS
            .into_iter()
            .filter_map(|(field, column)| Some((column, custom.get(field)?.clone())))
            .collect();
        row.insert("domain", to_raw_value(&domain).ok()?);
        if let Some(name) = &contact.company {
            row.insert("name", to_raw_value(name).ok()?);
        }
        Some((domain, serde_json::to_string(&row).ok()?))
    }

    fn message(progress: Progress) -> Self::Response {
        pb::StageCompaniesFromVaultResponse {
            done: progress.done,
            staged: progress.total.staged,
            unchanged: progress.total.unchanged,
            skipped: progress.total.skipped,
            left: progress.left,
            rows_per_second: progress.rows_per_second,
            finished: progress.finished,
        }
    }
}

/// The first of a contact's domains that can be a company's.
fn contact_domain(contact: &Contact, custom: &HashMap<String, Box<RawValue>>) -> Option<WebDomain> {
    let text = |field: &str| serde_json::from_str::<String>(custom.get(field)?.get()).ok();
    let email = contact
        .email
        .rsplit_once('@')
        .map(|(_, domain)| domain.to_owned());
    [text("domain"), text("website"), email]
        .into_iter()
        .flatten()
        .filter_map(|text| WebDomain::parse(&text).ok())
        .find(|domain| domain.verdict() == DomainVerdict::Company)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn key(row: &str) -> Result<String, (RejectionReason, String)> {
        StageRows::key(row.as_bytes(), &RowLimits::default())
            .map_err(|rejection| (rejection.reason, rejection.pointer))
    }

    #[test]
    fn a_row_belongs_to_its_domain_or_to_that_of_its_website() {
        use RejectionReason::{InvalidDomain, MissingDomain, TextTooLong};
        for (row, domain) in [
            (r#"{"domain":"Acme.com"}"#, "acme.com"),
            (
                r#"{"domain":" ","website":"https://www.acme.com/x"}"#,
                "acme.com",
            ),
            (r#"{"domain":null,"website":"acme.com"}"#, "acme.com"),
            (r#"{"domain":"acme.com","website":"http://"}"#, "acme.com"),
        ] {
            assert_eq!(key(row), Ok(domain.to_owned()), "{row}");
        }
        let long = format!(r#"{{"domain":"{}.com"}}"#, "a".repeat(1_000));
        for (row, reason, pointer) in [
            ("{}", MissingDomain, "/domain"),
            (r#"{"domain":"","website":null}"#, MissingDomain, "/domain"),
            (r#"{"domain":7}"#, InvalidDomain, "/domain"),
            (
                r#"{"domain":"localhost","website":"acme.com"}"#,
                InvalidDomain,
                "/domain",
            ),
            (r#"{"website":"http://"}"#, InvalidDomain, "/website"),
            (r#"{"website":["acme.com"]}"#, InvalidDomain, "/website"),
            (long.as_str(), TextTooLong, "/domain"),
        ] {
            assert_eq!(key(row), Err((reason, pointer.to_owned())), "{row}");
        }
        assert!(KEYS.is_sorted());
    }

    fn slot(email: &str, custom_fields: &str) -> Option<(String, String)> {
        StageContacts::slot(&Contact {
            contact_id: 1,
            email: email.to_owned(),
            name: None,
            phone: None,
            company: Some("Acme".to_owned()),
            title: None,
            source: "apollo".to_owned(),
            custom_fields: custom_fields.to_owned(),
            updated_at: DateTime::UNIX_EPOCH,
        })
    }

    #[test]
    fn a_contact_makes_the_row_of_its_company() {
        for (email, custom, made) in [
            (
                "a@acme.com",
                "{}",
                Some(r#"{"domain":"acme.com","name":"Acme"}"#),
            ),
            (
                "a@gmail.com",
                r#"{"website":"https://acme.com","revenue":1.50,"company_location":"Oslo","x":1}"#,
                Some(
                    r#"{"domain":"acme.com","location":"Oslo","name":"Acme","revenue":1.50,"website":"https://acme.com"}"#,
                ),
            ),
            (
                "a@acme.com",
                r#"{"domain":"github.io","website":"http://"}"#,
                Some(r#"{"domain":"acme.com","name":"Acme","website":"http://"}"#),
            ),
            ("a@gmail.com", "{}", None),
            ("a@gmail.com", r#"{"website":"gmail.com"}"#, None),
        ] {
            assert_eq!(
                slot(email, custom).map(|(_, row)| row).as_deref(),
                made,
                "{email} {custom}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_key_or_are_rejected(row in any::<Vec<u8>>(), text in "\\PC{0,40}") {
            let _ = StageRows::key(&row, &RowLimits::default());
            let row = serde_json::json!({"domain": text, "website": text}).to_string();
            let _ = key(&row);
            let _ = slot("a@acme.com", &row);
        }
    }
}
