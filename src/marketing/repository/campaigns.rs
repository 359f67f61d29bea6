//! Campaigns.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    db::GetCommitted as _,
    domain::Actor,
    rpc::{Error, Page, PageRequest},
};

/// A campaign.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct StoredCampaign {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::marketing) campaign_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) name: String,
    #[diesel(sql_type = Text)]
    #[diesel(column_name = "type")]
    pub(in crate::marketing) kind: String,
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) status: String,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(in crate::marketing) target_count: Option<i32>,
    #[diesel(sql_type = Integer)]
    pub(in crate::marketing) sent_count: i32,
    #[diesel(sql_type = Integer)]
    pub(in crate::marketing) response_count: i32,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::marketing) created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::marketing) started_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::marketing) ended_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) etag: String,
}

/// The columns of [`StoredCampaign`], of the row that `row` names, with its `etag`.
fn columns(row: &str, etag: &str) -> String {
    const COLUMNS: &str = "{c}.campaign_id, {c}.name, {c}.type, {c}.status, {c}.target_count, {c}.sent_count, \
        {c}.response_count, {c}.created_at, {c}.started_at, {c}.ended_at, {etag} AS etag";
    COLUMNS.replace("{c}", row).replace("{etag}", etag)
}

/// What a function did to a campaign.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct CampaignOutcome {
    /// What was done, or why nothing was.
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) outcome: String,
    /// As it is now.
    #[diesel(embed)]
    pub(in crate::marketing) campaign: StoredCampaign,
}

/// A campaign to make.
#[derive(Debug)]
pub(in crate::marketing) struct NewCampaign {
    pub(in crate::marketing) campaign_id: Uuid,
    pub(in crate::marketing) name: String,
    pub(in crate::marketing) kind: &'static str,
    pub(in crate::marketing) target_count: Option<i32>,
}

/// Makes a campaign, or finds the one that has its id.
pub(in crate::marketing) async fn create(
    connection: &mut AsyncPgConnection,
    campaign: &NewCampaign,
    actor: &Actor,
) -> Result<CampaignOutcome, Error> {
    let statement = format!(
        "SELECT m.outcome, {} FROM marketing.f_create_campaign($1, $2, $3, $4, $5) AS m",
        columns("(m.campaign)", "m.etag")
    );
    Ok(sql_query(statement)
        .bind::<SqlUuid, _>(campaign.campaign_id)
        .bind::<Text, _>(&campaign.name)
        .bind::<Text, _>(campaign.kind)
        .bind::<Nullable<Integer>, _>(campaign.target_count)
        .bind::<Text, _>(actor.as_str())
        .get_committed(connection)
        .await?)
}

/// One campaign.
pub(in crate::marketing) async fn get(
    connection: &mut AsyncPgConnection,
    campaign_id: Uuid,
) -> Result<Option<StoredCampaign>, Error> {
    let statement = format!(
        "SELECT {} FROM marketing.campaigns AS c WHERE c.campaign_id = $1",
        columns("c", "marketing.f_campaign_etag(c)")
    );
    let campaigns: Vec<StoredCampaign> = sql_query(statement)
        .bind::<SqlUuid, _>(campaign_id)
        .get_results(connection)
        .await?;
    Ok(campaigns.into_iter().next())
}

/// New values of columns, numbers as their texts; `None` clears.
pub(in crate::marketing) type Changes = BTreeMap<&'static str, Option<String>>;

/// Changes a campaign that the caller read; `None` where there is none.
pub(in crate::marketing) async fn update(
    connection: &mut AsyncPgConnection,
    campaign_id: Uuid,
    etag: &str,
    changes: &Changes,
    actor: &Actor,
) -> Result<Option<CampaignOutcome>, Error> {
    let statement = format!(
        "SELECT m.outcome, {} FROM marketing.f_update_campaign($1, $2, $3::jsonb, $4) AS m",
        columns("(m.campaign)", "m.etag")
    );
    let rows: Vec<CampaignOutcome> = sql_query(statement)
        .bind::<SqlUuid, _>(campaign_id)
        .bind::<Text, _>(etag)
        .bind::<Text, _>(serde_json::to_string(changes).map_err(Error::internal)?)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Moves a campaign from one of some states to another; `None` where there is none.
pub(in crate::marketing) async fn change_state(
    connection: &mut AsyncPgConnection,
    campaign_id: Uuid,
    from: &[&str],
    to: &str,
    actor: &Actor,
) -> Result<Option<CampaignOutcome>, Error> {
    let statement = format!(
        "SELECT m.outcome, {} FROM marketing.f_move_campaign($1, $2, $3, $4) AS m",
        columns("(m.campaign)", "m.etag")
    );
    let rows: Vec<CampaignOutcome> = sql_query(statement)
        .bind::<SqlUuid, _>(campaign_id)
        .bind::<Array<Text>, _>(from)
        .bind::<Text, _>(to)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Which campaigns.
#[derive(Debug)]
pub(in crate::marketing) struct CampaignFilter {
    pub(in crate::marketing) status: Option<&'static str>,
    pub(in crate::marketing) kind: Option<&'static str>,
    pub(in crate::marketing) name_prefix: Option<String>,
    pub(in crate::marketing) created_from: Option<DateTime<Utc>>,
    pub(in crate::marketing) created_before: Option<DateTime<Utc>>,
    pub(in crate::marketing) newest_first: bool,
}

/// Where a page ended.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::marketing) struct PageKey {
    time: DateTime<Utc>,
    id: Uuid,
}

impl PageKey {
    /// The key of a record in the order of a time of it.
    pub(in crate::marketing) fn new(time: DateTime<Utc>, id: Uuid) -> Self {
        Self { time, id }
    }

    /// The time of a page's start, and the id.
    pub(in crate::marketing) fn parts(&self) -> (DateTime<Utc>, Uuid) {
        (self.time, self.id)
    }
}

/// A campaign of a page.
#[derive(Debug, QueryableByName)]
struct Listed {
    #[diesel(embed)]
    campaign: StoredCampaign,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// The pattern of a prefix is made here, since the database's idea of lower case is the one that its index has.
const LIST: &str = "
    WITH page AS MATERIALIZED (
        SELECT c.*
        FROM marketing.campaigns AS c
        WHERE ($1 IS NULL OR c.status = $1)
          AND ($2 IS NULL OR c.type = $2)
          AND ($3 IS NULL OR lower(c.name) LIKE regexp_replace(lower($3), '([\\\\%_])', '\\\\\\1', 'g') || '%')
          AND ($4 IS NULL OR c.created_at >= $4)
          AND ($5 IS NULL OR c.created_at < $5)
          AND ($7 IS NULL OR (c.created_at, c.campaign_id) {after} ($6, $7))
        ORDER BY c.created_at {direction}, c.campaign_id {direction}
        LIMIT $8
    ), measured AS (
        SELECT campaign_id, row_number() OVER in_order AS nth, count(*) OVER () AS found,
               sum(200 + octet_length(name)) OVER in_order AS bytes
        FROM page
        WINDOW in_order AS (ORDER BY created_at {direction}, campaign_id {direction})
    )
    SELECT {columns}, m.found
    FROM measured AS m
    JOIN page AS p USING (campaign_id)
    CROSS JOIN LATERAL (SELECT ROW(p.*)::marketing.campaigns AS c) AS r
    WHERE m.nth = 1 OR m.bytes <= $9
    ORDER BY m.nth";

/// A page of campaigns that ends at its size or at the request's bytes.
pub(in crate::marketing) async fn list(
    connection: &mut AsyncPgConnection,
    filter: &CampaignFilter,
    request: &PageRequest<PageKey>,
) -> Result<Page<StoredCampaign>, Error> {
    let (after, direction) = if filter.newest_first {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let statement = LIST
        .replace("{after}", after)
        .replace("{direction}", direction)
        .replace(
            "{columns}",
            &columns("(r.c)", "marketing.f_campaign_etag(r.c)"),
        );
    let last = request.after.as_ref().map(PageKey::parts);
    let rows: Vec<Listed> = sql_query(statement)
        .bind::<Nullable<Text>, _>(filter.status)
        .bind::<Nullable<Text>, _>(filter.kind)
        .bind::<Nullable<Text>, _>(filter.name_prefix.as_deref())
        .bind::<Nullable<Timestamptz>, _>(filter.created_from)
        .bind::<Nullable<Timestamptz>, _>(filter.created_before)
        .bind::<Nullable<Timestamptz>, _>(last.map(|(time, _)| time))
        .bind::<Nullable<SqlUuid>, _>(last.map(|(_, id)| id))
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    let page = Page::cut(rows, |row| row.found, request.size);
    Ok(Page {
        more: page.more,
        items: page.items.into_iter().map(|row| row.campaign).collect(),
    })
}
