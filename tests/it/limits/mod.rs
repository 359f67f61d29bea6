//! How long calls may take and how many there may be, and what a database that is slow, full or behind a broken
//! network does to them.

mod connections;
mod deadlines;
mod forgotten;
mod idle;
mod in_flight;
mod network;
mod open_files;
mod overload;
mod places;
mod unread;

use std::time::Duration;

use leadvault::proto::intake::v1::{
    GetBatchRequest, GetBatchResponse, ListRawLoadsRequest, ListRawLoadsResponse,
};
use tonic::{Request, Response, Status};

use crate::harness::{App, Sql, until};

/// How much later than its deadline an answer may be on a machine that does a hundred other things.
const SLACK: Duration = Duration::from_secs(30);

/// A request whose caller waits so long.
fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// Locks what every look at a batch or a load needs, until `COMMIT`.
async fn lock_batches(app: &App) -> Sql {
    let owner = app.sql().await;
    owner
        .run("BEGIN; LOCK TABLE intake.batches, intake.raw_loads IN ACCESS EXCLUSIVE MODE")
        .await;
    owner
}

async fn get_batch(
    app: &App,
    timeout: Option<Duration>,
) -> Result<Response<GetBatchResponse>, Status> {
    let message = GetBatchRequest {
        batch_id: "none".into(),
    };
    let request = match timeout {
        Some(timeout) => within(timeout, message),
        None => Request::new(message),
    };
    app.intake().await.get_batch(request).await
}

/// One statement, where `get_batch` is a transaction.
async fn list_loads(
    app: &App,
    timeout: Option<Duration>,
) -> Result<Response<ListRawLoadsResponse>, Status> {
    let mut request = Request::new(ListRawLoadsRequest::default());
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    app.intake().await.list_raw_loads(request).await
}

/// Waits until so many statements of the service wait for a lock. It looks from a connection without a
/// transaction, which would not see connections that are newer than itself.
async fn until_waiting(app: &App, count: i64) {
    let sql = app.sql().await;
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("as many statements wait", async || {
        (sql.one::<i64>(waiting, &[]).await == count).then_some(())
    })
    .await;
}
