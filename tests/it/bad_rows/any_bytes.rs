//! Law 3 over bytes that nobody thought of: the frame is acked, and every row has a fate.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::{runtime::Handle, task::block_in_place};

use crate::harness::{App, evidence, open, rows::json};

/// Rows to mutate, each with something delicate in it.
const SEEDS: [&str; 8] = [
    r#"{"email":"a@x.example","name":"Ann","tags":["a","b"],"n":12.5e10}"#,
    r#"{"email":"b@x.example","company":"\u00e9\ud83d\ude00","deep":{"a":[[[{"b":null}]]]}}"#,
    r#"{"email":"\u0063@x.example","n":[1e307,1e-307,-0.0,9007199254740993]}"#,
    r#"{"email":" D@X.example ","":"","a":1,"a":2}"#,
    "{\"email\":\"e@b\u{fc}cher.example\",\"note\":\"\u{2028}\u{10ffff}\"}",
    r#"{"email":["f@x.example"],"email":"f@x.example"}"#,
    r#"[{"email":"g@x.example"}]"#,
    "",
];

/// Pieces that hurt where they land.
const PIECES: [&str; 20] = [
    r"\u0000",
    r"\ud800",
    r"\udc00",
    r"\u",
    "\\",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "1e400",
    "1e-99999",
    "e",
    "-",
    "null",
    "\0",
    "\u{feff}",
    r#""email":"z@x.example","#,
];

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edit = (
        any::<prop::sample::Index>(),
        0_usize..3,
        prop::sample::select(&PIECES[..]),
    );
    let byte = (any::<prop::sample::Index>(), any::<u8>());
    (
        prop::sample::select(&SEEDS[..]),
        prop::collection::vec(edit, 0..4),
        prop::collection::vec(byte, 0..2),
    )
        .prop_map(|(seed, edits, bytes)| {
            let mut row = seed.as_bytes().to_vec();
            for (index, deleted, piece) in edits {
                let at = index.index(row.len() + 1);
                let end = (at + deleted).min(row.len());
                row.splice(at..end, piece.bytes());
            }
            for (index, byte) in bytes {
                if !row.is_empty() {
                    let at = index.index(row.len());
                    row[at] = byte;
                }
            }
            row
        })
}

fn any_row() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        6 => mutated(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_bytes_the_frame_is_acked_and_every_row_has_a_fate() {
    let app = App::start().await;
    let (lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let lane = std::cell::RefCell::new((lane, 0_i64, 0_i64));
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let frames = prop::collection::vec(any_row(), 1..40);
    block_in_place(|| {
        TestRunner::new(config).run(&frames, |rows| {
            let (lane, offset, rejected) = &mut *lane.borrow_mut();
            let sent = rows.iter().map(json).collect();
            let ack = Handle::current().block_on(lane.each(*offset, sent));
            let ack = ack.map_err(|status| TestCaseError::fail(format!("{status:?}")))?;
            prop_assert_eq!(ack.row_count, rows.len() as i32);
            prop_assert_eq!(ack.accepted + ack.duplicate + ack.rejected, ack.row_count);
            prop_assert_eq!(ack.rejections.len(), ack.rejected as usize);
            *offset = ack.next_offset;
            *rejected += i64::from(ack.rejected);
            Ok(())
        })
    })
    .unwrap();

    let (_, received, rejected) = lane.into_inner();
    let tally = evidence::lane(&app, "b", 0).await.tally.unwrap();
    assert_eq!((tally.received, tally.rejected), (received, rejected));
    // The mutations hit both sides.
    assert!(rejected > 500 && received - rejected > 500, "{tally:?}");
    // Nothing that is in fails a listing.
    for load in evidence::raw_loads(&app, "b").await {
        serde_json::from_str::<serde_json::Value>(&load.raw_data_json).unwrap();
    }
    assert_eq!(
        evidence::rejected_rows(&app, "b").await.len() as i64,
        rejected
    );
    evidence::assert_conserved(&app).await;
}
