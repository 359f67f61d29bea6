//! Contacts through the API: read, listed, exported, changed, deleted, scored.

mod deleting;
mod export_command;
mod exporting;
mod exporting_at_once;
mod filters;
mod listing;
mod point_reads;
mod reading;
mod scoring;
mod updating;
mod updating_badly;

use leadvault::proto::vault::v1::{
    Contact, ContactKey, GetContactRequest, UpdateContactRequest, contact_key::Key,
    vault_service_client::VaultServiceClient,
};
use prost_types::FieldMask;
use tonic::transport::Channel;

use crate::harness::{App, Sql};

async fn vault(app: &App) -> VaultServiceClient<Channel> {
    VaultServiceClient::new(app.channel().await)
}

fn by_id(contact_id: i64) -> Option<ContactKey> {
    Some(ContactKey {
        key: Some(Key::ContactId(contact_id)),
    })
}

fn by_email(email: &str) -> Option<ContactKey> {
    Some(ContactKey {
        key: Some(Key::Email(email.to_owned())),
    })
}

/// Makes contacts `c00001@x.example`, ... a second apart, and says their ids.
async fn make(sql: &Sql, count: i64) -> Vec<i64> {
    let rows = sql
        .rows(
            "INSERT INTO vault.contacts (email, name, company, title, source, created_at, updated_at)
             SELECT 'c' || lpad(n::text, 5, '0') || '@x.example', 'Name ' || n, 'Acme', 'CTO', 'apollo',
                    to_timestamp(1767225600 + n), to_timestamp(1767225600 + n)
             FROM generate_series(1, $1::bigint) AS n
             ORDER BY n
             RETURNING contact_id",
            &[&count],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}

async fn read(app: &App, contact_id: i64) -> Contact {
    let request = GetContactRequest {
        key: by_id(contact_id),
    };
    let response = vault(app).await.get_contact(request).await.unwrap();
    response.into_inner().contact.unwrap()
}

/// A request that changes these fields of a contact to what it has in them.
fn change(contact: &Contact, fields: &[&str]) -> UpdateContactRequest {
    UpdateContactRequest {
        contact: Some(contact.clone()),
        update_mask: Some(FieldMask {
            paths: fields.iter().map(|field| (*field).to_owned()).collect(),
        }),
        ..Default::default()
    }
}

/// What must not move when nothing is written: the row's version, and the length of the audit trail.
async fn writes(sql: &Sql) -> (String, i64) {
    let versions = sql
        .one(
            "SELECT coalesce(string_agg(xmin::text || updated_at::text, ',' ORDER BY contact_id), '')
             FROM vault.contacts",
            &[],
        )
        .await;
    let entries = sql.one("SELECT count(*) FROM intake.audit_log", &[]).await;
    (versions, entries)
}
