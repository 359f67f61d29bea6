//! `ListRejectedRows`.

use leadvault::proto::{
    intake::v1::{ListOrder, ListRejectedRowsRequest, RejectedRow},
    r#type::v1::RejectionReason,
};

use super::list_rejected;
use crate::harness::{App, Lane, open, row};

async fn rows(app: &App, request: ListRejectedRowsRequest) -> Vec<RejectedRow> {
    let page = list_rejected(app, request).await;
    assert_eq!(page.next_page_token, "");
    page.rows
}

fn places(rows: &[RejectedRow]) -> Vec<(&str, i32, i64)> {
    rows.iter()
        .map(|row| {
            (
                row.batch_id.as_str(),
                row.lane,
                row.rejection.as_ref().unwrap().offset,
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_row_is_kept_with_its_bytes_and_its_reason() {
    let app = App::start().await;
    let sent: &[u8] =
        b"{\"email\":\"a@x.example\",\"v\":{\"a/b\":[\"\\u0000\"]},\"x\":\"\xc3\xa9\"}";
    app.ingest("b", "apollo", &[row("a@x.example").as_bytes(), sent])
        .await;
    let found = rows(&app, ListRejectedRowsRequest::default()).await;
    assert_eq!(found.len(), 1);
    let rejected = &found[0];
    assert_eq!(rejected.original, sent);
    assert_eq!(rejected.original_size, i64::try_from(sent.len()).unwrap());
    assert!(rejected.rejected_id > 0 && rejected.create_time.is_some());
    assert_eq!(places(&found), [("b", -1, 1)]);
    let rejection = rejected.rejection.as_ref().unwrap();
    assert_eq!(rejection.reason(), RejectionReason::UnstorableText);
    assert_eq!(rejection.pointer, "/v/a~1b/0");
    assert!(rejection.detail.contains("U+0000"), "{rejection:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_rows_are_found_by_batch_and_reason_in_both_orders() {
    let app = App::start().await;
    app.ingest("b1", "apollo", &["{}", "[]"]).await;
    let (mut lane, _) = Lane::open(app.intake().await, open("b2", "apollo"))
        .await
        .unwrap();
    lane.rows(0, &["", "{}"]).await.unwrap();
    app.ingest("b1", "apollo", &["{}"]).await;

    let request =
        |batch_id: &str, reason: RejectionReason, order: ListOrder| ListRejectedRowsRequest {
            batch_id: batch_id.into(),
            reason: reason.into(),
            order_by: order.into(),
            ..Default::default()
        };
    use ListOrder::{NewestFirst, OldestFirst};
    use RejectionReason::{EmptyRow, MissingEmail, NotAnObject, Unspecified};
    for (request, found) in [
        (
            request("", Unspecified, OldestFirst),
            vec![
                ("b1", -1, 0),
                ("b1", -1, 1),
                ("b2", 0, 0),
                ("b2", 0, 1),
                ("b1", -1, 2),
            ],
        ),
        (
            request("b2", Unspecified, OldestFirst),
            vec![("b2", 0, 0), ("b2", 0, 1)],
        ),
        (
            request("", MissingEmail, OldestFirst),
            vec![("b1", -1, 0), ("b2", 0, 1), ("b1", -1, 2)],
        ),
        (
            request("b1", MissingEmail, NewestFirst),
            vec![("b1", -1, 2), ("b1", -1, 0)],
        ),
        (request("b1", EmptyRow, OldestFirst), vec![]),
        (request("b1", NotAnObject, OldestFirst), vec![("b1", -1, 1)]),
        (request("nothing", Unspecified, OldestFirst), vec![]),
    ] {
        assert_eq!(
            places(&rows(&app, request.clone()).await),
            found,
            "{request:?}"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_originals_ends_at_two_mebibytes() {
    let app = App::start().await;
    let large = vec![b'x'; 700 * 1024];
    app.ingest("b", "apollo", &[&large, &large, &large, &large, &large])
        .await;
    let mut request = ListRejectedRowsRequest {
        page_size: 100,
        ..Default::default()
    };
    let mut offsets = Vec::new();
    loop {
        let page = list_rejected(&app, request.clone()).await;
        offsets.push(
            places(&page.rows)
                .iter()
                .map(|place| place.2)
                .collect::<Vec<_>>(),
        );
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(offsets, [vec![0, 1], vec![2, 3], vec![4]]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_above_one_mebibyte_is_shown_by_its_beginning_and_kept_whole() {
    let app = App::start().await;
    let large: Vec<u8> = (0..3_000_000_u32)
        .map(|n| b'a' + u8::try_from(n % 26).unwrap())
        .collect();
    app.ingest("b", "apollo", &[&large]).await;
    let found = rows(&app, ListRejectedRowsRequest::default()).await;
    assert_eq!(
        found[0].rejection.as_ref().unwrap().reason(),
        RejectionReason::RowTooLarge
    );
    assert_eq!(found[0].original_size, 3_000_000);
    assert_eq!(found[0].original.as_slice(), &large[..1024 * 1024]);
    let kept: Vec<u8> = app
        .sql()
        .await
        .one("SELECT original FROM intake.rejected_rows", &[])
        .await;
    assert!(kept == large);
    app.stop().await;
}
