//! What becomes of each row, and where it goes.

use leadvault::proto::{
    intake::v1::{GetRawLoadRequest, IngestRowsRequest, LaneState, LoadStatus},
    r#type::v1::RejectionReason,
};
use prost_types::{Struct, Value, value::Kind};

use super::{call, fates};
use crate::harness::{
    App,
    evidence::{self, ingest},
    open,
    rows::{people, row},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_row_has_an_outcome_in_order() {
    let app = App::start().await;
    let rows = [
        row("a@x.example"),
        "nonsense".into(),
        row("A@x.example"),
        "{}".into(),
        row("b@x.example"),
    ];
    let response = ingest(&app, call(&rows)).await.unwrap();
    assert_eq!(
        (response.batch_id.as_str(), response.first_offset),
        ("b", 0)
    );
    assert_eq!(fates(&response), "ardra");
    let tally = response.tally.unwrap();
    assert_eq!(
        (
            tally.received,
            tally.accepted,
            tally.duplicate,
            tally.rejected
        ),
        (5, 2, 1, 2)
    );
    let rejections: Vec<_> = response
        .outcomes
        .iter()
        .filter_map(|outcome| outcome.rejection.clone())
        .collect();
    assert_eq!(
        evidence::reasons(&rejections),
        [
            (1, RejectionReason::NotJson, String::new()),
            (3, RejectionReason::MissingEmail, "/email".to_owned()),
        ]
    );
    // The loads are those of their rows.
    for (offset, status) in [
        (0, LoadStatus::Pending),
        (2, LoadStatus::Duplicate),
        (4, LoadStatus::Pending),
    ] {
        let load_id = response.outcomes[offset].load_id;
        let mut client = app.intake().await;
        let load = client.get_raw_load(GetRawLoadRequest { load_id }).await;
        let load = load.unwrap().into_inner().load.unwrap();
        assert_eq!(load.status(), status);
        assert_eq!((load.lane, load.offset), (-1, offset as i64));
        let sent: serde_json::Value = serde_json::from_str(&rows[offset]).unwrap();
        let stored: serde_json::Value = serde_json::from_str(&load.raw_data_json).unwrap();
        assert_eq!(stored, sent);
    }
    evidence::assert_conserved(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn structs_are_rows_too() {
    let app = App::start().await;
    let value = |kind| Value { kind: Some(kind) };
    let object = |fields: Vec<(&str, Kind)>| Struct {
        fields: fields
            .into_iter()
            .map(|(key, kind)| (key.to_owned(), value(kind)))
            .collect(),
    };
    let request = IngestRowsRequest {
        batch_id: "b".into(),
        source: "manual".into(),
        rows: vec![
            object(vec![
                ("email", Kind::StringValue("a@x.example".into())),
                ("employees", Kind::NumberValue(250.0)),
                ("score", Kind::NumberValue(12.5)),
                ("active", Kind::BoolValue(true)),
                ("nothing", Kind::NullValue(0)),
            ]),
            object(vec![("name", Kind::StringValue("no email".into()))]),
        ],
        ..Default::default()
    };
    let response = ingest(&app, request).await.unwrap();
    assert_eq!(fates(&response), "ar");
    let loads = evidence::raw_loads(&app, "b").await;
    let stored: serde_json::Value = serde_json::from_str(&loads[0].raw_data_json).unwrap();
    assert_eq!(
        stored,
        serde_json::json!({
            "email": "a@x.example", "employees": 250, "score": 12.5, "active": true, "nothing": null,
        })
    );
}

/// A number that a double cannot hold goes out as it came in.
#[tokio::test(flavor = "multi_thread")]
async fn json_bytes_are_never_squeezed_through_doubles() {
    let app = App::start().await;
    let exact = r#"{"n": 12345678901234567890.000100, "email": "a@x.example"}"#;
    ingest(&app, call(&[exact])).await.unwrap();
    assert_eq!(evidence::raw_loads(&app, "b").await[0].raw_data_json, exact);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_batch_id_the_server_makes_one_each_time() {
    let app = App::start().await;
    let request = IngestRowsRequest {
        batch_id: String::new(),
        ..call(&people(0..2))
    };
    let first = ingest(&app, request.clone()).await.unwrap();
    let second = ingest(&app, request).await.unwrap();
    assert_ne!(first.batch_id, second.batch_id);
    assert_eq!(fates(&second), "dd");
    let batch = evidence::batch(&app, &first.batch_id).await;
    assert_eq!((batch.source.as_str(), batch.lane_count), ("manual", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_append_to_lane_minus_one() {
    let app = App::start().await;
    for first_offset in [0, 3, 6] {
        let numbers = first_offset as usize..first_offset as usize + 3;
        let response = ingest(&app, call(&people(numbers))).await.unwrap();
        assert_eq!(response.first_offset, first_offset);
        assert_eq!(fates(&response), "aaa");
    }
    let lane = evidence::lane(&app, "b", -1).await;
    assert_eq!((lane.next_offset, lane.state()), (9, LaneState::Open));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_a_stream_share_a_batch() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "manual")).await.unwrap();
    lane.rows(0, &people(0..2)).await.unwrap();
    assert_eq!(
        ingest(&app, call(&people(1..3)))
            .await
            .unwrap()
            .first_offset,
        0
    );
    lane.rows(2, &people(3..4)).await.unwrap();
    lane.finish(3).await.unwrap();
    // Lane -1 is never finished.
    assert_eq!(
        ingest(&app, call(&people(4..5)))
            .await
            .unwrap()
            .first_offset,
        2
    );
    let tally = evidence::batch(&app, "b").await.tally.unwrap();
    assert_eq!((tally.received, tally.accepted, tally.duplicate), (6, 5, 1));
    evidence::assert_conserved(&app).await;
}
