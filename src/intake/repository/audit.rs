//! The audit trail.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::Order;
use crate::rpc::{Error, Page, PageRequest};

/// A row of the audit trail.
#[derive(Debug, QueryableByName)]
pub(in crate::intake) struct AuditEntry {
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) log_id: i64,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) action: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::intake) load_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::intake) contact_id: Option<i64>,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) details: String,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::intake) timestamp: DateTime<Utc>,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// Which entries.
#[derive(Debug)]
pub(in crate::intake) struct AuditFilter {
    pub(in crate::intake) action: Option<String>,
    pub(in crate::intake) load_id: Option<i64>,
    pub(in crate::intake) contact_id: Option<i64>,
    pub(in crate::intake) from: Option<DateTime<Utc>>,
    pub(in crate::intake) before: Option<DateTime<Utc>>,
    pub(in crate::intake) order: Order,
}

const LIST: &str = r#"
    WITH page AS MATERIALIZED (
        SELECT log_id, action, load_id, contact_id, details::text AS details, "timestamp"
        FROM intake.audit_log
        WHERE ($1 IS NULL OR log_id {after} $1)
          AND ($2 IS NULL OR action = $2)
          AND ($3 IS NULL OR load_id = $3)
          AND ($4 IS NULL OR contact_id = $4)
          AND ($5 IS NULL OR "timestamp" >= $5)
          AND ($6 IS NULL OR "timestamp" < $6)
        ORDER BY log_id {direction}
        LIMIT $7
    ), measured AS (
        SELECT *, row_number() OVER in_order AS nth, sum(octet_length(details)) OVER in_order AS bytes,
               count(*) OVER () AS found
        FROM page
        WINDOW in_order AS (ORDER BY log_id {direction})
    )
    SELECT * FROM measured WHERE nth = 1 OR bytes <= $8 ORDER BY nth"#;

/// A page of the audit trail that ends at its size or at the request's bytes.
pub(in crate::intake) async fn list_audit_log(
    connection: &mut AsyncPgConnection,
    filter: &AuditFilter,
    request: &PageRequest<i64>,
) -> Result<Page<AuditEntry>, Error> {
    let entries: Vec<AuditEntry> = sql_query(filter.order.fill(LIST))
        .bind::<Nullable<BigInt>, _>(request.after)
        .bind::<Nullable<Text>, _>(filter.action.as_deref())
        .bind::<Nullable<BigInt>, _>(filter.load_id)
        .bind::<Nullable<BigInt>, _>(filter.contact_id)
        .bind::<Nullable<Timestamptz>, _>(filter.from)
        .bind::<Nullable<Timestamptz>, _>(filter.before)
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(entries, |entry| entry.found, request.size))
}
