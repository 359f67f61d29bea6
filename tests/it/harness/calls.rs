//! Short ways to say what most tests say, and to read how a call was refused.

use std::fmt::Debug;

use leadvault::proto::{
    intake::v1::{IngestRowsRequest, IngestRowsResponse},
    r#type::v1::ErrorReason,
    vault::v1::{ContactKey, DeleteContactRequest, GetContactRequest, contact_key::Key},
};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use super::{App, Refusal, refusal, row};

impl App {
    /// Sends JSON rows by `IngestRows`, which must take them.
    pub(crate) async fn ingest(
        &self,
        batch_id: &str,
        source: &str,
        rows: &[impl AsRef<[u8]>],
    ) -> IngestRowsResponse {
        let request = IngestRowsRequest {
            batch_id: batch_id.to_owned(),
            source: source.to_owned(),
            json_rows: rows
                .iter()
                .map(|row| row.as_ref().to_vec().into())
                .collect(),
            ..Default::default()
        };
        let mut client = self.intake().await;
        client.ingest_rows(request).await.unwrap().into_inner()
    }

    /// Sends rows that hold nothing but these emails, and says which loads they became.
    pub(crate) async fn ingest_emails(
        &self,
        batch_id: &str,
        source: &str,
        emails: &[&str],
    ) -> Vec<i64> {
        let rows: Vec<String> = emails.iter().map(|email| row(email)).collect();
        let response = self.ingest(batch_id, source, &rows).await;
        let outcomes = response.outcomes.into_iter();
        outcomes.map(|outcome| outcome.load_id).collect()
    }

    /// Deletes the contact of an email by `DeleteContact`.
    pub(crate) async fn delete_contact(&self, email: &str) {
        let mut client = self.vault().await;
        let request = GetContactRequest {
            key: Some(ContactKey {
                key: Some(Key::Email(email.to_owned())),
            }),
        };
        let contact = client.get_contact(request).await.unwrap().into_inner();
        let contact = contact.contact.unwrap();
        let request = DeleteContactRequest {
            contact_id: contact.contact_id,
            etag: contact.etag,
        };
        client.delete_contact(request).await.unwrap();
    }
}

/// `count` different emails.
pub(crate) fn emails(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("p{n:05}@x.example")).collect()
}

/// What no message to a caller may hold: the words of a driver or of PostgreSQL (law 13).
const DRIVER_WORDS: [&str; 14] = [
    "SQLSTATE",
    "diesel",
    "tokio",
    // With its blank: an id may hold these three characters.
    "in bb8",
    "pg_",
    "violates",
    "syntax",
    "relation ",
    "permission denied",
    "byte sequence",
    "ERROR:",
    "does not exist",
    "panicked",
    "src/",
];

/// Reads the refusal of a call that must be refused, and holds it against law 13.
pub(crate) fn refused<T: Debug>(result: Result<Response<T>, Status>) -> Refusal {
    let status = result.expect_err("the call must be refused");
    for word in DRIVER_WORDS {
        assert!(!status.message().contains(word), "{word:?} in {status:?}");
    }
    let details = status.get_error_details();
    let info = details
        .error_info()
        .expect("every refusal has an ErrorInfo");
    assert_eq!(info.domain, "leadvault");
    let known = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason));
    assert!(known.is_some(), "{} is not one of our reasons", info.reason);
    refusal(Err::<T, _>(status))
}

/// Asserts that a call was refused for a field.
pub(crate) fn assert_field<T: Debug>(result: Result<Response<T>, Status>, field: &str) {
    let refusal = refused(result);
    assert_eq!(refusal.code, Code::InvalidArgument, "{field}: {refusal:?}");
    assert_eq!(refusal.fields, [field], "{refusal:?}");
}
