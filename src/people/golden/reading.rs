//! What a staged row says of a person: the keys that are read, how, and what is left out with a note.

use serde::Serialize;
use uuid::Uuid;

use crate::{
    domain::{
        DomainVerdict, Email, LinkedInKind, MAX_INDEXED_TEXT_BYTES, WebDomain,
        row::{self, RowLimits, RowRejection},
    },
    golden::{
        promotion::PendingSlot,
        reading::{Note, Reading, SlotRejection},
    },
};

/// The keys of a row that staging looks at, sorted. Their texts have the limit of an index, whether or not they
/// reach one: a person is leased and listed with many others.
const KEYS: [&str; 11] = [
    "department",
    EMAIL_KEY,
    "first_name",
    "last_name",
    "linkedin_url",
    "location",
    "name",
    "phone",
    "seniority",
    "title",
    "website",
];
/// The key of the email, which has a limit of its own.
const EMAIL_KEY: &str = "email";

/// The email of a row that can be staged.
///
/// # Errors
/// Why it cannot be.
pub(super) fn key(raw: &[u8], limits: &RowLimits) -> Result<String, RowRejection> {
    let fields = row::validate_keys(raw, limits, &KEYS, &[EMAIL_KEY])?;
    row::parse_email(fields.get(EMAIL_KEY)).map(|email| email.to_string())
}

/// What a slot says, for `people.f_promote_slots`. What it says nothing of is left out.
#[derive(Debug, Default, Serialize)]
pub(in crate::people) struct Values {
    slot_id: Uuid,
    slot_number: i64,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linkedin_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seniority: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    department: Option<String>,
    /// The company's domain, by the website.
    #[serde(skip_serializing_if = "Option::is_none")]
    site_domain: Option<String>,
    /// The company's domain, by the email.
    #[serde(skip_serializing_if = "Option::is_none")]
    mail_domain: Option<String>,
    notes: Vec<Note>,
}

/// Why a slot is not fit.
#[derive(Debug, Serialize)]
pub(in crate::people) struct Refusal {
    slot_id: Uuid,
    reason: &'static str,
    detail: String,
}

/// Reads a slot.
///
/// # Errors
/// [`Refusal`] says why it is not fit: only what was written past `StagePeople` may not be.
pub(super) fn read(slot: &PendingSlot) -> Result<Values, Refusal> {
    values(slot).map_err(|rejection| Refusal {
        slot_id: slot.id,
        reason: rejection.reason,
        detail: rejection.detail,
    })
}

fn values(slot: &PendingSlot) -> Result<Values, SlotRejection> {
    let email = Email::parse(&slot.key).map_err(|e| SlotRejection::new("INVALID_EMAIL", e))?;
    let mut reading = Reading::of(&slot.raw_data)?;
    let mut values = Values {
        slot_id: slot.id,
        slot_number: slot.slot_number,
        email: email.to_string(),
        name: reading.indexed_text("name")?,
        first_name: reading.indexed_text("first_name")?,
        last_name: reading.indexed_text("last_name")?,
        title: reading.indexed_text("title")?,
        linkedin_url: reading
            .linkedin_url("linkedin_url", LinkedInKind::Person)
            .map(|url| url.to_string()),
        phone: reading.indexed_text("phone")?,
        location: reading.indexed_text("location")?,
        seniority: reading.indexed_text("seniority")?,
        department: reading.indexed_text("department")?,
        site_domain: site_domain(&mut reading),
        mail_domain: mail_domain(&email),
        notes: reading.notes,
    };
    values.fill_names();
    Ok(values)
}

impl Values {
    /// Fills the name, or the first and the last one, from what the row says whole. A half, such as a first name
    /// alone, must not take the place of a whole name that is stored: it fills one only where the merge finds
    /// none. Of a name and a half of it, the other half is the rest.
    fn fill_names(&mut self) {
        match (&self.name, &self.first_name, &self.last_name) {
            (None, Some(first), Some(last)) => {
                let name = format!("{first} {last}");
                self.name = Some(name).filter(|name| name.len() <= MAX_INDEXED_TEXT_BYTES);
            }
            (Some(name), None, None) => {
                let mut words = name.split_whitespace();
                if let (Some(first), Some(last)) = (words.next(), words.next_back()) {
                    (self.first_name, self.last_name) =
                        (Some(first.to_owned()), Some(last.to_owned()));
                }
            }
            (Some(name), Some(first), None) => self.last_name = rest_after(name, first),
            (Some(name), None, Some(last)) => self.first_name = rest_before(name, last),
            _ => {}
        }
    }
}

/// The words of a name after those of its first name.
fn rest_after(name: &str, first: &str) -> Option<String> {
    let rest = name.strip_prefix(first)?;
    let words = rest.trim_start();
    (words.len() < rest.len() && !words.is_empty()).then(|| words.to_owned())
}

/// The words of a name before those of its last name.
fn rest_before(name: &str, last: &str) -> Option<String> {
    let rest = name.strip_suffix(last)?;
    let words = rest.trim_end();
    (words.len() < rest.len() && !words.is_empty()).then(|| words.to_owned())
}

/// The domain of an email where it can be a company's.
fn mail_domain(email: &Email) -> Option<String> {
    let domain = WebDomain::parse(email.domain()).ok()?;
    (domain.verdict() == DomainVerdict::Company).then(|| domain.to_string())
}

/// The company's domain by the website. What is nobody's own links nobody, which is no fault of the row.
fn site_domain(reading: &mut Reading) -> Option<String> {
    const KEY: &str = "website";
    let sent = reading.text(KEY)?;
    match WebDomain::parse(&sent) {
        Ok(domain) => (domain.verdict() == DomainVerdict::Company).then(|| domain.to_string()),
        Err(error) => {
            reading.note(KEY, "NOT_A_URL", error);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(email: &str, row: &str) -> PendingSlot {
        PendingSlot {
            id: Uuid::nil(),
            slot_number: 1,
            key: email.to_owned(),
            raw_data: row.to_owned(),
        }
    }

    fn names(row: &str) -> [Option<String>; 3] {
        let values = read(&slot("a@x.example", row)).unwrap();
        [values.name, values.first_name, values.last_name]
    }

    #[test]
    fn names_are_filled_from_one_another() {
        for (row, expected) in [
            (
                r#"{"name":"Jane van Doe"}"#,
                ["Jane van Doe", "Jane", "Doe"],
            ),
            (r#"{"name":" Jane "}"#, ["Jane", "", ""]),
            (
                r#"{"first_name":"Jane","last_name":"Doe"}"#,
                ["Jane Doe", "Jane", "Doe"],
            ),
            (r#"{"first_name":"Jane"}"#, ["", "Jane", ""]),
            (
                r#"{"name":"J. Doe","first_name":"Jane"}"#,
                ["J. Doe", "Jane", ""],
            ),
            (
                r#"{"name":"Ada Lovelace","first_name":"Ada"}"#,
                ["Ada Lovelace", "Ada", "Lovelace"],
            ),
            (
                r#"{"name":"Mary Ann  van Doe","first_name":"Mary Ann"}"#,
                ["Mary Ann  van Doe", "Mary Ann", "van Doe"],
            ),
            (
                r#"{"name":"Mary Ann van Doe","last_name":"van Doe"}"#,
                ["Mary Ann van Doe", "Mary Ann", "van Doe"],
            ),
            // Part of a word is not the word.
            (
                r#"{"name":"Adam Lovelace","first_name":"Ada"}"#,
                ["Adam Lovelace", "Ada", ""],
            ),
            (
                r#"{"name":"Ada McLace","last_name":"Lace"}"#,
                ["Ada McLace", "", "Lace"],
            ),
            (r#"{"name":"Ada","first_name":"Ada"}"#, ["Ada", "Ada", ""]),
            (r#"{"name":"","first_name":null}"#, ["", "", ""]),
        ] {
            let found = names(row).map(Option::unwrap_or_default);
            assert_eq!(found, expected, "{row}");
        }
    }

    proptest! {
        /// Whatever the words are: the half that is missing is the rest, and what was given stays.
        #[test]
        fn a_name_and_a_half_of_it_give_the_other_half(
            first in "[\\p{L}'.-]{1,8}( [\\p{L}'.-]{1,8}){0,2}",
            last in "[\\p{L}'.-]{1,8}( [\\p{L}'.-]{1,8}){0,2}",
        ) {
            let name = format!("{first} {last}");
            let whole = [name.clone(), first.clone(), last.clone()].map(Some);
            let of = |key: &str, half: &str| {
                names(&serde_json::json!({"name": name, key: half}).to_string())
            };
            prop_assert_eq!(of("first_name", &first), whole.clone());
            prop_assert_eq!(of("last_name", &last), whole);
        }
    }

    #[test]
    fn domains_come_from_the_website_and_from_mail_that_is_not_free() {
        for (email, row, site, mail) in [
            ("a@acme.io", "{}", None, Some("acme.io")),
            (
                "a@gmail.com",
                r#"{"website":"https://www.acme.io/x"}"#,
                Some("acme.io"),
                None,
            ),
            (
                "a@acme.io",
                r#"{"website":"gmail.com"}"#,
                None,
                Some("acme.io"),
            ),
            ("a@github.io", r#"{"website":"co.uk"}"#, None, None),
        ] {
            let values = read(&slot(email, row)).unwrap();
            assert!(values.notes.is_empty());
            let found = (values.site_domain.as_deref(), values.mail_domain.as_deref());
            assert_eq!(found, (site, mail), "{email} {row}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_noted_and_takes_nothing_down() {
        let row = r#"{"title":["CTO"],"phone":4915,"linkedin_url":"https://x.com/in/a","website":"http://"}"#;
        let values = read(&slot("a@x.example", row)).unwrap();
        assert_eq!(values.phone.as_deref(), Some("4915"));
        let notes: Vec<_> = values
            .notes
            .iter()
            .map(|note| (note.field, note.pointer.as_str(), note.reason))
            .collect();
        assert_eq!(
            notes,
            [
                ("title", "/title", "WRONG_TYPE"),
                ("linkedin_url", "/linkedin_url", "NOT_A_LINKEDIN_URL"),
                ("website", "/website", "NOT_A_URL"),
            ]
        );
    }

    #[test]
    fn what_was_written_past_the_service_is_refused_with_its_reason() {
        let long = format!(r#"{{"location":"{}"}}"#, "x".repeat(1_001));
        for (email, row, reason) in [
            ("nobody", "{}", "INVALID_EMAIL"),
            ("a@x.example", "[]", "NOT_AN_OBJECT"),
            ("a@x.example", "1", "NOT_AN_OBJECT"),
            ("a@x.example", long.as_str(), "TEXT_TOO_LONG"),
        ] {
            assert_eq!(read(&slot(email, row)).unwrap_err().reason, reason, "{row}");
        }
    }

    #[test]
    fn the_keys_are_sorted_for_the_search() {
        assert!(KEYS.is_sorted());
    }
}
