//! Pages of contacts.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};

use super::{Contact, ContactFilter, FILTER, columns, filtered};
use crate::{
    domain::Score,
    rpc::{Error, Page, PageRequest},
};

/// What a list is sorted by; contacts that are equal in it come by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vault) enum SortBy {
    /// Their creation, which never changes.
    Created,
    /// Their last change.
    Updated,
    /// Their score.
    Score,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vault) struct ContactOrder {
    pub(in crate::vault) by: SortBy,
    pub(in crate::vault) descending: bool,
}

/// Where a page ended.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::vault) struct PageKey {
    time: Option<DateTime<Utc>>,
    score: Option<Score>,
    contact_id: i64,
}

impl PageKey {
    /// The key of a contact in an order.
    pub(in crate::vault) fn of(contact: &Contact, order: ContactOrder) -> Result<Self, Error> {
        let (time, score) = match order.by {
            SortBy::Created => (Some(contact.created_at), None),
            SortBy::Updated => (Some(contact.updated_at), None),
            SortBy::Score => {
                let score = Score::parse(&contact.score).map_err(Error::internal)?;
                (None, Some(score))
            }
        };
        Ok(Self {
            time,
            score,
            contact_id: contact.contact_id,
        })
    }
}

/// A contact of a page.
#[derive(Debug, QueryableByName)]
pub(in crate::vault) struct ListedContact {
    #[diesel(embed)]
    pub(in crate::vault) contact: Contact,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// `{prefix}`, `{start}` and `{first}` are empty, or put the source in front: see [`by_source`].
///
/// Tags and custom fields may be large: they are unpacked one contact after the other, until the page is full.
const LIST: &str = "
    WITH RECURSIVE page AS (
        SELECT c.contact_id, c.{key}
        FROM vault.contacts AS c
        WHERE {filter}
          AND ($11 IS NULL OR ({prefix}c.{key}, c.contact_id) {after} ({start}{cast}, $12))
        ORDER BY {first}c.{key} {direction}, c.contact_id {direction}
        LIMIT $13
    ), found AS MATERIALIZED (
        SELECT array_agg(p.contact_id ORDER BY p.{key} {direction}, p.contact_id {direction}) AS ids FROM page AS p
    ), walk AS (
        SELECT 0 AS nth, 0::bigint AS bytes
        UNION ALL
        SELECT w.nth + 1, w.bytes + r.bytes
        FROM walk AS w
        CROSS JOIN found AS f
        CROSS JOIN LATERAL (
            SELECT 120 + octet_length(concat(c.email, c.name, c.phone, c.company, c.title, c.source))
                   + octet_length(c.tags::text) + octet_length(c.custom_fields::text) AS bytes
            FROM vault.contacts AS c
            WHERE c.contact_id = f.ids[w.nth + 1]
            OFFSET 0) AS r
        WHERE w.bytes < $14
    )
    SELECT {columns}, cardinality(f.ids)::bigint AS found
    FROM walk AS w
    CROSS JOIN found AS f
    JOIN vault.contacts AS c ON c.contact_id = f.ids[w.nth]
    WHERE w.nth = 1 OR w.bytes <= $14
    ORDER BY w.nth";

/// The list of one source in the order of creation, written so that only the index which begins with the
/// source gives that order. With `=` the planner counts on the source's contacts being spread evenly and
/// walks the index of all: but a source comes in one piece, and 800,000 others were read for its first page.
fn by_source() -> String {
    let filter = FILTER.replace("c.source = $2", "c.source BETWEEN $2 AND $2");
    LIST.replace("{filter}", &filter)
        .replace("{prefix}", "c.source, ")
        .replace("{start}", "$2, ")
        .replace("{first}", "c.source {direction}, ")
}

/// A page of contacts that ends at its size or at the request's bytes.
pub(in crate::vault) async fn list_contacts(
    connection: &mut AsyncPgConnection,
    filter: &ContactFilter,
    order: ContactOrder,
    request: &PageRequest<PageKey>,
) -> Result<Page<ListedContact>, Error> {
    let (key, cast) = match order.by {
        SortBy::Created => ("created_at", "$11"),
        SortBy::Updated => ("updated_at", "$11"),
        SortBy::Score => ("score", "$11::numeric"),
    };
    let (after, direction) = if order.descending {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let statement = if filter.source.is_some() && order.by == SortBy::Created {
        by_source()
    } else {
        LIST.replace("{filter}", FILTER)
            .replace("{prefix}", "")
            .replace("{start}", "")
            .replace("{first}", "")
    };
    let statement = statement
        .replace("{key}", key)
        .replace("{cast}", cast)
        .replace("{after}", after)
        .replace("{direction}", direction)
        .replace("{columns}", &columns("c"));
    let last = request.after.as_ref();
    let query = filtered(statement, filter);
    let query = match order.by {
        SortBy::Score => {
            query.bind::<Nullable<Text>, _>(last.and_then(|last| last.score).map(String::from))
        }
        SortBy::Created | SortBy::Updated => {
            query.bind::<Nullable<Timestamptz>, _>(last.and_then(|last| last.time))
        }
    };
    let contacts: Vec<ListedContact> = query
        .bind::<Nullable<BigInt>, _>(last.map(|last| last.contact_id))
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(contacts, |row| row.found, request.size))
}
