//! One contact, and many by their keys.

use std::sync::LazyLock;

use diesel::{
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    sql_query,
    sql_types::{Array, BigInt, Text, Untyped},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use futures_util::TryStreamExt as _;

use super::{Contact, columns};
use crate::{db::SharedConnection, rpc::Error};

/// What names a contact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::vault) enum ContactKey {
    /// Its id.
    Id(i64),
    /// Its email, normalized.
    Email(String),
}

static SELECT: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM vault.contacts AS c", columns("c")));

/// The statement of a point read. Not an `sql_query`, which is prepared anew for each call and so takes two
/// round trips: this one stays prepared on its connection.
#[derive(Debug)]
struct PointRead(ContactKey);

impl QueryFragment<Pg> for PointRead {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&SELECT);
        match &self.0 {
            ContactKey::Id(contact_id) => {
                out.push_sql(" WHERE c.contact_id = ");
                out.push_bind_param::<BigInt, _>(contact_id)
            }
            ContactKey::Email(email) => {
                out.push_sql(" WHERE c.email = ");
                out.push_bind_param::<Text, _>(email)
            }
        }
    }
}

impl QueryId for PointRead {
    // The connection keeps it by its text.
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for PointRead {
    type SqlType = Untyped;
}

/// One contact.
pub(in crate::vault) async fn get_contact(
    connection: SharedConnection,
    key: ContactKey,
) -> QueryResult<Option<Contact>> {
    let contacts: Vec<Contact> = PointRead(key).load(&mut &*connection).await?;
    Ok(contacts.into_iter().next())
}

/// The contacts that have one of these keys, in no order. Ends with an error as soon as they have more than
/// `max_bytes`.
pub(in crate::vault) async fn find_contacts(
    connection: &mut AsyncPgConnection,
    keys: &[&ContactKey],
    max_bytes: usize,
) -> Result<Vec<Contact>, Error> {
    let (mut ids, mut emails) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            ContactKey::Id(contact_id) => ids.push(*contact_id),
            ContactKey::Email(email) => emails.push(email.as_str()),
        }
    }
    let statement = format!(
        "{} WHERE c.contact_id = ANY ($1) OR c.email = ANY ($2)",
        *SELECT
    );
    let mut stream = sql_query(statement)
        .bind::<Array<BigInt>, _>(ids)
        .bind::<Array<Text>, _>(emails)
        .load_stream::<Contact>(connection)
        .await?;
    let (mut contacts, mut bytes) = (Vec::new(), 0);
    while let Some(contact) = stream.try_next().await? {
        bytes += contact.size();
        if bytes > max_bytes {
            return Err(Error::LimitExceeded {
                what: "bytes of contacts",
                limit: max_bytes,
                actual: bytes,
                setting: Some("max-frame-bytes"),
            });
        }
        contacts.push(contact);
    }
    Ok(contacts)
}

impl Contact {
    /// About how many bytes it has on the wire.
    pub(in crate::vault) fn size(&self) -> usize {
        /// Ids, times, score, status and etag.
        const FIXED: usize = 120;
        let texts = [&self.name, &self.phone, &self.company, &self.title];
        FIXED
            + self.email.len()
            + self.source.len()
            + self.tags.len()
            + self.custom_fields.len()
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}
