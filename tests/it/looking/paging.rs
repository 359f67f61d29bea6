//! Pages: their size, their tokens, and what they show while others write.

use leadvault::proto::intake::v1::{
    ListAuditLogRequest, ListBatchesRequest, ListOrder, ListRawLoadsRequest,
    ListRejectedRowsRequest,
};

use super::list_loads;
use crate::harness::{App, emails, refused, row};

async fn filled(count: usize) -> (App, Vec<i64>) {
    let app = App::start().await;
    let emails = emails(count);
    let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
    let mut loads = Vec::new();
    for emails in emails.chunks(1_000) {
        loads.extend(app.ingest_emails("b", "apollo", emails).await);
    }
    (app, loads)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_50_rows_unless_asked_otherwise_and_1000_at_the_most() {
    let (app, loads) = filled(1_060).await;
    for (page_size, length) in [
        (0, 50),
        (1, 1),
        (7, 7),
        (1_000, 1_000),
        (1_001, 1_000),
        (i32::MAX, 1_000),
    ] {
        let page = list_loads(
            &app,
            ListRawLoadsRequest {
                page_size,
                ..Default::default()
            },
        )
        .await;
        assert_eq!(page.loads.len(), length, "page_size {page_size}");
        assert!(
            page.loads
                .iter()
                .map(|load| load.load_id)
                .eq(loads[..length].iter().copied())
        );
        assert_ne!(page.next_page_token, "");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_page_has_no_token_also_when_it_is_full() {
    let (app, loads) = filled(6).await;
    let mut request = ListRawLoadsRequest {
        page_size: 3,
        ..Default::default()
    };
    let first = list_loads(&app, request.clone()).await;
    request.page_token = first.next_page_token;
    let second = list_loads(&app, request).await;
    assert_eq!(second.next_page_token, "");
    let seen = first
        .loads
        .iter()
        .chain(&second.loads)
        .map(|load| load.load_id);
    assert_eq!(seen.collect::<Vec<_>>(), loads);
    app.stop().await;
}

/// Pages through all loads while every page is followed by new ones; what was seen.
async fn page_while_others_insert(app: &App, order: ListOrder, pages: usize) -> Vec<i64> {
    let mut request = ListRawLoadsRequest {
        page_size: 4,
        source: "apollo".into(),
        order_by: order.into(),
        ..Default::default()
    };
    let mut seen = Vec::new();
    for page in 0..pages {
        let answer = list_loads(app, request.clone()).await;
        seen.extend(answer.loads.iter().map(|load| load.load_id));
        request.page_token = answer.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        let fresh = format!("{order:?}-{page}@x.example");
        app.ingest(
            &format!("{order:?}-{page}"),
            "apollo",
            &[row(&fresh), row(&fresh)],
        )
        .await;
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_misses_and_repeats_nothing_while_others_insert() {
    let (app, loads) = filled(20).await;
    let oldest = page_while_others_insert(&app, ListOrder::OldestFirst, 5).await;
    assert_eq!(oldest, loads);
    let before = list_loads(
        &app,
        ListRawLoadsRequest {
            page_size: 1_000,
            ..Default::default()
        },
    )
    .await;
    let mut expected: Vec<i64> = before.loads.iter().map(|load| load.load_id).collect();
    expected.reverse();
    let newest = page_while_others_insert(&app, ListOrder::NewestFirst, 100).await;
    assert_eq!(
        newest, expected,
        "what came later than the first page is not shown"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_began_at_the_same_moment_are_each_listed_once() {
    let app = App::start().await;
    for n in 0..7 {
        app.ingest(&format!("b{n}"), "apollo", &[row("a@x.example")])
            .await;
    }
    app.sql()
        .await
        .run("UPDATE intake.batches SET created_at = '2026-01-01'")
        .await;
    for (order, expected) in [
        (
            ListOrder::OldestFirst,
            ["b0", "b1", "b2", "b3", "b4", "b5", "b6"],
        ),
        (
            ListOrder::NewestFirst,
            ["b6", "b5", "b4", "b3", "b2", "b1", "b0"],
        ),
    ] {
        let mut request = ListBatchesRequest {
            page_size: 2,
            order_by: order.into(),
            ..Default::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = app
                .intake()
                .await
                .list_batches(request.clone())
                .await
                .unwrap()
                .into_inner();
            seen.extend(page.batches.into_iter().map(|batch| batch.batch_id));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
    app.stop().await;
}

/// A token of `ListRawLoads` without filters.
async fn token(app: &App) -> String {
    let request = ListRawLoadsRequest {
        page_size: 1,
        ..Default::default()
    };
    list_loads(app, request).await.next_page_token
}

async fn assert_token_refused(app: &App, request: ListRawLoadsRequest) {
    let refusal = refused(app.intake().await.list_raw_loads(request.clone()).await);
    assert_eq!(refusal.reason, "INVALID_PAGE_TOKEN", "{request:?}");
    assert_eq!(refusal.fields, ["page_token"]);
    assert_eq!(refusal.code, tonic::Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_on_with_another_page_size_but_not_with_other_filters() {
    let (app, loads) = filled(12).await;
    let page_token = token(&app).await;
    let same = ListRawLoadsRequest {
        page_token,
        page_size: 5,
        ..Default::default()
    };
    let page = list_loads(&app, same.clone()).await;
    assert!(
        page.loads
            .iter()
            .map(|load| load.load_id)
            .eq(loads[1..6].iter().copied())
    );
    for other in [
        ListRawLoadsRequest {
            batch_id: "b".into(),
            ..same.clone()
        },
        ListRawLoadsRequest {
            source: "apollo".into(),
            ..same.clone()
        },
        ListRawLoadsRequest {
            status: 1,
            ..same.clone()
        },
        ListRawLoadsRequest {
            email: "a@x.example".into(),
            ..same.clone()
        },
        ListRawLoadsRequest {
            created_from: Some(super::at(0)),
            ..same.clone()
        },
        ListRawLoadsRequest {
            order_by: ListOrder::NewestFirst.into(),
            ..same.clone()
        },
    ] {
        assert_token_refused(&app, other).await;
    }
    app.stop().await;
}

/// Also one that lost its end in a copy: it must not lead to another place.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_token_is_refused() {
    let (app, _) = filled(12).await;
    let request = |page_token: String| ListRawLoadsRequest {
        page_token,
        ..Default::default()
    };
    // The token behind the eleventh load, so that its key has two digits.
    let page = list_loads(
        &app,
        ListRawLoadsRequest {
            page_size: 11,
            ..Default::default()
        },
    )
    .await;
    let whole = page.next_page_token;
    for length in 1..whole.len() {
        assert_token_refused(&app, request(whole[..length].to_owned())).await;
    }
    for broken in [
        "?",
        "\0",
        "AAAA",
        "é",
        " ",
        &format!("{whole}AAAA"),
        &"A".repeat(10_000),
    ] {
        assert_token_refused(&app, request(broken.to_owned())).await;
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_token_refused(&app, request(changed)).await;
    }
    assert_eq!(list_loads(&app, request(whole)).await.loads.len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_call_is_refused() {
    let (app, _) = filled(2).await;
    let page_token = token(&app).await;
    let mut client = app.intake().await;
    let refusals = [
        refused(
            client
                .list_rejected_rows(ListRejectedRowsRequest {
                    page_token: page_token.clone(),
                    ..Default::default()
                })
                .await,
        ),
        refused(
            client
                .list_batches(ListBatchesRequest {
                    page_token: page_token.clone(),
                    ..Default::default()
                })
                .await,
        ),
        refused(
            client
                .list_audit_log(ListAuditLogRequest {
                    page_token,
                    ..Default::default()
                })
                .await,
        ),
    ];
    for refusal in refusals {
        assert_eq!(refusal.reason, "INVALID_PAGE_TOKEN");
        assert_eq!(refusal.fields, ["page_token"]);
    }
    app.stop().await;
}
