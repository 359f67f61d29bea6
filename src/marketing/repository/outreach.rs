//! Messages: the gate, and their list.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{campaigns::PageKey, listing::Reading};
use crate::rpc::{Error, Page, PageRequest};

/// A message that somebody is about to send.
#[derive(Clone, Debug)]
pub(in crate::marketing) struct NewOutreach {
    pub(in crate::marketing) id: Uuid,
    pub(in crate::marketing) person_id: Uuid,
    pub(in crate::marketing) campaign_id: Option<Uuid>,
    pub(in crate::marketing) channel: &'static str,
    pub(in crate::marketing) message_type: &'static str,
}

/// What the gate says of a message.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct Gated {
    /// `recorded`, or why it is refused.
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) result: String,
    /// Whether it was recorded before.
    #[diesel(sql_type = Bool)]
    pub(in crate::marketing) replayed: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::marketing) sent_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) campaign_status: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::marketing) suppression_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) email: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) scope: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) evidence: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) created_by: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::marketing) created_at: Option<DateTime<Utc>>,
}

const RECORD: &str = "
    SELECT g.result, g.replayed, g.sent_at, g.campaign_status,
           (g.suppression).suppression_id, (g.suppression).email, (g.suppression).scope, (g.suppression).reason,
           (g.suppression).evidence, (g.suppression).created_by, (g.suppression).created_at
    FROM marketing.f_record_outreach($1, $2, $3, $4, $5) AS g";

/// Asks the gate about messages and records those that may go out; one answer each, in order.
pub(in crate::marketing) async fn record(
    connection: &mut AsyncPgConnection,
    messages: &[NewOutreach],
) -> Result<Vec<Gated>, Error> {
    let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
    let people: Vec<Uuid> = messages.iter().map(|message| message.person_id).collect();
    let campaigns: Vec<Option<Uuid>> = messages.iter().map(|message| message.campaign_id).collect();
    let channels: Vec<&str> = messages.iter().map(|message| message.channel).collect();
    let types: Vec<&str> = messages
        .iter()
        .map(|message| message.message_type)
        .collect();
    let gated: Vec<Gated> = sql_query(RECORD)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<SqlUuid>, _>(people)
        .bind::<Array<Nullable<SqlUuid>>, _>(campaigns)
        .bind::<Array<Text>, _>(channels)
        .bind::<Array<Text>, _>(types)
        .get_results(connection)
        .await?;
    if gated.len() != messages.len() {
        return Err(Error::internal("f_record_outreach: an outcome is missing"));
    }
    Ok(gated)
}

/// A message.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct StoredOutreach {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::marketing) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::marketing) person_id: Uuid,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::marketing) campaign_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) channel: String,
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) message_type: String,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::marketing) sent_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::marketing) opened_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::marketing) replied_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) status: String,
    /// How many rows the statement found before it cut the page.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// Which messages.
#[derive(Debug)]
pub(in crate::marketing) struct OutreachFilter {
    pub(in crate::marketing) person_id: Option<Uuid>,
    pub(in crate::marketing) campaign_id: Option<Uuid>,
    pub(in crate::marketing) channel: Option<&'static str>,
    pub(in crate::marketing) status: Option<&'static str>,
    pub(in crate::marketing) sent_from: Option<DateTime<Utc>>,
    pub(in crate::marketing) sent_before: Option<DateTime<Utc>>,
    pub(in crate::marketing) newest_first: bool,
}

/// A message has some 200 bytes on the wire, so that no page of a thousand comes near the limit of bytes.
const LIST: &str = "
    SELECT p.*, count(*) OVER () AS found
    FROM (
        SELECT o.*
        FROM marketing.outreach_history AS o
        WHERE ($1 IS NULL OR o.person_id {is} $1)
          AND ($2 IS NULL OR o.campaign_id {is} $2)
          AND ($3 IS NULL OR o.channel {is} $3)
          AND ($4 IS NULL OR o.status {is} $4)
          AND ({skip_from}$5 IS NULL OR ({prefix}o.sent_at) >= ({value}$5))
          AND ({skip_before}$6 IS NULL OR ({prefix}o.sent_at) < ({value}$6))
          AND ($8 IS NULL OR ({prefix}o.sent_at, o.id) {after} ({value}$7, $8))
          AND {indexed}
        ORDER BY {first}o.sent_at {direction}, o.id {direction}
        LIMIT $9) AS p
    ORDER BY p.sent_at {direction}, p.id {direction}";

/// Most messages are email, and nothing was heard of most: these have no index of their own but are found along the
/// time, and the indexes of the others must be told that it is not they who are asked for.
fn list_statement(filter: &OutreachFilter, goes_on: bool) -> String {
    let (leading, indexed) = match filter {
        _ if filter.person_id.is_some() => (Some(("o.person_id", "$1")), "true"),
        _ if filter.campaign_id.is_some() => (Some(("o.campaign_id", "$2")), "true"),
        _ if filter.channel.is_some_and(|channel| channel != "email") => {
            (Some(("o.channel", "$3")), "o.channel <> 'email'")
        }
        _ if filter.status.is_some_and(|status| status != "sent") => {
            (Some(("o.status", "$4")), "o.status <> 'sent'")
        }
        _ => (None, "true"),
    };
    let reading = Reading {
        leading,
        newest_first: filter.newest_first,
        goes_on,
    };
    reading.statement(LIST).replace("{indexed}", indexed)
}

/// A page of messages.
pub(in crate::marketing) async fn list(
    connection: &mut AsyncPgConnection,
    filter: &OutreachFilter,
    request: &PageRequest<PageKey>,
) -> Result<Page<StoredOutreach>, Error> {
    let last = request.after.as_ref().map(PageKey::parts);
    let rows: Vec<StoredOutreach> = sql_query(list_statement(filter, last.is_some()))
        .bind::<Nullable<SqlUuid>, _>(filter.person_id)
        .bind::<Nullable<SqlUuid>, _>(filter.campaign_id)
        .bind::<Nullable<Text>, _>(filter.channel)
        .bind::<Nullable<Text>, _>(filter.status)
        .bind::<Nullable<Timestamptz>, _>(filter.sent_from)
        .bind::<Nullable<Timestamptz>, _>(filter.sent_before)
        .bind::<Nullable<Timestamptz>, _>(last.map(|(time, _)| time))
        .bind::<Nullable<SqlUuid>, _>(last.map(|(_, id)| id))
        .bind::<BigInt, _>(request.size + 1)
        .get_results(connection)
        .await?;
    Ok(Page::cut(rows, |row| row.found, request.size))
}
