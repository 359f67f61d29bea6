//! The whole corpus at once, each way that rows come in.

use leadvault::proto::{
    intake::v1::{IngestRowsRequest, ListAuditLogRequest, TraceRowRequest, trace_row_request::Key},
    r#type::v1::RejectionReason,
};

use super::corpus::{Bad, bad_rows, good_row};
use crate::harness::{App, evidence, open, rows::json};

/// Two good rows to each bad one; `Err` is a bad one.
fn mixture() -> Vec<Result<String, Bad>> {
    let mut rows = Vec::new();
    for (nth, bad) in bad_rows().into_iter().enumerate() {
        rows.extend([
            Ok(good_row(nth)),
            Err(bad),
            Ok(format!(r#"{{"email":"plain{nth}@x.example"}}"#)),
        ]);
    }
    rows
}

fn bytes(row: &Result<String, Bad>) -> &[u8] {
    match row {
        Ok(text) => text.as_bytes(),
        Err(bad) => &bad.row,
    }
}

fn expected(mixture: &[Result<String, Bad>]) -> Vec<(i64, RejectionReason, String)> {
    (0..)
        .zip(mixture)
        .filter_map(|(offset, row)| {
            let bad = row.as_ref().err()?;
            Some((offset, bad.reason, bad.pointer.to_owned()))
        })
        .collect()
}

/// Good rows in, each bad one with its own reason and bytes, and nothing that is in fails a listing.
async fn assert_kept(app: &App, batch_id: &str, mixture: &[Result<String, Bad>]) {
    const MIB: usize = 1024 * 1024;
    let rejected = evidence::rejected_rows(app, batch_id).await;
    let rejections = rejected.iter().map(|row| row.rejection.as_ref().unwrap());
    assert_eq!(evidence::reasons(rejections), expected(mixture));
    for row in &rejected {
        let offset = usize::try_from(row.rejection.as_ref().unwrap().offset).unwrap();
        let sent = bytes(&mixture[offset]);
        assert_eq!(row.original_size, i64::try_from(sent.len()).unwrap());
        assert!(row.original == sent[..sent.len().min(MIB)], "row {offset}");
    }

    let loads = evidence::raw_loads(app, batch_id).await;
    let sent: Vec<_> = mixture.iter().filter_map(|row| row.as_ref().ok()).collect();
    assert_eq!(loads.len(), sent.len());
    for (load, sent) in loads.iter().zip(sent) {
        let stored: serde_json::Value = serde_json::from_str(&load.raw_data_json).unwrap();
        let sent: serde_json::Value = serde_json::from_str(sent).unwrap();
        assert_eq!(stored["email"], sent["email"]);
        assert_eq!(stored["email"], load.email.as_str());
        assert_eq!(
            stored.as_object().unwrap().len(),
            sent.as_object().unwrap().len()
        );
        serde_json::from_str::<serde_json::Value>(&load.metadata_json).unwrap();
    }
    evidence::assert_conserved(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_everything_that_postgresql_hates() {
    let app = App::start_with(&["--max-frame-bytes", "20000000"]).await;
    let mixture = mixture();
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let ack = lane
        .each(0, mixture.iter().map(|row| json(bytes(row))).collect())
        .await
        .unwrap();
    let count = |rows: usize| i32::try_from(rows).unwrap();
    let bad = expected(&mixture);
    assert_eq!(evidence::reasons(&ack.rejections), bad);
    assert_eq!(ack.rejected, count(bad.len()));
    assert_eq!(ack.accepted, count(mixture.len() - bad.len()));
    assert_kept(&app, "b", &mixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_as_ndjson() {
    let app = App::start_with(&["--max-frame-bytes", "20000000"]).await;
    let mixture = mixture();
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let rows: Vec<_> = mixture.iter().map(bytes).collect();
    let ack = lane.rows(0, &rows).await.unwrap();
    assert_eq!(evidence::reasons(&ack.rejections), expected(&mixture));
    assert_kept(&app, "b", &mixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_through_ingest_rows() {
    let app = App::start_with(&["--max-frame-bytes", "20000000"]).await;
    let mixture = mixture();
    let request = IngestRowsRequest {
        batch_id: "b".into(),
        source: "apollo".into(),
        json_rows: mixture
            .iter()
            .map(|row| bytes(row).to_vec().into())
            .collect(),
        ..Default::default()
    };
    let response = evidence::ingest(&app, request).await.unwrap();
    let rejections: Vec<_> = response
        .outcomes
        .iter()
        .filter_map(|outcome| outcome.rejection.clone())
        .collect();
    assert_eq!(evidence::reasons(&rejections), expected(&mixture));
    assert_kept(&app, "b", &mixture).await;
}

/// With the default limits a 5 MiB row fits a frame, and is rejected with its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_five_mebibytes_is_rejected_alone() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let large = vec![b'x'; 5 * 1024 * 1024];
    let good = br#"{"email":"a@x.example"}"#.to_vec();
    let ack = lane.rows(0, &[good, large.clone()]).await.unwrap();
    assert_eq!((ack.accepted, ack.rejected), (1, 1));
    assert_eq!(ack.rejections[0].reason(), RejectionReason::RowTooLarge);
    assert!(ack.rejections[0].detail.contains("max-row-bytes"));
    let rejected = evidence::rejected_rows(&app, "b").await;
    assert_eq!(rejected[0].original, large[..1024 * 1024]);
    assert_eq!(rejected[0].original_size, 5 * 1024 * 1024);
}

/// Whatever of a row is kept can be followed and listed with a client's default limits.
#[tokio::test(flavor = "multi_thread")]
async fn every_bad_row_can_be_traced_and_listed_by_its_reason() {
    let app = App::start_with(&["--max-frame-bytes", "20000000"]).await;
    let bad = bad_rows();
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.each(0, bad.iter().map(|bad| json(&bad.row)).collect())
        .await
        .unwrap();
    let mut client = app.intake().await;
    for (offset, bad) in (0..).zip(&bad) {
        let request = TraceRowRequest {
            key: Some(Key::Row(leadvault::proto::intake::v1::RowIdentity {
                batch_id: "b".into(),
                lane: 0,
                offset,
            })),
        };
        let trace = client.trace_row(request).await.unwrap().into_inner();
        let rejection = trace.rejected_row.unwrap().rejection.unwrap();
        assert_eq!(rejection.reason(), bad.reason, "row {offset}");
    }
    client
        .list_audit_log(ListAuditLogRequest::default())
        .await
        .unwrap();
}
