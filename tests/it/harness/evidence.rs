//! What is there: as the API tells it, and as the tables have it.

use std::collections::BTreeMap;

use leadvault::proto::{
    intake::v1::{
        Batch, GetBatchRequest, IngestRowsRequest, IngestRowsResponse, Lane, ListRawLoadsRequest,
        ListRejectedRowsRequest, LoadStatus, RawLoad, RejectedRow, Rejection, RowFate, RowOutcome,
    },
    r#type::v1::RejectionReason,
};
use tonic::Status;

use super::App;

/// Calls `IngestRows`.
pub(crate) async fn ingest(
    app: &App,
    request: IngestRowsRequest,
) -> Result<IngestRowsResponse, Status> {
    Ok(app.intake().await.ingest_rows(request).await?.into_inner())
}

/// A batch with its lanes.
pub(crate) async fn batch(app: &App, batch_id: &str) -> Batch {
    let batch_id = batch_id.to_owned();
    let request = GetBatchRequest { batch_id };
    let response = app.intake().await.get_batch(request).await.unwrap();
    response.into_inner().batch.unwrap()
}

/// A lane of a batch.
pub(crate) async fn lane(app: &App, batch_id: &str, number: i32) -> Lane {
    let lanes = batch(app, batch_id).await.lanes;
    lanes.into_iter().find(|lane| lane.lane == number).unwrap()
}

/// Every load of a batch, page by page, with a client that has gRPC's default limits.
pub(crate) async fn raw_loads(app: &App, batch_id: &str) -> Vec<RawLoad> {
    let mut client = app.intake().await;
    let mut loads = Vec::new();
    let mut request = ListRawLoadsRequest {
        batch_id: batch_id.to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    loop {
        let page = client.list_raw_loads(request.clone()).await.unwrap();
        let page = page.into_inner();
        loads.extend(page.loads);
        if page.next_page_token.is_empty() {
            return loads;
        }
        request.page_token = page.next_page_token;
    }
}

/// Every rejected row of a batch, page by page, with a client that has gRPC's default limits.
pub(crate) async fn rejected_rows(app: &App, batch_id: &str) -> Vec<RejectedRow> {
    let mut client = app.intake().await;
    let mut rows = Vec::new();
    let mut request = ListRejectedRowsRequest {
        batch_id: batch_id.to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    loop {
        let page = client.list_rejected_rows(request.clone()).await.unwrap();
        let page = page.into_inner();
        rows.extend(page.rows);
        if page.next_page_token.is_empty() {
            return rows;
        }
        request.page_token = page.next_page_token;
    }
}

/// The fates of a lane's rows in order, a letter each: `a`ccepted, `d`uplicate, `r`ejected.
pub(crate) async fn fates(app: &App, batch_id: &str, lane: i32) -> String {
    let loads = raw_loads(app, batch_id).await;
    let loads = loads.iter().filter(|load| load.lane == lane).map(|load| {
        let duplicate = load.status() == LoadStatus::Duplicate;
        (load.offset, if duplicate { 'd' } else { 'a' })
    });
    let rejected = rejected_rows(app, batch_id).await;
    let rejected = rejected
        .iter()
        .filter(|row| row.lane == lane)
        .map(|row| (row.rejection.as_ref().unwrap().offset, 'r'));
    loads
        .chain(rejected)
        .collect::<BTreeMap<i64, char>>()
        .into_values()
        .collect()
}

/// The fates of the rows of an `IngestRows` call, a letter each.
pub(crate) fn outcome_fates(outcomes: &[RowOutcome]) -> String {
    let letter = |outcome: &RowOutcome| match outcome.fate() {
        RowFate::Accepted => 'a',
        RowFate::Duplicate => 'd',
        RowFate::Rejected => 'r',
        RowFate::Unspecified => '?',
    };
    outcomes.iter().map(letter).collect()
}

/// Offset, reason and pointer of rejections.
pub(crate) fn reasons<'a>(
    rejections: impl IntoIterator<Item = &'a Rejection>,
) -> Vec<(i64, RejectionReason, String)> {
    rejections
        .into_iter()
        .map(|rejection| {
            assert!(!rejection.detail.is_empty(), "{rejection:?}");
            (
                rejection.offset,
                rejection.reason(),
                rejection.pointer.clone(),
            )
        })
        .collect()
}

/// The tables of intake, row by row; without the fencing tokens, which every open moves.
pub(crate) async fn contents(app: &App) -> BTreeMap<String, Vec<String>> {
    const TABLES: [&str; 8] = [
        "raw_loads",
        "audit_log",
        "batches",
        "batch_lanes",
        "batch_chunks",
        "email_claims",
        "rejected_rows",
        "request_answers",
    ];
    let sql = app.sql().await;
    let mut contents = BTreeMap::new();
    for table in TABLES {
        let query = format!(
            "SELECT (to_jsonb(t) - 'writer')::text AS row FROM intake.{table} AS t ORDER BY row"
        );
        let rows = sql.rows(&query, &[]).await;
        let rows = rows.iter().map(|row| row.get(0)).collect();
        contents.insert(table.to_owned(), rows);
    }
    contents
}

/// Law 1 in the tables: each offset below its lane's next one has one fate, and exactly the load or the
/// rejected row that the fate says; the lane's counters are those of its rows; each load has its audit row.
pub(crate) async fn assert_conserved(app: &App) {
    const FATES: &str = "
        WITH fates AS (
            SELECT c.batch_id, c.lane, c.first_offset + nth AS row_offset, chr(get_byte(c.fates, nth)) AS fate
            FROM intake.batch_chunks AS c
            CROSS JOIN LATERAL generate_series(0, c.row_count - 1) AS nth
        ), kept AS (
            SELECT batch_id, (metadata ->> 'lane')::integer AS lane, (metadata ->> 'offset')::bigint AS row_offset,
                   CASE WHEN status = 'duplicate' THEN 'd' ELSE 'a' END AS fate
            FROM intake.raw_loads
            UNION ALL
            SELECT batch_id, -2, row_offset, 'a' FROM company.slot WHERE batch_id IS NOT NULL
            UNION ALL
            SELECT batch_id, -3, row_offset, 'a' FROM people.slot WHERE batch_id IS NOT NULL
            UNION ALL
            SELECT batch_id, lane, row_offset, 'r' FROM intake.rejected_rows
        )";
    const QUESTIONS: [(&str, &str); 4] = [
        (
            "rows whose fate and whose load or rejected row differ",
            "SELECT count(*) FROM fates AS f FULL JOIN kept AS k USING (batch_id, lane, row_offset)
             WHERE f.fate IS DISTINCT FROM k.fate
               -- A staged row that was known is kept in the slot of another one.
               AND (f.lane < -1 AND f.fate = 'd') IS NOT TRUE",
        ),
        (
            "rows that are kept more than once",
            "SELECT count(*) FROM (SELECT FROM kept GROUP BY batch_id, lane, row_offset HAVING count(*) > 1) AS t",
        ),
        (
            "lanes whose counters are not those of their rows",
            "SELECT count(*) FROM intake.batch_lanes AS l
             CROSS JOIN LATERAL (
                 SELECT count(*) AS received, coalesce(max(f.row_offset) + 1, 0) AS next_offset,
                        count(*) FILTER (WHERE f.fate = 'a') AS accepted,
                        count(*) FILTER (WHERE f.fate = 'd') AS duplicate,
                        count(*) FILTER (WHERE f.fate = 'r') AS rejected
                 FROM fates AS f WHERE f.batch_id = l.batch_id AND f.lane = l.lane) AS f
             WHERE (l.next_offset, l.next_offset, l.accepted, l.duplicate, l.rejected)
                   <> (f.next_offset, f.received, f.accepted, f.duplicate, f.rejected)",
        ),
        (
            "loads without exactly one audit row",
            "SELECT count(*) FROM (
                 SELECT FROM intake.raw_loads AS l
                 LEFT JOIN intake.audit_log AS a ON a.load_id = l.load_id AND a.action = 'contact_ingested'
                 GROUP BY l.load_id HAVING count(a.log_id) <> 1) AS t",
        ),
    ];
    let sql = app.sql().await;
    for (question, query) in QUESTIONS {
        let count: i64 = sql.one(&format!("{FATES} {query}"), &[]).await;
        assert_eq!(count, 0, "{question}");
    }
}
