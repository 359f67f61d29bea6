//! Law 2, exactly once. A row that was acked is durable. Sending the same (batch, lane, offset) again changes
//! nothing and is acked with the first outcome.

use leadvault::proto::intake::v1::bulk_ingest_response::Ack;

use super::{Random, mixed_rows};
use crate::harness::{App, evidence, open};

#[tokio::test(flavor = "multi_thread")]
async fn law_2_resends_change_nothing_and_get_the_first_outcome() {
    const ROWS: usize = 400;
    let app = App::start().await;
    let mut random = Random(2);
    let rows = mixed_rows(&mut random, ROWS);
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let mut first = Vec::new();
    for from in (0..ROWS).step_by(50) {
        let ack = lane
            .rows(from as i64, &rows[from..from + 50])
            .await
            .unwrap();
        first.push(ack);
    }
    let fates = evidence::fates(&app, "b", 0).await;
    let before = evidence::contents(&app).await;

    // The same frames, on the same stream and on a new one.
    for reopen in [false, true] {
        if reopen {
            (lane, _) = app.lane(open("b", "apollo")).await.unwrap();
        }
        for (number, first) in first.iter().enumerate() {
            let from = number * 50;
            let again = lane
                .rows(from as i64, &rows[from..from + 50])
                .await
                .unwrap();
            let as_first = Ack {
                replayed: 50,
                ..first.clone()
            };
            assert_eq!(again, as_first);
        }
    }
    // Other cuts.
    for _ in 0..30 {
        let from = random.below(ROWS);
        let end = from + random.below(ROWS - from + 1);
        let ack = lane.rows(from as i64, &rows[from..end]).await.unwrap();
        let count = |fate| fates[from..end].matches(fate).count();
        assert_eq!(ack.replayed as usize, end - from);
        assert_eq!(ack.accepted as usize, count('a'));
        assert_eq!(ack.duplicate as usize, count('d'));
        assert_eq!(ack.rejected as usize, count('r'));
        let rejected: Vec<_> = ack
            .rejections
            .iter()
            .map(|row| row.offset as usize)
            .collect();
        let expected = (from..end).filter(|offset| fates.as_bytes()[*offset] == b'r');
        assert_eq!(rejected, expected.collect::<Vec<_>>());
    }
    assert_eq!(evidence::contents(&app).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_what_was_acked_outlives_the_server() {
    let app = App::start().await;
    let url = app.url.clone();
    let rows = mixed_rows(&mut Random(3), 100);
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let first = lane.rows(0, &rows).await.unwrap();
    drop(lane);
    let before = evidence::contents(&app).await;
    app.stop().await;

    let app = App::start_on(url, &[]).await;
    let (mut lane, opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(opened.next_offset, 100);
    let again = lane.rows(0, &rows).await.unwrap();
    let as_first = Ack {
        replayed: 100,
        ..first
    };
    assert_eq!(again, as_first);
    assert_eq!(evidence::contents(&app).await, before);
}

/// A window that ends between a row and its repetition does not matter: the row is known by its offset.
#[tokio::test(flavor = "multi_thread")]
async fn law_2_a_first_outcome_never_changes() {
    let app = App::start().await;
    let rows = [r#"{"email":"a@x.example"}"#; 2];
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &rows).await.unwrap();
    app.sql()
        .await
        .run("UPDATE intake.raw_loads SET created_at = created_at - interval '31 days'")
        .await;
    let before = evidence::contents(&app).await;
    let again = lane.rows(0, &rows).await.unwrap();
    assert_eq!((again.accepted, again.duplicate, again.replayed), (1, 1, 2));
    assert_eq!(evidence::contents(&app).await, before);
}
