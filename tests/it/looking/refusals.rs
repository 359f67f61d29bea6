//! Law 13: what a caller gets wrong is `INVALID_ARGUMENT` and names the field, never INTERNAL; and what we get
//! wrong tells the caller nothing of how.

use leadvault::proto::intake::v1::{
    GetBatchRequest, GetRawLoadRequest, ListAuditLogRequest, ListBatchesRequest,
    ListRawLoadsRequest, ListRejectedRowsRequest,
};
use prost_types::Timestamp;
use tonic::Code;

use crate::harness::{App, assert_field, refused, row};

/// What no name may be.
fn bad_names() -> [String; 5] {
    ["a\0b", " ", "\t", "a\nb", &"x".repeat(1_001)].map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn law_13_bad_names_are_refused_by_their_field() {
    let app = App::start().await;
    let mut client = app.intake().await;
    for name in bad_names() {
        let batch_id = name.clone();
        assert_field(
            client
                .get_batch(GetBatchRequest {
                    batch_id: batch_id.clone(),
                })
                .await,
            "batch_id",
        );
        let request = ListRawLoadsRequest {
            batch_id: batch_id.clone(),
            ..Default::default()
        };
        assert_field(client.list_raw_loads(request).await, "batch_id");
        let request = ListRejectedRowsRequest {
            batch_id,
            ..Default::default()
        };
        assert_field(client.list_rejected_rows(request).await, "batch_id");
        let request = ListRawLoadsRequest {
            source: name.clone(),
            ..Default::default()
        };
        assert_field(client.list_raw_loads(request).await, "source");
        let request = ListBatchesRequest {
            source: name.clone(),
            ..Default::default()
        };
        assert_field(client.list_batches(request).await, "source");
        let request = ListAuditLogRequest {
            action: name,
            ..Default::default()
        };
        assert_field(client.list_audit_log(request).await, "action");
    }
    let request = GetBatchRequest::default();
    assert_field(client.get_batch(request).await, "batch_id");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_13_an_email_that_is_none_is_refused() {
    let app = App::start().await;
    for email in [
        "john",
        "a@localhost",
        "a\0@x.example",
        "\0",
        " ",
        &"x".repeat(321),
    ] {
        let request = ListRawLoadsRequest {
            email: email.into(),
            ..Default::default()
        };
        assert_field(app.intake().await.list_raw_loads(request).await, "email");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_13_numbers_that_are_no_value_of_their_enum_are_refused() {
    let app = App::start().await;
    let mut client = app.intake().await;
    for number in [-1, 5, 99, i32::MIN, i32::MAX] {
        let loads = ListRawLoadsRequest::default;
        assert_field(
            client
                .list_raw_loads(ListRawLoadsRequest {
                    status: number,
                    ..loads()
                })
                .await,
            "status",
        );
        assert_field(
            client
                .list_raw_loads(ListRawLoadsRequest {
                    order_by: number,
                    ..loads()
                })
                .await,
            "order_by",
        );
        let batches = ListBatchesRequest::default;
        assert_field(
            client
                .list_batches(ListBatchesRequest {
                    state: number,
                    ..batches()
                })
                .await,
            "state",
        );
        assert_field(
            client
                .list_batches(ListBatchesRequest {
                    order_by: number,
                    ..batches()
                })
                .await,
            "order_by",
        );
        let request = ListAuditLogRequest {
            order_by: number,
            ..Default::default()
        };
        assert_field(client.list_audit_log(request).await, "order_by");
        let request = ListRejectedRowsRequest {
            order_by: number,
            ..Default::default()
        };
        assert_field(client.list_rejected_rows(request).await, "order_by");
    }
    for reason in [-1, 1_000, i32::MAX] {
        let request = ListRejectedRowsRequest {
            reason,
            ..Default::default()
        };
        assert_field(client.list_rejected_rows(request).await, "reason");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_13_negative_page_sizes_are_refused() {
    let app = App::start().await;
    let mut client = app.intake().await;
    for page_size in [-1, i32::MIN] {
        let request = ListRawLoadsRequest {
            page_size,
            ..Default::default()
        };
        assert_field(client.list_raw_loads(request).await, "page_size");
        let request = ListBatchesRequest {
            page_size,
            ..Default::default()
        };
        assert_field(client.list_batches(request).await, "page_size");
        let request = ListRejectedRowsRequest {
            page_size,
            ..Default::default()
        };
        assert_field(client.list_rejected_rows(request).await, "page_size");
        let request = ListAuditLogRequest {
            page_size,
            ..Default::default()
        };
        assert_field(client.list_audit_log(request).await, "page_size");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_13_times_that_are_none_are_refused() {
    const YEAR_1: i64 = -62_135_596_800;
    const YEAR_10000: i64 = 253_402_300_800;
    let app = App::start().await;
    let mut client = app.intake().await;
    let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
    for bad in [
        time(0, -1),
        time(0, 1_000_000_000),
        // A leap second by chrono's count, and no Timestamp.
        time(59, 1_000_000_000),
        time(0, i32::MAX),
        time(i64::MAX, 0),
        time(i64::MIN, 0),
        time(YEAR_1 - 1, 0),
        time(YEAR_10000, 0),
    ] {
        let request = ListRawLoadsRequest {
            created_from: bad,
            ..Default::default()
        };
        assert_field(client.list_raw_loads(request).await, "created_from");
        let request = ListRawLoadsRequest {
            created_before: bad,
            ..Default::default()
        };
        assert_field(client.list_raw_loads(request).await, "created_before");
        let request = ListAuditLogRequest {
            from: bad,
            ..Default::default()
        };
        assert_field(client.list_audit_log(request).await, "from");
        let request = ListAuditLogRequest {
            before: bad,
            ..Default::default()
        };
        assert_field(client.list_audit_log(request).await, "before");
    }
    // The first and the last there is.
    let request = ListRawLoadsRequest {
        created_from: time(YEAR_1, 0),
        created_before: time(YEAR_10000 - 1, 999_999_999),
        ..Default::default()
    };
    client.list_raw_loads(request).await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_13_a_fault_of_ours_says_no_more_than_that() {
    let app = App::start().await;
    app.ingest("b", "apollo", &[row("secret@x.example")]).await;
    app.sql()
        .await
        .run("ALTER TABLE intake.raw_loads RENAME COLUMN raw_data TO secret_column")
        .await;
    let refusal = refused(
        app.intake()
            .await
            .get_raw_load(GetRawLoadRequest { load_id: 1 })
            .await,
    );
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::Internal, "INTERNAL")
    );
    assert!(!refusal.message.contains("secret"), "{refusal:?}");
    app.stop().await;
}
