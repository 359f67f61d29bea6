//! The ledger of suppressions.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, QueryableByName, sql_query,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::{
    domain::{Actor, Email},
    rpc::{Error, Page, PageRequest},
};

/// An entry of the ledger.
#[derive(Debug, QueryableByName)]
pub(in crate::vault) struct Suppression {
    #[diesel(sql_type = BigInt)]
    pub(in crate::vault) suppression_id: i64,
    #[diesel(sql_type = Text)]
    pub(in crate::vault) email: String,
    #[diesel(sql_type = Text)]
    pub(in crate::vault) scope: String,
    #[diesel(sql_type = Text)]
    pub(in crate::vault) reason: String,
    #[diesel(sql_type = Text)]
    pub(in crate::vault) evidence: String,
    #[diesel(sql_type = Text)]
    pub(in crate::vault) created_by: String,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::vault) created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::vault) lifted_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::vault) lifted_by: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::vault) lift_evidence: Option<String>,
}

/// Entries to make, column by column.
#[derive(Debug, Default)]
pub(in crate::vault) struct NewEntries {
    emails: Vec<String>,
    scopes: Vec<&'static str>,
    reasons: Vec<&'static str>,
    evidences: Vec<String>,
}

impl NewEntries {
    pub(in crate::vault) fn push(
        &mut self,
        email: &Email,
        scope: &'static str,
        reason: &'static str,
        evidence: &str,
    ) {
        self.emails.push(email.as_str().to_owned());
        self.scopes.push(scope);
        self.reasons.push(reason);
        self.evidences.push(evidence.to_owned());
    }
}

/// The entry that is in force for one that was to be made.
#[derive(Debug, QueryableByName)]
pub(in crate::vault) struct Entered {
    #[diesel(sql_type = BigInt)]
    pub(in crate::vault) suppression_id: i64,
    /// Whether it was made just now.
    #[diesel(sql_type = Bool)]
    pub(in crate::vault) added: bool,
}

/// Enters suppressions; one answer each, in order. Without any it stays away from the ledger, whose lock would
/// make every promotion and send wait.
pub(in crate::vault) async fn suppress(
    connection: &mut AsyncPgConnection,
    entries: &NewEntries,
    actor: &Actor,
) -> Result<Vec<Entered>, Error> {
    if entries.emails.is_empty() {
        return Ok(Vec::new());
    }
    Ok(
        sql_query("SELECT * FROM vault.f_suppress($1, $2, $3, $4, $5)")
            .bind::<Array<Text>, _>(&entries.emails)
            .bind::<Array<Text>, _>(&entries.scopes)
            .bind::<Array<Text>, _>(&entries.reasons)
            .bind::<Array<Text>, _>(&entries.evidences)
            .bind::<Text, _>(actor.as_str())
            .get_results(connection)
            .await?,
    )
}

/// Lifts the entries of an address and scope that are in force, and returns them.
pub(in crate::vault) async fn unsuppress(
    connection: &mut AsyncPgConnection,
    email: &Email,
    scope: &'static str,
    evidence: &str,
    actor: &Actor,
) -> Result<Vec<Suppression>, Error> {
    Ok(
        sql_query("SELECT * FROM vault.f_unsuppress($1, $2, $3, $4)")
            .bind::<Text, _>(email.as_str())
            .bind::<Text, _>(scope)
            .bind::<Text, _>(evidence)
            .bind::<Text, _>(actor.as_str())
            .get_results(connection)
            .await?,
    )
}

#[derive(QueryableByName)]
struct StatusRow {
    #[diesel(sql_type = Text)]
    status: String,
}

/// The status of an address's contact.
pub(in crate::vault) async fn contact_status(
    connection: &mut AsyncPgConnection,
    email: &Email,
) -> Result<Option<String>, Error> {
    let row: Option<StatusRow> = sql_query("SELECT status FROM vault.contacts WHERE email = $1")
        .bind::<Text, _>(email.as_str())
        .get_result(connection)
        .await
        .optional()?;
    Ok(row.map(|row| row.status))
}

/// Which entries.
#[derive(Debug)]
pub(in crate::vault) struct SuppressionFilter {
    pub(in crate::vault) email: Option<Email>,
    pub(in crate::vault) scope: Option<&'static str>,
    pub(in crate::vault) reason: Option<&'static str>,
    pub(in crate::vault) with_lifted: bool,
}

/// A row of a page.
#[derive(QueryableByName)]
struct Listed {
    #[diesel(embed)]
    suppression: Suppression,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

const LIST: &str = "
    WITH page AS MATERIALIZED (
        SELECT s.*
        FROM vault.suppressions AS s
        WHERE ($1 IS NULL OR ({prefix}s.suppression_id) > ({start}$1))
          AND ($2 IS NULL OR s.email = $2)
          AND ($3 IS NULL OR s.scope = $3)
          AND ($4 IS NULL OR s.reason = $4)
          AND ($5 OR s.lifted_at IS NULL)
        ORDER BY {prefix}s.suppression_id
        LIMIT $6
    ), measured AS (
        SELECT *, row_number() OVER in_order AS nth, count(*) OVER () AS found,
               sum(octet_length(email) + octet_length(evidence) + octet_length(created_by)
                   + coalesce(octet_length(lifted_by), 0) + coalesce(octet_length(lift_evidence), 0))
                   OVER in_order AS bytes
        FROM page
        WINDOW in_order AS (ORDER BY suppression_id)
    )
    SELECT * FROM measured WHERE nth = 1 OR bytes <= $7 ORDER BY nth";

/// The statement of a list. Of the entries in force those with one reason, or one scope, are read from the index
/// that begins with it: with `=` the planner counts on them being spread evenly and may walk the primary key, but
/// they come in pieces (an import of complaints), and the whole ledger may lie before the first.
fn list_statement(filter: &SuppressionFilter) -> String {
    let first = match filter {
        _ if filter.with_lifted || filter.email.is_some() => None,
        _ if filter.reason.is_some() => Some(("s.reason", "$4")),
        _ if filter.scope.is_some() => Some(("s.scope", "$3")),
        _ => None,
    };
    let Some((column, value)) = first else {
        return LIST.replace("{prefix}", "").replace("{start}", "");
    };
    LIST.replace("{prefix}", &format!("{column}, "))
        .replace("{start}", &format!("{value}, "))
        .replace(
            &format!("{column} = {value}"),
            &format!("{column} BETWEEN {value} AND {value}"),
        )
}

/// A page of the ledger that ends at its size or at the request's bytes.
pub(in crate::vault) async fn list(
    connection: &mut AsyncPgConnection,
    filter: &SuppressionFilter,
    request: &PageRequest<i64>,
) -> Result<Page<Suppression>, Error> {
    let rows: Vec<Listed> = sql_query(list_statement(filter))
        .bind::<Nullable<BigInt>, _>(request.after)
        .bind::<Nullable<Text>, _>(filter.email.as_ref().map(Email::as_str))
        .bind::<Nullable<Text>, _>(filter.scope)
        .bind::<Nullable<Text>, _>(filter.reason)
        .bind::<Bool, _>(filter.with_lifted)
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    let page = Page::cut(rows, |row| row.found, request.size);
    Ok(Page {
        more: page.more,
        items: page.items.into_iter().map(|row| row.suppression).collect(),
    })
}

/// What is known of an address.
#[derive(Debug)]
pub(in crate::vault) struct Standing {
    /// The strongest entry that forbids the channel.
    pub(in crate::vault) suppression: Option<Suppression>,
    /// The status of its contact.
    pub(in crate::vault) status: Option<String>,
}

#[derive(QueryableByName)]
struct StandingRow {
    #[diesel(sql_type = Nullable<Text>)]
    status: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    suppression_id: Option<i64>,
    #[diesel(sql_type = Text)]
    email: String,
    #[diesel(sql_type = Nullable<Text>)]
    scope: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    evidence: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    created_by: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    created_at: Option<DateTime<Utc>>,
}

impl From<StandingRow> for Standing {
    fn from(row: StandingRow) -> Self {
        let suppression =
            row.suppression_id
                .zip(row.created_at)
                .map(|(suppression_id, created_at)| Suppression {
                    suppression_id,
                    email: row.email,
                    scope: row.scope.unwrap_or_default(),
                    reason: row.reason.unwrap_or_default(),
                    evidence: row.evidence.unwrap_or_default(),
                    created_by: row.created_by.unwrap_or_default(),
                    created_at,
                    lifted_at: None,
                    lifted_by: None,
                    lift_evidence: None,
                });
        Self {
            suppression,
            status: row.status,
        }
    }
}

/// The strongest entry is the one that is hardest to argue with: the law before a complaint, before the
/// person's word, before ours, before a bounce; then the widest, then the oldest.
const CHECK: &str = "
    SELECT a.email, c.status, s.suppression_id, s.scope, s.reason, s.evidence, s.created_by, s.created_at
    FROM unnest($1) WITH ORDINALITY AS a (email, nth)
    LEFT JOIN vault.contacts AS c ON c.email = a.email
    LEFT JOIN LATERAL (
        SELECT * FROM vault.suppressions AS s
        WHERE s.email = a.email AND s.lifted_at IS NULL AND ($2 = 'all' OR s.scope IN ('all', $2))
        ORDER BY array_position(ARRAY['legal', 'complaint', 'unsubscribed', 'manual', 'bounced'], s.reason),
                 s.scope <> 'all', s.suppression_id
        LIMIT 1) AS s ON true
    ORDER BY a.nth";

/// What is known of addresses, in order and in one snapshot; `channel` may be `all`.
pub(in crate::vault) async fn check(
    connection: &mut AsyncPgConnection,
    emails: &[&str],
    channel: &'static str,
) -> Result<Vec<Standing>, Error> {
    let rows: Vec<StandingRow> = sql_query(CHECK)
        .bind::<Array<Text>, _>(emails)
        .bind::<Text, _>(channel)
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().map(Standing::from).collect())
}
