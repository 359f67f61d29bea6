use leadvault::proto::intake::v1::IngestRowsRequest;

use crate::harness::{App, Lane, open};

#[tokio::test(flavor = "multi_thread")]
async fn rows_stream_in() {
    let app = App::start().await;
    let response = app
        .intake()
        .await
        .ingest_rows(IngestRowsRequest {
            source: "apollo".into(),
            json_rows: vec![
                br#"{"email":"a@x.example"}"#.to_vec().into(),
                b"{}".to_vec().into(),
            ],
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    println!("{response:?}");
    let (mut lane, opened) = Lane::open(app.intake().await, open("b", "apollo"))
        .await
        .unwrap();
    println!("{opened:?}");
    println!(
        "{:?}",
        lane.rows(
            0,
            &[
                r#"{"email":"A@x.example"}"#,
                "",
                r#"{"email":"b@x.example"}"#
            ]
        )
        .await
    );
    println!(
        "{:?}",
        lane.rows(
            1,
            &[
                "",
                r#"{"email":"b@x.example"}"#,
                r#"{"email":"c@x.example"}"#
            ]
        )
        .await
    );
    println!("{:?}", lane.finish(4).await);
    let batch = app
        .intake()
        .await
        .get_batch(leadvault::proto::intake::v1::GetBatchRequest {
            batch_id: "b".into(),
        })
        .await;
    println!("{batch:?}");
    app.stop().await;
}
