//! What stands in for a row, what is kept of it, and pages that a client can read.

use leadvault::proto::{
    intake::v1::{
        IngestRowsRequest, ListBatchesRequest, ListRawLoadsRequest,
        bulk_ingest_request::{Open, OversizeRow, Row, UnreadableRow, row},
    },
    r#type::v1::RejectionReason,
};
use prost_types::{ListValue, Struct, Value, value::Kind};

use crate::harness::{
    App, evidence, open,
    rows::{json, people},
};

#[tokio::test(flavor = "multi_thread")]
async fn stand_ins_are_rejected_in_their_place() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let oversize = Row {
        row: Some(row::Row::Oversize(OversizeRow {
            bytes: 9_000_000_000,
            sha256: vec![0xab; 32].into(),
            head: b"{\"a\0\xff".to_vec().into(),
        })),
    };
    let unreadable = Row {
        row: Some(row::Row::Unreadable(UnreadableRow {
            detail: "line 7: 3 columns,\0 5 expected".into(),
            original: b"a,b,\xff\0".to_vec().into(),
        })),
    };
    let good = |number| json(&people(number..number + 1)[0]);
    let ack = lane
        .each(0, vec![good(0), oversize, good(1), unreadable, good(2)])
        .await
        .unwrap();
    assert_eq!((ack.accepted, ack.rejected), (3, 2));
    assert_eq!(
        evidence::reasons(&ack.rejections),
        [
            (1, RejectionReason::RowTooLarge, String::new()),
            (3, RejectionReason::Unreadable, String::new()),
        ]
    );
    let rejected = evidence::rejected_rows(&app, "b").await;
    assert_eq!(rejected[0].original, b"{\"a\0\xff");
    assert_eq!(rejected[0].original_size, 9_000_000_000);
    let detail = &rejected[0].rejection.as_ref().unwrap().detail;
    assert!(
        detail.contains("9000000000 bytes") && detail.contains(&"ab".repeat(32)),
        "{detail}"
    );
    assert_eq!(rejected[1].original, b"a,b,\xff\0");
    let detail = &rejected[1].rejection.as_ref().unwrap().detail;
    assert_eq!(detail, "line 7: 3 columns,\u{fffd} 5 expected");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_a_loader_are_cut() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let unreadable = Row {
        row: Some(row::Row::Unreadable(UnreadableRow {
            detail: "é".repeat(5_000),
            original: vec![].into(),
        })),
    };
    let ack = lane.each(0, vec![unreadable]).await.unwrap();
    assert_eq!(ack.rejections[0].detail, "é".repeat(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_struct_with_a_number_that_json_cannot_hold_is_rejected_alone() {
    let app = App::start().await;
    let value = |kind| Value { kind: Some(kind) };
    let row = |(nth, number): (usize, &f64)| Struct {
        fields: [
            (
                "email".to_owned(),
                value(Kind::StringValue(format!("n{nth}@x.example"))),
            ),
            (
                "list".to_owned(),
                value(Kind::ListValue(ListValue {
                    values: vec![value(Kind::NumberValue(*number))],
                })),
            ),
        ]
        .into(),
    };
    let numbers = [1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX];
    let request = IngestRowsRequest {
        batch_id: "b".into(),
        source: "manual".into(),
        rows: numbers.iter().enumerate().map(row).collect(),
        ..Default::default()
    };
    let response = evidence::ingest(&app, request).await.unwrap();
    assert_eq!(evidence::outcome_fates(&response.outcomes), "arrra");
    for outcome in &response.outcomes[1..4] {
        let rejection = outcome.rejection.as_ref().unwrap();
        assert_eq!(rejection.reason(), RejectionReason::NumberOutOfRange);
    }
    let loads = evidence::raw_loads(&app, "b").await;
    let stored: serde_json::Value = serde_json::from_str(&loads[0].raw_data_json).unwrap();
    assert_eq!(stored["list"], serde_json::json!([1.5]));
}

/// Pages are cut by bytes so that a client with gRPC's default of 4 MiB can read them, whatever their rows
/// are made of: here names of a thousand bytes repeat in every row.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_loads_with_long_names_fits_a_client_with_default_limits() {
    const ROWS: usize = 1_000;
    let app = App::start().await;
    let (batch_id, source) = ("b".repeat(1_000), "s".repeat(1_000));
    let (mut lane, _) = app.lane(open(&batch_id, &source)).await.unwrap();
    let filler = "x".repeat(1_700);
    let domain = "d".repeat(50) + "." + &"e".repeat(50) + "." + &"f".repeat(50) + ".example";
    let rows: Vec<_> = (0..ROWS)
        .map(|number| format!(r#"{{"email":"{number:0>60}@{domain}","n":"{filler}"}}"#))
        .collect();
    lane.rows(0, &rows).await.unwrap();
    assert_eq!(evidence::raw_loads(&app, &batch_id).await.len(), ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_at_two_mebibytes() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let filler = "x".repeat(200_000);
    let rows: Vec<_> = (0..30)
        .map(|number| format!(r#"{{"email":"p{number}@x.example","n":"{filler}"}}"#))
        .collect();
    lane.rows(0, &rows).await.unwrap();
    let request = ListRawLoadsRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let page = app.intake().await.list_raw_loads(request).await.unwrap();
    let page = page.into_inner();
    assert_eq!(page.loads.len(), 10);
    assert!(!page.next_page_token.is_empty());
    assert_eq!(evidence::raw_loads(&app, "b").await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_large_rejected_rows_fit_a_client_with_default_limits() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    for batch in 0..3 {
        let rows = vec![vec![b'x'; 2 * 1024 * 1024]; 3];
        assert_eq!(lane.rows(batch * 3, &rows).await.unwrap().rejected, 3);
    }
    let rejected = evidence::rejected_rows(&app, "b").await;
    assert_eq!(rejected.len(), 9);
    assert!(rejected.iter().all(|row| row.original.len() == 1024 * 1024));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_batches_with_large_notes_fit_a_client_with_default_limits() {
    const BATCHES: usize = 20;
    let app = App::start().await;
    // Numbers grow most on their way from JSON to a Struct.
    let number = Value {
        kind: Some(Kind::NumberValue(1.0)),
    };
    let list = Kind::ListValue(ListValue {
        values: vec![number; 30_000],
    });
    let notes = Struct {
        fields: [("n".to_owned(), Value { kind: Some(list) })].into(),
    };
    for number in 0..BATCHES {
        let open = Open {
            metadata: Some(notes.clone()),
            ..open(&format!("b{number}"), "apollo")
        };
        app.lane(open).await.unwrap();
    }
    let mut client = app.intake().await;
    let mut batches = 0;
    let mut request = ListBatchesRequest::default();
    loop {
        let page = client.list_batches(request.clone()).await.unwrap();
        let page = page.into_inner();
        batches += page.batches.len();
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(batches, BATCHES);
}
