//! What the first `open` of a batch settles, and what a later one may say.

use leadvault::proto::intake::v1::{
    BatchState, DuplicatePolicy, IngestRowsRequest, bulk_ingest_request::Open,
};
use prost_types::{Struct, Value, value::Kind};
use tonic::Code;

use crate::harness::{App, evidence, open, refusal, rows::people};

fn notes(key: &str, text: &str) -> Struct {
    let value = Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    Struct {
        fields: [(key.to_owned(), value)].into(),
    }
}

/// An `open` that leaves nothing out.
fn full() -> Open {
    Open {
        lane: 1,
        lane_count: 3,
        metadata: Some(notes("file", "a.csv")),
        on_duplicate: DuplicatePolicy::AcceptChanged.into(),
        ..open("b", "apollo")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_open_settles_the_batch() {
    let app = App::start().await;
    app.lane(full()).await.unwrap();
    let batch = evidence::batch(&app, "b").await;
    assert_eq!(batch.source, "apollo");
    assert_eq!(batch.lane_count, 3);
    assert_eq!(batch.on_duplicate(), DuplicatePolicy::AcceptChanged);
    assert_eq!(batch.metadata, Some(notes("file", "a.csv")));
    assert_eq!(batch.state(), BatchState::Open);
    assert!(!batch.created_by.is_empty());
    assert_eq!(batch.lanes.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_batch_has_one_lane_and_marks_duplicates_unless_told_otherwise() {
    let app = App::start().await;
    let left_out = Open {
        lane_count: 0,
        ..open("b", "apollo")
    };
    app.lane(left_out).await.unwrap();
    let batch = evidence::batch(&app, "b").await;
    assert_eq!(batch.lane_count, 1);
    assert_eq!(batch.on_duplicate(), DuplicatePolicy::Mark);
    assert_eq!(batch.metadata, Some(Struct::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_that_differs_is_refused_and_names_what_is_stored() {
    let app = App::start().await;
    app.lane(full()).await.unwrap();
    let cases = [
        (
            "source",
            "apollo",
            Open {
                source: "apify".into(),
                ..full()
            },
        ),
        (
            "lane_count",
            "3",
            Open {
                lane_count: 4,
                ..full()
            },
        ),
        (
            "on_duplicate",
            "accept_changed",
            Open {
                on_duplicate: DuplicatePolicy::Mark.into(),
                ..full()
            },
        ),
        (
            "metadata",
            r#"{"file": "a.csv"}"#,
            Open {
                metadata: Some(Struct::default()),
                ..full()
            },
        ),
    ];
    let before = evidence::contents(&app).await;
    for (field, stored, open) in cases {
        let refusal = refusal(app.lane(open).await)
            .is(Code::FailedPrecondition, "BATCH_MISMATCH")
            .says("field", field)
            .says("stored", stored);
        assert!(refusal.metadata.contains_key("given"), "{refusal:?}");
    }
    assert_eq!(evidence::contents(&app).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_open_leaves_out_agrees_with_what_is_stored() {
    let app = App::start().await;
    app.lane(full()).await.unwrap();
    let left_out = Open {
        lane: 2,
        lane_count: 0,
        ..open("b", "apollo")
    };
    app.lane(left_out).await.unwrap();
    app.lane(full()).await.unwrap();
    assert_eq!(evidence::batch(&app, "b").await.lanes.len(), 2);
}

/// The details of an error travel as headers, which clients bound to a few kilobytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_mismatch_of_large_values_still_speaks() {
    let app = App::start().await;
    let large = |letter: &str| Open {
        metadata: Some(notes("note", &letter.repeat(60_000))),
        ..open("b", "apollo")
    };
    app.lane(large("a")).await.unwrap();
    refusal(app.lane(large("b")).await)
        .is(Code::FailedPrecondition, "BATCH_MISMATCH")
        .says("field", "metadata");

    let name = "\u{1f600}".repeat(250);
    app.lane(open(&name, &name)).await.unwrap();
    let other = "\u{1f601}".repeat(250);
    refusal(app.lane(open(&name, &other)).await)
        .is(Code::FailedPrecondition, "BATCH_MISMATCH")
        .says("field", "source");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_open_of_a_new_batch_leaves_nothing() {
    let app = App::start().await;
    let without_count = Open {
        lane: 3,
        lane_count: 0,
        ..open("b", "apollo")
    };
    refusal(app.lane(without_count).await);
    // Corrected, it is the first open.
    let corrected = Open {
        lane: 3,
        lane_count: 4,
        ..open("b", "apollo")
    };
    app.lane(corrected).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_open_settles_nothing_of_a_batch_that_single_calls_began() {
    let app = App::start().await;
    let call = IngestRowsRequest {
        batch_id: "b".into(),
        source: "apollo".into(),
        json_rows: vec!["{}".into()],
        ..Default::default()
    };
    evidence::ingest(&app, call).await.unwrap();
    let before = evidence::contents(&app).await;
    refusal(app.lane(full()).await).says("field", "on_duplicate");
    let beyond = Open {
        lane: 5,
        lane_count: 0,
        ..open("b", "apollo")
    };
    refusal(app.lane(beyond).await);
    assert_eq!(evidence::contents(&app).await, before);
    // The first open that fits settles lanes and notes.
    let fits = Open {
        on_duplicate: 0,
        ..full()
    };
    app.lane(fits).await.unwrap();
    let batch = evidence::batch(&app, "b").await;
    assert_eq!(batch.lane_count, 3);
    assert_eq!(batch.metadata, Some(notes("file", "a.csv")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_one_of_the_batchs_lanes() {
    let app = App::start().await;
    for (lane, lane_count, field) in [
        (-1, 1, "open.lane"),
        (1, 1, "open.lane"),
        (64, 64, "open.lane"),
        (64, 0, "open.lane"),
        (0, 65, "open.lane_count"),
        (0, -1, "open.lane_count"),
    ] {
        let open = Open {
            lane,
            lane_count,
            ..open("b", "apollo")
        };
        refusal(app.lane(open).await).blames(field);
    }
    app.lane(Open {
        lane: 63,
        lane_count: 64,
        ..open("b", "apollo")
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_printable_not_blank_and_at_most_a_thousand_bytes() {
    let app = App::start().await;
    let long = "é".repeat(501);
    for bad in ["", " \t", "a\nb", "a\0b", long.as_str()] {
        refusal(app.lane(open(bad, "apollo")).await).blames("batch_id");
        refusal(app.lane(open("b", bad)).await).blames("source");
    }
    let longest = "é".repeat(500);
    let (mut lane, _) = app.lane(open(&longest, &longest)).await.unwrap();
    lane.rows(0, &people(0..1)).await.unwrap();
    let loads = evidence::raw_loads(&app, &longest).await;
    assert_eq!(
        (loads[0].batch_id.as_str(), loads[0].source.as_str()),
        (longest.as_str(), longest.as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_json_that_can_be_stored_and_at_most_64_kib() {
    let app = App::start().await;
    let nan = Struct {
        fields: [(
            "n".to_owned(),
            Value {
                kind: Some(Kind::NumberValue(f64::NAN)),
            },
        )]
        .into(),
    };
    for bad in [
        nan,
        notes("n", &"x".repeat(64 * 1024)),
        notes("n", "a\0b"),
        notes("a\0b", "n"),
    ] {
        let open = Open {
            metadata: Some(bad),
            ..open("b", "apollo")
        };
        refusal(app.lane(open).await).blames("open.metadata");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_policy_is_malformed() {
    let app = App::start().await;
    let open = Open {
        on_duplicate: 99,
        ..open("b", "apollo")
    };
    refusal(app.lane(open).await).blames("on_duplicate");
}
