//! Looking: what is in, what was refused, what became of a row. And the calls that set something right.

mod abandon;
mod audit;
mod batches;
mod loads;
mod paging;
mod refusals;
mod rejected;
mod retry;
mod trace;

use leadvault::proto::intake::v1::{
    ListRawLoadsRequest, ListRawLoadsResponse, ListRejectedRowsRequest, ListRejectedRowsResponse,
};
use prost_types::Timestamp;

use crate::harness::{App, Sql};

async fn list_loads(app: &App, request: ListRawLoadsRequest) -> ListRawLoadsResponse {
    let mut client = app.intake().await;
    client.list_raw_loads(request).await.unwrap().into_inner()
}

/// The ids of the loads that a filter finds.
async fn load_ids(app: &App, request: ListRawLoadsRequest) -> Vec<i64> {
    let page = list_loads(app, request).await;
    assert_eq!(page.next_page_token, "");
    page.loads.into_iter().map(|load| load.load_id).collect()
}

async fn list_rejected(app: &App, request: ListRejectedRowsRequest) -> ListRejectedRowsResponse {
    let mut client = app.intake().await;
    client
        .list_rejected_rows(request)
        .await
        .unwrap()
        .into_inner()
}

/// A time on the wire, some seconds after 2026 began.
fn at(seconds: i64) -> Timestamp {
    Timestamp {
        seconds: 1_767_225_600 + seconds,
        nanos: 0,
    }
}

/// Sets the times of rows, by their order, to the seconds of [`at`].
async fn spread(sql: &Sql, table: &str, id: &str, time: &str) {
    sql.run(&format!(
        "UPDATE {table} AS t SET {time} = to_timestamp(1767225600 + o.nth - 1)
         FROM (SELECT {id}, row_number() OVER (ORDER BY {id}) AS nth FROM {table}) AS o
         WHERE o.{id} = t.{id}"
    ))
    .await;
}
