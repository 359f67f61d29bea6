//! `GetBatch` and `ListBatches`.

use std::collections::BTreeMap;

use leadvault::proto::intake::v1::{
    AbandonBatchRequest, Batch, BatchState, DuplicatePolicy, GetBatchRequest, LaneState,
    ListBatchesRequest, ListOrder, bulk_ingest_request::Open,
};
use tonic::Code;

use crate::harness::{App, Lane, open, refused, row};

async fn get(app: &App, batch_id: &str) -> Batch {
    let request = GetBatchRequest {
        batch_id: batch_id.into(),
    };
    let response = app.intake().await.get_batch(request).await.unwrap();
    response.into_inner().batch.unwrap()
}

async fn list(app: &App, request: ListBatchesRequest) -> Vec<Batch> {
    let response = app.intake().await.list_batches(request).await.unwrap();
    response.into_inner().batches
}

fn ids(batches: &[Batch]) -> Vec<&str> {
    batches
        .iter()
        .map(|batch| batch.batch_id.as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_shows_its_lanes_totals_and_properties() {
    let app = App::start().await;
    let notes = prost_types::Struct {
        fields: BTreeMap::from([("file".to_owned(), prost_types::Value::from("leads.csv"))]),
    };
    let opening = Open {
        lane: 1,
        lane_count: 3,
        metadata: Some(notes.clone()),
        on_duplicate: DuplicatePolicy::AcceptChanged.into(),
        ..open("b", "apollo")
    };
    let (mut second, _) = Lane::open(app.intake().await, opening.clone())
        .await
        .unwrap();
    second
        .rows(
            0,
            &[row("a@x.example"), row("A@x.example"), row("A@x.example")],
        )
        .await
        .unwrap();
    second.finish(3).await.unwrap();
    let (mut first, _) = Lane::open(app.intake().await, Open { lane: 0, ..opening })
        .await
        .unwrap();
    first.rows(0, &["{}"]).await.unwrap();
    app.ingest("b", "apollo", &[row("b@x.example")]).await;

    let batch = get(&app, "b").await;
    assert_eq!(
        (batch.batch_id.as_str(), batch.source.as_str()),
        ("b", "apollo")
    );
    assert_eq!(batch.state(), BatchState::Open);
    assert_eq!(batch.on_duplicate(), DuplicatePolicy::AcceptChanged);
    assert_eq!(batch.lane_count, 3);
    assert_eq!(batch.metadata, Some(notes));
    assert_eq!(batch.created_by, "anonymous");
    assert!(batch.create_time.is_some() && batch.abandon_time.is_none());
    let tally = batch.tally.unwrap();
    assert_eq!(
        (
            tally.received,
            tally.accepted,
            tally.duplicate,
            tally.rejected
        ),
        (5, 3, 1, 1)
    );
    let lanes: Vec<_> = batch
        .lanes
        .iter()
        .map(|lane| {
            let tally = lane.tally.unwrap();
            (
                lane.lane,
                lane.state(),
                lane.next_offset,
                (tally.accepted, tally.duplicate, tally.rejected),
                lane.finish_time.is_some(),
            )
        })
        .collect();
    assert_eq!(
        lanes,
        [
            (-1, LaneState::Open, 1, (1, 0, 0), false),
            (0, LaneState::Open, 1, (0, 0, 1), false),
            (1, LaneState::Finished, 3, (2, 1, 0), true),
        ]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_complete_when_every_lane_is_finished_also_the_empty_ones() {
    let app = App::start().await;
    for lane in 0..2 {
        assert_ne!(
            list(&app, ListBatchesRequest::default())
                .await
                .first()
                .map(Batch::state),
            Some(BatchState::Complete)
        );
        let opening = Open {
            lane,
            lane_count: 2,
            ..open("b", "apollo")
        };
        let (mut lane, _) = Lane::open(app.intake().await, opening).await.unwrap();
        lane.finish(0).await.unwrap();
    }
    assert_eq!(get(&app, "b").await.state(), BatchState::Complete);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_such_batch() {
    let app = App::start().await;
    let request = GetBatchRequest {
        batch_id: "nothing".into(),
    };
    let refusal = refused(app.intake().await.get_batch(request).await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::NotFound, "NOT_FOUND")
    );
    assert_eq!(refusal.metadata["resource"], "batch");
    assert_eq!(refusal.metadata["key"], "nothing");
    app.stop().await;
}

/// Four batches, oldest first: open, complete and abandoned ones, of two sources.
async fn four() -> App {
    let app = App::start().await;
    app.ingest("open", "apollo", &[row("a@x.example")]).await;
    let (mut lane, _) = Lane::open(app.intake().await, open("complete", "apify"))
        .await
        .unwrap();
    lane.finish(0).await.unwrap();
    app.ingest("abandoned", "apollo", &[row("b@x.example")])
        .await;
    let request = AbandonBatchRequest {
        batch_id: "abandoned".into(),
        reason: String::new(),
    };
    app.intake().await.abandon_batch(request).await.unwrap();
    app.ingest("another", "apify", &[row("c@x.example"), "{}".to_owned()])
        .await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_listed_by_their_beginning() {
    let app = four().await;
    let batches = list(&app, ListBatchesRequest::default()).await;
    assert_eq!(ids(&batches), ["open", "complete", "abandoned", "another"]);
    assert!(batches.iter().all(|batch| batch.lanes.is_empty()));
    assert_eq!(batches[3].tally.unwrap().received, 2);
    let newest = list(
        &app,
        ListBatchesRequest {
            order_by: ListOrder::NewestFirst.into(),
            ..Default::default()
        },
    )
    .await;
    assert_eq!(ids(&newest), ["another", "abandoned", "complete", "open"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_found_by_source_and_state() {
    let app = four().await;
    for (source, state, found) in [
        ("apollo", BatchState::Unspecified, vec!["open", "abandoned"]),
        (
            "apify",
            BatchState::Unspecified,
            vec!["complete", "another"],
        ),
        ("", BatchState::Open, vec!["open", "another"]),
        ("", BatchState::Complete, vec!["complete"]),
        ("", BatchState::Abandoned, vec!["abandoned"]),
        ("apify", BatchState::Open, vec!["another"]),
        ("apify", BatchState::Abandoned, vec![]),
        ("nobody", BatchState::Unspecified, vec![]),
    ] {
        let request = ListBatchesRequest {
            source: source.into(),
            state: state.into(),
            ..Default::default()
        };
        assert_eq!(
            ids(&list(&app, request).await),
            found,
            "{source:?} {state:?}"
        );
    }
    app.stop().await;
}
