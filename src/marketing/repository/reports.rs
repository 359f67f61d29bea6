//! What campaigns and sources came to, and the funnel: read from the views of `bit`.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::Decimal,
    rpc::{Error, Page, PageRequest},
};

/// What a campaign came to. Numbers that are no counts are decimal texts.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct Performance {
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
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) sent_count: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) opened_count: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) response_count: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) bounced_count: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) conversion_count: i64,
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) conversion_value: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) open_rate: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) response_rate: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) bounce_rate: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::marketing) created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::marketing) started_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::marketing) ended_at: Option<DateTime<Utc>>,
}

/// The columns of [`Performance`], of the row `p`.
const COLUMNS: &str = "
    p.campaign_id, p.name, p.type, p.status, p.target_count, p.sent_count::bigint AS sent_count, p.opened_count,
    p.response_count::bigint AS response_count, p.bounced_count, p.conversion_count,
    p.conversion_value::text AS conversion_value, p.open_rate::text AS open_rate,
    p.response_rate::text AS response_rate, p.bounce_rate::text AS bounce_rate, p.created_at, p.started_at,
    p.ended_at";

/// What one campaign came to.
pub(in crate::marketing) async fn performance(
    connection: &mut AsyncPgConnection,
    campaign_id: Uuid,
) -> Result<Option<Performance>, Error> {
    let statement =
        format!("SELECT {COLUMNS} FROM bit.campaign_performance AS p WHERE p.campaign_id = $1");
    let found: Vec<Performance> = sql_query(statement)
        .bind::<SqlUuid, _>(campaign_id)
        .get_results(connection)
        .await?;
    Ok(found.into_iter().next())
}

/// Which campaigns, and in which order.
#[derive(Debug)]
pub(in crate::marketing) struct PerformanceQuery {
    pub(in crate::marketing) status: Option<&'static str>,
    pub(in crate::marketing) kind: Option<&'static str>,
    pub(in crate::marketing) order: PerformanceOrder,
}

/// The order of a list; campaigns that are equal in it come by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::marketing) enum PerformanceOrder {
    /// By creation, oldest first.
    Oldest,
    /// By creation, newest first.
    Newest,
    /// By response rate, highest first; campaigns without one come last.
    HighestRate,
}

impl PerformanceOrder {
    /// What campaigns `c` are sorted by, the sign before what follows, and the direction.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        // The negative of the rate as the view has it, so that rate and id rise together; none is above all.
        const RATE: &str =
            "-coalesce(round(100.0 * c.response_count / nullif(c.sent_count, 0), 2), -1)";
        match self {
            Self::Oldest => ("c.created_at", ">", "ASC"),
            Self::Newest => ("c.created_at", "<", "DESC"),
            Self::HighestRate => (RATE, ">", "ASC"),
        }
    }
}

/// Where a page ended.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::marketing) struct PerformanceKey {
    time: DateTime<Utc>,
    rate: Option<String>,
    id: Uuid,
}

impl PerformanceKey {
    /// The key of a campaign.
    pub(in crate::marketing) fn of(performance: &Performance) -> Self {
        Self {
            time: performance.created_at,
            rate: performance.response_rate.clone(),
            id: performance.campaign_id,
        }
    }

    /// The rate as a number that can be negated.
    fn rate(&self) -> Result<String, Error> {
        let rate = self.rate.as_deref().unwrap_or("-1");
        let rate = Decimal::parse(rate).map_err(|_| Error::InvalidPageToken("holds no rate"))?;
        Ok(rate.to_string())
    }
}

/// A campaign of a page.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct ListedPerformance {
    #[diesel(embed)]
    pub(in crate::marketing) performance: Performance,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// First the page, from the campaigns alone: only of what is on it are the messages counted. OFFSET keeps the
/// planner from counting those of all and joining then.
const LIST: &str = "
    WITH page AS MATERIALIZED (
        SELECT c.campaign_id, octet_length(c.name) AS bytes, {sort} AS sort
        FROM marketing.campaigns AS c
        WHERE ($1 IS NULL OR c.status = $1)
          AND ($2 IS NULL OR c.type = $2)
          AND ($4 IS NULL OR ({sort}, c.campaign_id) {after} ({start}, $4))
        ORDER BY {sort} {direction}, c.campaign_id {direction}
        LIMIT $5
    ), measured AS (
        SELECT campaign_id, row_number() OVER in_order AS nth, count(*) OVER () AS found,
               sum(bytes + 300) OVER in_order AS bytes
        FROM page
        WINDOW in_order AS (ORDER BY sort {direction}, campaign_id {direction})
    )
    SELECT {columns}, m.found
    FROM measured AS m
    CROSS JOIN LATERAL (
        SELECT * FROM bit.campaign_performance AS v WHERE v.campaign_id = m.campaign_id OFFSET 0) AS p
    WHERE m.nth = 1 OR m.bytes <= $6
    ORDER BY m.nth";

/// A page of campaigns that ends at its size or at the request's bytes.
pub(in crate::marketing) async fn performances(
    connection: &mut AsyncPgConnection,
    query: &PerformanceQuery,
    request: &PageRequest<PerformanceKey>,
) -> Result<Page<ListedPerformance>, Error> {
    let by_rate = query.order == PerformanceOrder::HighestRate;
    let (sort, after, direction) = query.order.parts();
    let statement = LIST
        .replace("{sort}", sort)
        .replace("{after}", after)
        .replace("{direction}", direction)
        .replace("{start}", if by_rate { "-$3::numeric" } else { "$3" })
        .replace("{columns}", COLUMNS);
    let last = request.after.as_ref();
    let statement = sql_query(statement)
        .into_boxed()
        .bind::<Nullable<Text>, _>(query.status)
        .bind::<Nullable<Text>, _>(query.kind);
    let statement = if by_rate {
        let rate = last.map(PerformanceKey::rate).transpose()?;
        statement.bind::<Nullable<Text>, _>(rate)
    } else {
        statement.bind::<Nullable<Timestamptz>, _>(last.map(|last| last.time))
    };
    let rows: Vec<ListedPerformance> = statement
        .bind::<Nullable<SqlUuid>, _>(last.map(|last| last.id))
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(rows, |row| row.found, request.size))
}

/// A stage of the funnel.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct Stage {
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) stage: String,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) count: i64,
}

/// The stages, in order.
pub(in crate::marketing) async fn funnel(
    connection: &mut AsyncPgConnection,
) -> Result<Vec<Stage>, Error> {
    let statement = sql_query("SELECT stage, count FROM bit.lead_funnel");
    Ok(statement.get_results(connection).await?)
}

/// What came of the rows of a source.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct SourceQuality {
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) source: String,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) received: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) accepted: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) duplicate: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) rejected: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) promoted: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) bounced: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) replied: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) converted: i64,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

const SOURCES: &str = "
    WITH page AS MATERIALIZED (
        SELECT * FROM bit.source_quality AS s WHERE $1 IS NULL OR s.source > $1 ORDER BY s.source LIMIT $2
    ), measured AS (
        SELECT *, row_number() OVER in_order AS nth, count(*) OVER () AS found,
               sum(octet_length(source) + 100) OVER in_order AS bytes
        FROM page
        WINDOW in_order AS (ORDER BY source)
    )
    SELECT * FROM measured WHERE nth = 1 OR bytes <= $3 ORDER BY nth";

/// A page of sources that ends at its size or at the request's bytes.
pub(in crate::marketing) async fn sources(
    connection: &mut AsyncPgConnection,
    request: &PageRequest<String>,
) -> Result<Page<SourceQuality>, Error> {
    let sources: Vec<SourceQuality> = sql_query(SOURCES)
        .bind::<Nullable<Text>, _>(request.after.as_deref())
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(sources, |row| row.found, request.size))
}
