//! A deadline ends the call, and what it was doing in PostgreSQL.

use std::time::{Duration, Instant};

use leadvault::proto::{
    company::v1::{PromoteCompaniesRequest, StageCompaniesFromVaultRequest},
    intake::v1::{
        GetBatchRequest, bulk_ingest_request as request, intake_service_client::IntakeServiceClient,
    },
    vault::v1::{
        BatchScoreContactsRequest, PromoteContactsRequest, batch_score_contacts_request::Score,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{SLACK, get_batch, list_loads, lock_batches, until_waiting, within};
use crate::harness::{App, Lane, evidence, heard, open, opened, refusal, rows::people, until};

const SHORT: Duration = Duration::from_millis(500);
/// PostgreSQL ends nothing by itself within the patience of a test.
const NO_TIMEOUT: &str = "--statement-timeout=600";

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_deadline_ends_its_query_in_postgresql() {
    let app = App::start_with(&[NO_TIMEOUT]).await;
    let owner = lock_batches(&app).await;
    let get = async || {
        let begun = Instant::now();
        let (got, listed) =
            tokio::join!(get_batch(&app, Some(SHORT)), list_loads(&app, Some(SHORT)));
        assert!(begun.elapsed() < SHORT + SLACK, "{:?}", begun.elapsed());
        listed.and(got)
    };
    let refused = refusal(heard(get).await)
        .is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        .says("deadline_seconds", "0.5");
    assert!(refused.message.contains("0.5 seconds"), "{refused:?}");
    until_waiting(&app, 0).await;
    owner.run("COMMIT").await;
    refusal(get_batch(&app, None).await).is(Code::NotFound, "NOT_FOUND");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_past_its_deadline_is_rolled_back() {
    let app = App::start_with(&["--default-deadline=0.5", NO_TIMEOUT]).await;
    let owner = app.sql().await;
    owner
        .run("INSERT INTO vault.contacts (email, source) VALUES ('a@x.example', 'apollo')")
        .await;
    owner
        .run("BEGIN; SELECT FROM vault.contacts FOR UPDATE")
        .await;
    let score = BatchScoreContactsRequest {
        scores: vec![Score {
            contact_id: 1,
            score: "7".into(),
            reason: String::new(),
        }],
        ..Default::default()
    };
    let mut client = app.vault().await;
    refusal(client.batch_score_contacts(score).await)
        .is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    until_waiting(&app, 0).await;
    owner.run("ROLLBACK").await;
    // Whatever was on its way has ended, since the last of the service's connections went away with it.
    app.stop().await;
    owner.until_alone().await;
    let scored = "SELECT count(*) FROM vault.contacts WHERE score > 0";
    assert_eq!(owner.one::<i64>(scored, &[]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_no_deadline_has_the_default_which_is_named() {
    let app = App::start_with(&["--default-deadline=0.3", NO_TIMEOUT]).await;
    let _owner = lock_batches(&app).await;
    refusal(get_batch(&app, None).await)
        .is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        .says("deadline_seconds", "0.3")
        .says("setting", "default-deadline");
    until_waiting(&app, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_ends_its_query_too() {
    let app = App::start_with(&[NO_TIMEOUT]).await;
    let _owner = lock_batches(&app).await;
    tokio::select! {
        answered = get_batch(&app, None) => panic!("{answered:?}"),
        answered = list_loads(&app, None) => panic!("{answered:?}"),
        () = until_waiting(&app, 2) => {}
    }
    until_waiting(&app, 0).await;
}

/// A job counts what there is to do first: for nobody it does not, however long that may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_caller_goes_away_ends_its_query_too() {
    let app = App::start_with(&[NO_TIMEOUT]).await;
    let owner = app.sql().await;
    owner
        .run("BEGIN; LOCK TABLE intake.raw_loads, vault.contacts, company.slot")
        .await;
    let (mut vault, mut company) = (app.vault().await, app.company().await);
    let request = PromoteContactsRequest::default();
    let promoting = vault.promote_contacts(request).await.unwrap();
    let request = StageCompaniesFromVaultRequest::default();
    let staging = company.stage_companies_from_vault(request).await.unwrap();
    let request = PromoteCompaniesRequest::default();
    let merging = company.promote_companies(request).await.unwrap();
    until_waiting(&app, 3).await;
    drop((promoting, staging, merging));
    until_waiting(&app, 0).await;
}

/// It does not know what a caller meant who writes its deadline in another way.
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_timeout_is_refused() {
    let app = App::start().await;
    for timeout in ["5", "5s", "S", "-1S", "123456789S"] {
        let mut request = Request::new(GetBatchRequest::default());
        let metadata = request.metadata_mut();
        metadata.insert("grpc-timeout", timeout.parse().unwrap());
        refusal(app.intake().await.get_batch(request).await).blames("grpc-timeout");
    }
}

/// Too short for anything, and health is asked all the same.
#[tokio::test(flavor = "multi_thread")]
async fn health_has_no_deadline() {
    let app = App::start_with(&["--default-deadline", "0.001"]).await;
    let owner = lock_batches(&app).await;
    refusal(get_batch(&app, None).await).is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    let mut health = HealthClient::new(app.channel().await);
    // Its answer, too, loses its connection where it waits for longer than that.
    until("health is told", async || {
        health.check(HealthCheckRequest::default()).await.ok()
    })
    .await;
    owner.run("COMMIT").await;
}

/// The stream ends in time, and the chunk that was being written is stored as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_a_stream_never_cuts_a_chunk() {
    let app = App::start().await;
    // An open lane needs none of it.
    let owner = app.sql().await;
    owner
        .run("BEGIN; LOCK TABLE intake.email_claims IN ACCESS EXCLUSIVE MODE")
        .await;
    let (outbound, messages) = mpsc::channel(4);
    let stream = within(Duration::from_secs(5), ReceiverStream::new(messages));
    let mut client = IntakeServiceClient::new(app.channel().await);
    let inbound = client.bulk_ingest(stream).await.unwrap().into_inner();
    let mut lane = Lane::of(outbound, inbound);
    lane.send(request::Message::Open(open("b", "apollo"))).await;
    opened(lane.receive().await.unwrap());
    lane.send_rows(Some(0), &people(0..3)).await;
    until_waiting(&app, 1).await;
    refusal(lane.receive().await)
        .is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        .says("deadline_seconds", "5");
    owner.run("COMMIT").await;
    until("the chunk is stored", async || {
        (evidence::fates(&app, "b", 0).await == "aaa").then_some(())
    })
    .await;
}
