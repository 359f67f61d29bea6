//! Synchronous replication while the standby is away: what only the primary has is not acked, however long it takes.

use std::time::Duration;

use leadvault::proto::intake::v1::{
    IngestRowsRequest, IngestRowsResponse, intake_service_client::IntakeServiceClient,
};
use tonic::{Code, Request, Status, transport::Channel};
use uuid::Uuid;

use super::failover::Pair;
use crate::harness::{Lane, Sql, Workspace, ack, open, rows::people, until};

/// As many rows as make PostgreSQL send the whole answer of a chunk, a byte for each, before its commit: the buffer of
/// 8 KiB ends between the answer and what follows it.
const ROWS_OF_A_BUFFER: usize = 8_152;

/// Waits until so many commits have waited for the standby for longer than any statement may take, and any answer.
async fn until_commits_wait(sql: &Sql, count: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE wait_event = 'SyncRep' AND clock_timestamp() > query_start + interval '13 s'";
    until("commits to wait for the standby", async || {
        (sql.one::<i64>(waiting, &[]).await == count).then_some(())
    })
    .await;
}

/// Nothing has been said on a lane so far.
async fn assert_silent(lane: &mut Lane) {
    let said = tokio::time::timeout(Duration::ZERO, lane.receive()).await;
    assert!(said.is_err(), "{said:?} before the standby had it");
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_a_chunk_is_acked_when_the_standby_has_it() {
    let workspace = Workspace::new();
    let pair = Pair::start_with(&workspace, &["--statement-timeout=5"]).await;
    let sql = Sql::connect(&pair.primary.url("leads")).await;
    let client = pair.service.intake().await;
    let mut lanes = Vec::new();
    for batch in ["small", "large"] {
        lanes.push(
            Lane::open(client.clone(), open(batch, "crash"))
                .await
                .unwrap()
                .0,
        );
    }
    pair.standby.stop("fast");

    lanes[0].send_rows(Some(0), &people(0..2)).await;
    // Each is refused, which costs little.
    let bad = vec!["{}"; ROWS_OF_A_BUFFER];
    lanes[1].send_rows(Some(0), &bad).await;
    until_commits_wait(&sql, 2).await;
    for lane in &mut lanes {
        assert_silent(lane).await;
    }

    pair.standby.start();
    assert_eq!(lanes[0].receive().await.map(ack).unwrap().accepted, 2);
    let large = lanes[1].receive().await.map(ack).unwrap();
    assert_eq!(usize::try_from(large.rejected), Ok(ROWS_OF_A_BUFFER));
    assert_eq!(pair.service.stop().await.0.code(), Some(0));
}

async fn ingest(
    mut client: IntakeServiceClient<Channel>,
    request_id: Uuid,
    timeout: Option<Duration>,
) -> Result<IngestRowsResponse, Status> {
    let mut request = Request::new(IngestRowsRequest {
        batch_id: "b".into(),
        source: "crash".into(),
        json_rows: people(0..1).into_iter().map(Into::into).collect(),
        request_id: request_id.to_string(),
        ..Default::default()
    });
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    let answer = client.ingest_rows(request).await;
    answer.map(tonic::Response::into_inner)
}

/// A deadline gives up the wait, and leaves a commit that only the primary has. Whoever asks again for what became of
/// it waits as well: no answer tells of what a failover would lose.
#[tokio::test(flavor = "multi_thread")]
async fn law_2_a_repetition_is_answered_when_the_standby_has_it() {
    let workspace = Workspace::new();
    let pair = Pair::start(&workspace).await;
    let sql = Sql::connect(&pair.primary.url("leads")).await;
    let client = pair.service.intake().await;
    let request_id = Uuid::now_v7();
    pair.standby.stop("fast");
    for _ in 0..2 {
        let late = ingest(client.clone(), request_id, Some(Duration::from_secs(8))).await;
        // Cancelled where the client's own clock was earlier.
        let code = late.unwrap_err().code();
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&code));
        let stored = "SELECT count(*) FROM intake.raw_loads";
        until("the primary to have it", async || {
            (sql.one::<i64>(stored, &[]).await == 1).then_some(())
        })
        .await;
    }
    pair.standby.start();
    let answer = ingest(client, request_id, None).await.unwrap();
    assert_eq!(answer.outcomes.len(), 1);
    let stored: i64 = sql.one("SELECT count(*) FROM intake.raw_loads", &[]).await;
    assert_eq!(stored, 1);
    assert_eq!(pair.service.stop().await.0.code(), Some(0));
}
