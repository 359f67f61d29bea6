//! Feedback reports: computed from the ledgers, kept, listed.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Bool, Date, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::rpc::{Error, Page, PageRequest};

/// A report of a campaign and a day.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct FeedbackReport {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::marketing) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::marketing) campaign_id: Uuid,
    #[diesel(sql_type = Date)]
    pub(in crate::marketing) report_date: NaiveDate,
    /// The JSON text of an object.
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) metrics: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) insights: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::marketing) created_at: DateTime<Utc>,
}

/// What a report needs to be made.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct Ground {
    /// The day that it is by the clock that dates messages.
    #[diesel(sql_type = Date)]
    pub(in crate::marketing) today: NaiveDate,
    /// Whether there is such a campaign.
    #[diesel(sql_type = Bool)]
    pub(in crate::marketing) is_known: bool,
}

/// What day it is, and whether there is such a campaign.
pub(in crate::marketing) async fn ground(
    connection: &mut AsyncPgConnection,
    campaign_id: Uuid,
) -> Result<Ground, Error> {
    let statement = sql_query(
        "SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today,
                EXISTS (SELECT FROM marketing.campaigns WHERE campaign_id = $1) AS is_known",
    );
    Ok(statement
        .bind::<SqlUuid, _>(campaign_id)
        .get_result(connection)
        .await?)
}

/// All from one snapshot. What happened to a message counts by its own time, and a time only moves to an earlier
/// one: so nothing that happens on a later day changes a day that is over. A provider's clock may be off: what
/// happened to a message before it was sent counts with the message. What changes nothing writes nothing.
const COMPUTE: &str = "
    WITH day AS (
        SELECT ($2 + 1)::timestamp AT TIME ZONE 'UTC' AS ended_at
    ), messages AS (
        SELECT count(*) AS sent, count(*) FILTER (WHERE o.opened_at < d.ended_at) AS opened,
               count(*) FILTER (WHERE o.replied_at < d.ended_at) AS replied,
               count(*) FILTER (WHERE o.bounced_at < d.ended_at) AS bounced
        FROM day AS d
        CROSS JOIN bit.message_outcomes AS o
        WHERE o.campaign_id = $1 AND o.sent_at < d.ended_at
    ), conversions AS (
        SELECT count(*) AS count, coalesce(sum(a.value), 0) AS value
        FROM day AS d
        CROSS JOIN marketing.attribution AS a
        WHERE a.campaign_id = $1 AND a.converted_at < d.ended_at
    )
    INSERT INTO marketing.feedback_reports AS r (campaign_id, report_date, metrics, insights)
    SELECT $1, $2, jsonb_build_object(
               'sent_count', m.sent, 'opened_count', m.opened, 'response_count', m.replied,
               'bounced_count', m.bounced, 'conversion_count', v.count, 'conversion_value', v.value,
               'open_rate', round(100.0 * m.opened / nullif(m.sent, 0), 2),
               'response_rate', round(100.0 * m.replied / nullif(m.sent, 0), 2),
               'bounce_rate', round(100.0 * m.bounced / nullif(m.sent, 0), 2)),
           $3
    FROM messages AS m
    CROSS JOIN conversions AS v
    ON CONFLICT ON CONSTRAINT feedback_reports_campaign_id_report_date_key DO UPDATE
    SET metrics = excluded.metrics, insights = coalesce(excluded.insights, r.insights)
    WHERE (r.metrics, r.insights)
          IS DISTINCT FROM (excluded.metrics, coalesce(excluded.insights, r.insights))";

/// Two who compute one report at once take turns, so that the one kept is the one that saw more.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('marketing.feedback_reports/' || $1 || '/' || $2, 0))";

const READ: &str = "
    SELECT id, campaign_id, report_date, metrics::text AS metrics, insights, created_at
    FROM marketing.feedback_reports
    WHERE campaign_id = $1 AND report_date = $2";

/// Computes a report and keeps it, in the caller's transaction; insights that are left out stay as they are.
pub(in crate::marketing) async fn compute(
    connection: &mut AsyncPgConnection,
    campaign_id: Uuid,
    report_date: NaiveDate,
    insights: Option<&str>,
) -> Result<FeedbackReport, Error> {
    sql_query(LOCK)
        .bind::<SqlUuid, _>(campaign_id)
        .bind::<Date, _>(report_date)
        .execute(connection)
        .await?;
    sql_query(COMPUTE)
        .bind::<SqlUuid, _>(campaign_id)
        .bind::<Date, _>(report_date)
        .bind::<Nullable<Text>, _>(insights)
        .execute(connection)
        .await?;
    // Read back: of a report that stays as it is the statement above returns nothing.
    Ok(sql_query(READ)
        .bind::<SqlUuid, _>(campaign_id)
        .bind::<Date, _>(report_date)
        .get_result(connection)
        .await?)
}

/// Which reports.
#[derive(Debug)]
pub(in crate::marketing) struct FeedbackFilter {
    pub(in crate::marketing) campaign_id: Option<Uuid>,
    pub(in crate::marketing) date_from: Option<NaiveDate>,
    pub(in crate::marketing) date_to: Option<NaiveDate>,
    pub(in crate::marketing) newest_first: bool,
}

/// Where a page ended.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::marketing) struct FeedbackKey {
    date: NaiveDate,
    id: Uuid,
}

impl FeedbackKey {
    /// The key of a report.
    pub(in crate::marketing) fn of(report: &FeedbackReport) -> Self {
        Self {
            date: report.report_date,
            id: report.id,
        }
    }
}

/// A report of a page.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct ListedFeedback {
    #[diesel(embed)]
    pub(in crate::marketing) report: FeedbackReport,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

const LIST: &str = "
    WITH page AS MATERIALIZED (
        SELECT r.id, r.campaign_id, r.report_date, r.metrics::text AS metrics, r.insights, r.created_at
        FROM marketing.feedback_reports AS r
        WHERE ($1 IS NULL OR r.campaign_id = $1)
          AND ($2 IS NULL OR r.report_date >= $2)
          AND ($3 IS NULL OR r.report_date <= $3)
          AND ($5 IS NULL OR (r.report_date, r.id) {after} ($4, $5))
        ORDER BY r.report_date {direction}, r.id {direction}
        LIMIT $6
    ), measured AS (
        SELECT *, row_number() OVER in_order AS nth, count(*) OVER () AS found,
               sum(200 + octet_length(metrics) + coalesce(octet_length(insights), 0)) OVER in_order AS bytes
        FROM page
        WINDOW in_order AS (ORDER BY report_date {direction}, id {direction})
    )
    SELECT * FROM measured WHERE nth = 1 OR bytes <= $7 ORDER BY nth";

/// A page of reports that ends at its size or at the request's bytes.
pub(in crate::marketing) async fn list(
    connection: &mut AsyncPgConnection,
    filter: &FeedbackFilter,
    request: &PageRequest<FeedbackKey>,
) -> Result<Page<ListedFeedback>, Error> {
    let (after, direction) = if filter.newest_first {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let statement = LIST
        .replace("{after}", after)
        .replace("{direction}", direction);
    let last = request.after.as_ref();
    let rows: Vec<ListedFeedback> = sql_query(statement)
        .bind::<Nullable<SqlUuid>, _>(filter.campaign_id)
        .bind::<Nullable<Date>, _>(filter.date_from)
        .bind::<Nullable<Date>, _>(filter.date_to)
        .bind::<Nullable<Date>, _>(last.map(|last| last.date))
        .bind::<Nullable<SqlUuid>, _>(last.map(|last| last.id))
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(rows, |row| row.found, request.size))
}
