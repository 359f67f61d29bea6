//! Pages of people.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Person, columns};
use crate::rpc::{Error, Page, PageRequest};

/// Which people.
#[derive(Clone, Debug, Default)]
pub(in crate::people) struct PersonFilter {
    pub(in crate::people) status: Option<&'static str>,
    pub(in crate::people) company_id: Option<Uuid>,
    pub(in crate::people) email_domain: Option<String>,
    /// As a pattern of LIKE.
    pub(in crate::people) name_prefix: Option<String>,
    /// As a pattern of LIKE.
    pub(in crate::people) location_prefix: Option<String>,
    pub(in crate::people) seniority: Option<String>,
    pub(in crate::people) department: Option<String>,
    pub(in crate::people) enriched_before: Option<DateTime<Utc>>,
    pub(in crate::people) unlinked: bool,
}

/// What a list is sorted by; people who are equal in it come by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::people) enum SortBy {
    /// Their creation, which never changes.
    Created,
    /// Their last change.
    Updated,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::people) struct PersonOrder {
    pub(in crate::people) by: SortBy,
    pub(in crate::people) descending: bool,
}

/// Where a page ended.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::people) struct PageKey {
    time: DateTime<Utc>,
    id: Uuid,
}

impl PageKey {
    /// The key of a person in an order.
    pub(in crate::people) fn of(person: &Person, order: PersonOrder) -> Self {
        let time = match order.by {
            SortBy::Created => person.created_at,
            SortBy::Updated => person.updated_at,
        };
        Self {
            time,
            id: person.id,
        }
    }
}

#[derive(QueryableByName)]
struct ListedPerson {
    #[diesel(embed)]
    person: Person,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// The statement is planned with its values each time, so that what is not asked for costs nothing and what is
/// finds its index.
const LIST: &str = "
    WITH page AS MATERIALIZED (
        SELECT p.*
        FROM people.master AS p
        WHERE ($1 IS NULL OR p.status = $1)
          AND ($2 IS NULL OR p.company_id = $2)
          AND ($3 IS NULL OR split_part(p.email, '@', -1) = $3)
          AND ($4 IS NULL OR lower(p.name) LIKE lower($4))
          AND ($5 IS NULL OR lower(p.location) LIKE lower($5))
          AND ($6 IS NULL OR p.seniority = $6)
          AND ($7 IS NULL OR p.department = $7)
          AND ($8 IS NULL OR coalesce(p.enriched_at, '-infinity'::timestamptz) < $8)
          AND (NOT $9 OR p.company_id IS NULL)
          AND ($10 IS NULL OR (p.{key}, p.id) {after} ($10, $11))
        ORDER BY p.{key} {direction}, p.id {direction}
        LIMIT $12
    ), measured AS (
        SELECT p.id, row_number() OVER in_order AS nth, count(*) OVER () AS found,
               sum(200 + octet_length(concat(p.email, p.name, p.first_name, p.last_name, p.title,
                                             p.linkedin_url, p.phone, p.location, p.seniority, p.department)))
                   OVER in_order AS bytes
        FROM page AS p
        WINDOW in_order AS (ORDER BY p.{key} {direction}, p.id {direction})
    )
    SELECT {columns}, m.found
    FROM measured AS m
    JOIN page AS p ON p.id = m.id
    CROSS JOIN LATERAL (SELECT ROW(p.*)::people.master AS p) AS r
    WHERE m.nth = 1 OR m.bytes <= $13
    ORDER BY m.nth";

/// A page of people that ends at its size or at the request's bytes.
pub(in crate::people) async fn list_people(
    connection: &mut AsyncPgConnection,
    filter: &PersonFilter,
    order: PersonOrder,
    request: &PageRequest<PageKey>,
) -> Result<Page<Person>, Error> {
    let key = match order.by {
        SortBy::Created => "created_at",
        SortBy::Updated => "updated_at",
    };
    let (after, direction) = if order.descending {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let statement = LIST
        .replace("{key}", key)
        .replace("{after}", after)
        .replace("{direction}", direction)
        .replace("{columns}", &columns("(r.p)"));
    let last = request.after.as_ref();
    let people: Vec<ListedPerson> = sql_query(statement)
        .bind::<Nullable<Text>, _>(filter.status)
        .bind::<Nullable<SqlUuid>, _>(filter.company_id)
        .bind::<Nullable<Text>, _>(filter.email_domain.as_deref())
        .bind::<Nullable<Text>, _>(filter.name_prefix.as_deref())
        .bind::<Nullable<Text>, _>(filter.location_prefix.as_deref())
        .bind::<Nullable<Text>, _>(filter.seniority.as_deref())
        .bind::<Nullable<Text>, _>(filter.department.as_deref())
        .bind::<Nullable<Timestamptz>, _>(filter.enriched_before)
        .bind::<Bool, _>(filter.unlinked)
        .bind::<Nullable<Timestamptz>, _>(last.map(|last| last.time))
        .bind::<Nullable<SqlUuid>, _>(last.map(|last| last.id))
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    let page = Page::cut(people, |row| row.found, request.size);
    Ok(Page {
        more: page.more,
        items: page.items.into_iter().map(|row| row.person).collect(),
    })
}
