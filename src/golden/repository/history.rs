//! Pages of a history.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::{
    golden::Kind,
    rpc::{Error, Page, PageRequest},
};

/// A change.
#[derive(Debug, QueryableByName)]
pub(in crate::golden) struct Change {
    #[diesel(sql_type = BigInt)]
    pub(in crate::golden) history_id: i64,
    /// The JSON text of a list.
    #[diesel(sql_type = Text)]
    pub(in crate::golden) changed_fields: String,
    /// The JSON text of an object.
    #[diesel(sql_type = Text)]
    pub(in crate::golden) old_values: String,
    /// The JSON text of an object.
    #[diesel(sql_type = Text)]
    pub(in crate::golden) new_values: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::golden) changed_by: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::golden) changed_at: DateTime<Utc>,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// Which changes.
#[derive(Debug)]
pub(in crate::golden) struct ChangeFilter {
    pub(in crate::golden) id: Uuid,
    pub(in crate::golden) changed_from: Option<DateTime<Utc>>,
    pub(in crate::golden) changed_before: Option<DateTime<Utc>>,
    pub(in crate::golden) newest_first: bool,
}

const LIST: &str = "
    WITH page AS MATERIALIZED (
        SELECT h.history_id, h.changed_fields::text AS changed_fields, h.old_values::text AS old_values,
               h.new_values::text AS new_values, h.changed_by, h.changed_at
        FROM {schema}.history AS h
        WHERE h.{id} = $1
          AND ($2 IS NULL OR h.history_id {after} $2)
          AND ($3 IS NULL OR h.changed_at >= $3)
          AND ($4 IS NULL OR h.changed_at < $4)
        ORDER BY h.{id} {direction}, h.history_id {direction}
        LIMIT $5
    ), measured AS (
        SELECT *, row_number() OVER in_order AS nth, count(*) OVER () AS found,
               sum(octet_length(changed_fields) + octet_length(old_values) + octet_length(new_values) + 100)
                   OVER in_order AS bytes
        FROM page
        WINDOW in_order AS (ORDER BY history_id {direction})
    )
    SELECT * FROM measured WHERE nth = 1 OR bytes <= $6 ORDER BY nth";

/// A page of changes that ends at its size or at the request's bytes.
pub(in crate::golden) async fn list(
    connection: &mut AsyncPgConnection,
    kind: &Kind,
    filter: &ChangeFilter,
    request: &PageRequest<i64>,
) -> Result<Page<Change>, Error> {
    let (after, direction) = if filter.newest_first {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let statement = LIST
        .replace("{after}", after)
        .replace("{direction}", direction);
    let changes: Vec<Change> = sql_query(kind.fill(&statement))
        .bind::<SqlUuid, _>(filter.id)
        .bind::<Nullable<BigInt>, _>(request.after)
        .bind::<Nullable<Timestamptz>, _>(filter.changed_from)
        .bind::<Nullable<Timestamptz>, _>(filter.changed_before)
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(changes, |change| change.found, request.size))
}
