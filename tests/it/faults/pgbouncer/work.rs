//! What the service does all day, behind a pooler, and that it is exact.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use leadvault::proto::vault::v1::{
    ContactKey, ExportContactsRequest, GetContactRequest, contact_key::Key,
    vault_service_client::VaultServiceClient,
};
use tonic::transport::{Channel, Endpoint};

use super::{Bouncer, load};
use crate::{
    crash::{
        exact::assert_exact,
        rows::{Rows, rows},
    },
    harness::{Running, Service, Sql, Workspace, leadvault},
};

const ROWS: i64 = 4_000;
const READERS: usize = 8;
const READS: usize = 40;

/// A load of two lanes, promotion, and then an export while several callers read one contact after the other.
pub(super) async fn is_exact(workspace: &Workspace, bouncer: &Bouncer) {
    let service = Service::start(bouncer.serve("leads")).await;
    let rows = rows(ROWS);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let endpoint = service.endpoint();
    load(&file, &endpoint, "pooled", 2).finish().await.ok();
    let sql = Sql::connect(&bouncer.postgres.url("leads")).await;
    assert_exact(&sql, "pooled", 2, &rows).await;
    let promoted = Running::spawn(leadvault(&["promote", "--endpoint", &endpoint]));
    promoted.finish().await.ok();
    let contacts = contacts(&sql, &rows).await;

    let endpoint = Endpoint::from_shared(endpoint).unwrap();
    let client = VaultServiceClient::new(endpoint.connect().await.unwrap());
    let readers = (0..READERS).map(|reader| read(client.clone(), &contacts[reader * READS..]));
    let (exported, _) = tokio::join!(export(client.clone()), join_all(readers));
    assert_eq!(exported, contacts, "each contact once, by its id");
    assert_eq!(service.stop().await.0.code(), Some(0));
}

/// The ids and emails of the vault, which holds each accepted row once.
async fn contacts(sql: &Sql, rows: &Rows) -> Vec<(i64, String)> {
    let query = "SELECT contact_id, email FROM vault.contacts ORDER BY contact_id";
    let found = sql.rows(query, &[]).await;
    let found: Vec<(i64, String)> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(i64::try_from(found.len()).unwrap(), rows.accepted);
    let emails: BTreeSet<&String> = found.iter().map(|(_, email)| email).collect();
    assert_eq!(emails.len(), found.len());
    found
}

/// Reads contacts by id and by email in turn; each answer is the one that was asked for.
async fn read(mut client: VaultServiceClient<Channel>, contacts: &[(i64, String)]) {
    for (n, contact) in contacts.iter().take(READS).enumerate() {
        let key = match n % 2 {
            0 => Key::ContactId(contact.0),
            _ => Key::Email(contact.1.clone()),
        };
        let key = Some(ContactKey { key: Some(key) });
        let answer = client.get_contact(GetContactRequest { key }).await.unwrap();
        let found = answer.into_inner().contact.unwrap();
        assert_eq!((found.contact_id, found.email), *contact);
    }
}

async fn export(mut client: VaultServiceClient<Channel>) -> Vec<(i64, String)> {
    let request = ExportContactsRequest::default();
    let mut stream = client.export_contacts(request).await.unwrap().into_inner();
    let mut exported = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        let contacts = message.contacts.into_iter();
        exported.extend(contacts.map(|contact| (contact.contact_id, contact.email)));
    }
    exported
}
