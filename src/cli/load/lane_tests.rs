//! Tests of lanes against a service that breaks: through real connections, each row stored once, in order.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::cli::{
    client::Service,
    load::{
        fake::{Fake, Fault},
        source::Content,
    },
};

fn row(number: u64) -> Content {
    Content::Json(Bytes::from(format!("{{\"n\":{number}}}")))
}

fn lane(address: &str, queue: &Arc<RowQueue>) -> Lane {
    let service = Service::new(address, Some(Duration::from_secs(30))).unwrap();
    let open = Open {
        batch_id: "b".into(),
        source: "s".into(),
        lane_count: 1,
        ..Open::default()
    };
    let progress = Progress::hidden();
    Lane::new(
        service.client(),
        open,
        Arc::clone(queue),
        progress,
        service.patience(),
    )
}

/// A queue that holds all of its rows before anyone takes them: no more than fit.
fn filled(rows: u64) -> Arc<RowQueue> {
    let queue = Arc::new(RowQueue::default());
    (0..rows).for_each(|n| queue.push(row(n).into()).unwrap());
    queue.end(true);
    queue
}

/// A queue fed with so many bytes that they take several frames.
fn fed(rows: u64, complete: bool) -> Arc<RowQueue> {
    let queue = Arc::new(RowQueue::default());
    let writer = Arc::clone(&queue);
    std::thread::spawn(move || {
        for n in 0..rows {
            let text = format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(300_000));
            if writer.push(Content::Json(text.into()).into()).is_err() {
                return;
            }
        }
        writer.end(complete);
    });
    queue
}

fn numbers(fake: &Fake) -> Vec<u64> {
    let texts = fake.texts("b", 0);
    let number =
        |text: &String| serde_json::from_str::<serde_json::Value>(text).unwrap()["n"].as_u64();
    texts.iter().filter_map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_arrive_and_the_lane_is_finished() {
    let fake = Fake::default();
    let address = fake.serve().await;
    let end = lane(&address, &filled(7_000)).run().await.unwrap();
    assert_eq!(end.tally.unwrap().received, 7_000);
    assert_eq!(end.resumed_from, 0);
    assert!(numbers(&fake).into_iter().eq(0..7_000));
    // An empty lane is finished too: its batch would never be complete without it.
    let fake = Fake::default();
    let address = fake.serve().await;
    let end = lane(&address, &filled(0)).run().await.unwrap();
    assert_eq!(end.tally.unwrap().received, 0);
    assert!(fake.store().batches["b"].lanes[&0].finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_absences_and_a_lost_summary_lose_nothing() {
    let fake = Fake::default();
    let address = fake.serve().await;
    fake.break_with([
        Fault::Cut(1),
        Fault::Away,
        Fault::Cut(3),
        Fault::Cut(2),
        Fault::LoseSummary,
        Fault::Away,
    ]);
    let end = lane(&address, &fed(60, true)).run().await.unwrap();
    assert_eq!(end.tally.unwrap().received, 60);
    assert!(numbers(&fake).into_iter().eq(0..60));
    assert!(fake.store().faults.is_empty());
    assert_eq!(fake.store().streams, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_skips_what_is_stored() {
    let fake = Fake::default();
    let address = fake.serve().await;
    // The reader breaks: what it read is stored, and the lane stays open.
    let end = lane(&address, &fed(20, false)).run().await.unwrap();
    assert_eq!(end.tally, None);
    assert!(!fake.store().batches["b"].lanes[&0].finished);
    let end = lane(&address, &fed(50, true)).run().await.unwrap();
    assert_eq!((end.resumed_from, end.tally.unwrap().received), (20, 50));
    assert!(numbers(&fake).into_iter().eq(0..50));
    // A third run finds the lane finished and gets the same summary.
    let end = lane(&address, &fed(50, true)).run().await.unwrap();
    assert_eq!((end.resumed_from, end.tally.unwrap().received), (50, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_input_under_the_same_batch_is_refused() {
    let fake = Fake::default();
    let address = fake.serve().await;
    lane(&address, &filled(10)).run().await.unwrap();
    for rows in [9, 11] {
        let error = lane(&address, &filled(rows)).run().await.unwrap_err();
        assert!(matches!(error, Error::Batch { .. }), "{error}");
    }
    assert_eq!(numbers(&fake).len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_lane_ends_at_once() {
    let fake = Fake::default();
    let address = fake.serve().await;
    fake.break_with([Fault::Fence(1)]);
    let error = lane(&address, &filled(10)).run().await.unwrap_err();
    assert!(error.to_string().contains("LANE_FENCED"), "{error}");
    assert_eq!(fake.store().streams, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_is_waited_for() {
    let fake = Fake::default();
    let (runtime, address) = fake.serve_apart(0);
    let queue = Arc::new(RowQueue::default());
    let task = tokio::spawn(lane(&format!("http://{address}"), &queue).run());
    queue.push(row(0).into()).unwrap();
    let stored = async |count: usize| {
        while fake
            .store()
            .batches
            .get("b")
            .is_none_or(|batch| batch.lanes[&0].rows.len() < count)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    stored(1).await;
    runtime.shutdown_background();
    queue.push(row(1).into()).unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (runtime, _) = fake.serve_apart(address.port());
    queue.push(row(2).into()).unwrap();
    queue.end(true);
    let end = task.await.unwrap().unwrap();
    assert_eq!(end.tally.unwrap().received, 3);
    assert!(numbers(&fake).into_iter().eq(0..3));
    runtime.shutdown_background();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn any_faults_leave_every_row_once(
        rows in 0u64..40,
        faults in prop::collection::vec(
            prop_oneof![(1usize..5).prop_map(Fault::Cut), Just(Fault::LoseSummary)],
            0..4,
        ),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let fake = Fake::default();
            let address = fake.serve().await;
            fake.break_with(faults);
            let end = lane(&address, &fed(rows, true)).run().await.unwrap();
            assert_eq!(end.tally.unwrap().received, rows);
            assert!(numbers(&fake).into_iter().eq(0..rows));
        });
    }
}
