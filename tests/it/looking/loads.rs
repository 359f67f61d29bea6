//! `GetRawLoad` and `ListRawLoads`.

use leadvault::proto::intake::v1::{
    GetRawLoadRequest, ListOrder, ListRawLoadsRequest, LoadStatus, RawLoad, TraceRowRequest,
    trace_row_request::Key,
};
use tonic::Code;

use super::{at, list_loads, load_ids, spread};
use crate::harness::{App, refused};

async fn get(app: &App, load_id: i64) -> RawLoad {
    let request = GetRawLoadRequest { load_id };
    let response = app.intake().await.get_raw_load(request).await.unwrap();
    response.into_inner().load.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_shows_all_that_is_known_of_it() {
    let app = App::start().await;
    let sent = r#"{"email":" John@Example.com","n":12345678901234567890.10}"#;
    let response = app.ingest("b", "apollo", &["{}", sent]).await;
    let outcome = &response.outcomes[1];
    let load = get(&app, outcome.load_id).await;
    assert_eq!(load.load_id, outcome.load_id);
    assert_eq!(
        (load.batch_id.as_str(), load.source.as_str()),
        ("b", "apollo")
    );
    assert_eq!(load.status(), LoadStatus::Pending);
    assert_eq!(load.email, "john@example.com");
    assert_eq!((load.lane, load.offset), (-1, 1));
    // Exact: no number went through a double.
    assert_eq!(
        load.raw_data_json,
        r#"{"n": 12345678901234567890.10, "email": " John@Example.com"}"#
    );
    assert_eq!(
        load.metadata_json,
        r#"{"lane": -1, "offset": 1, "normalized_email": "john@example.com"}"#
    );
    assert!(load.create_time.is_some() && load.promote_time.is_none());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_such_load() {
    let app = App::start().await;
    for load_id in [0, -1, 7, i64::MAX, i64::MIN] {
        let refusal = refused(
            app.intake()
                .await
                .get_raw_load(GetRawLoadRequest { load_id })
                .await,
        );
        assert_eq!(refusal.code, Code::NotFound, "{load_id}");
        assert_eq!(refusal.metadata["resource"], "load");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_are_found_by_each_filter_and_by_all_of_them() {
    let app = App::start().await;
    let a = app
        .ingest_emails("b1", "apollo", &["a@x.example", "b@x.example"])
        .await;
    let b = app
        .ingest_emails("b2", "apify", &["a@x.example", "c@x.example"])
        .await;
    let c = app.ingest_emails("b3", "apify", &["d@x.example"]).await;
    let sql = app.sql().await;
    sql.run(&format!(
        "UPDATE intake.raw_loads SET status = 'promoted', promoted_at = now() WHERE load_id = {};
         UPDATE intake.raw_loads SET status = 'failed' WHERE load_id = {}",
        b[1], c[0]
    ))
    .await;
    spread(&sql, "intake.raw_loads", "load_id", "created_at").await;

    let none = ListRawLoadsRequest::default;
    let cases = [
        (none(), vec![a[0], a[1], b[0], b[1], c[0]]),
        (
            ListRawLoadsRequest {
                batch_id: "b1".into(),
                ..none()
            },
            a.clone(),
        ),
        (
            ListRawLoadsRequest {
                batch_id: "b".into(),
                ..none()
            },
            vec![],
        ),
        (
            ListRawLoadsRequest {
                source: "apify".into(),
                ..none()
            },
            vec![b[0], b[1], c[0]],
        ),
        (
            ListRawLoadsRequest {
                status: LoadStatus::Pending.into(),
                ..none()
            },
            a.clone(),
        ),
        (
            ListRawLoadsRequest {
                status: LoadStatus::Duplicate.into(),
                ..none()
            },
            vec![b[0]],
        ),
        (
            ListRawLoadsRequest {
                status: LoadStatus::Promoted.into(),
                ..none()
            },
            vec![b[1]],
        ),
        (
            ListRawLoadsRequest {
                status: LoadStatus::Failed.into(),
                ..none()
            },
            vec![c[0]],
        ),
        (
            ListRawLoadsRequest {
                email: "a@x.example".into(),
                ..none()
            },
            vec![a[0], b[0]],
        ),
        // From is within, before is not.
        (
            ListRawLoadsRequest {
                created_from: Some(at(3)),
                ..none()
            },
            vec![b[1], c[0]],
        ),
        (
            ListRawLoadsRequest {
                created_before: Some(at(1)),
                ..none()
            },
            vec![a[0]],
        ),
        (
            ListRawLoadsRequest {
                created_from: Some(at(1)),
                created_before: Some(at(3)),
                ..none()
            },
            vec![a[1], b[0]],
        ),
        (
            ListRawLoadsRequest {
                batch_id: "b2".into(),
                source: "apify".into(),
                status: LoadStatus::Duplicate.into(),
                email: "a@x.example".into(),
                created_from: Some(at(2)),
                created_before: Some(at(3)),
                ..none()
            },
            vec![b[0]],
        ),
        (
            ListRawLoadsRequest {
                batch_id: "b1".into(),
                source: "apify".into(),
                ..none()
            },
            vec![],
        ),
        (
            ListRawLoadsRequest {
                source: "apify".into(),
                order_by: ListOrder::NewestFirst.into(),
                ..none()
            },
            vec![c[0], b[1], b[0]],
        ),
    ];
    for (request, found) in cases {
        assert_eq!(load_ids(&app, request.clone()).await, found, "{request:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_is_found_in_every_spelling_by_every_spelling() {
    let app = App::start().await;
    let mut expected = app
        .ingest_emails(
            "b",
            "apollo",
            &["info@xn--bcher-kva.example", "Info@Bücher.example"],
        )
        .await;
    expected.extend(
        app.ingest_emails(
            "c",
            "apify",
            &["  info@BÜCHER.example\\t", "INFO@XN--BCHER-KVA.EXAMPLE"],
        )
        .await,
    );
    app.ingest_emails(
        "c",
        "apify",
        &["info@bucher.example", "info2@bücher.example"],
    )
    .await;
    for spelling in [
        "info@xn--bcher-kva.example",
        "info@bücher.example",
        " INFO@Bücher.Example\n",
        "info@xn--BCHER-kva.example",
    ] {
        let request = ListRawLoadsRequest {
            email: spelling.into(),
            ..Default::default()
        };
        assert_eq!(load_ids(&app, request).await, expected, "{spelling:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_at_two_mebibytes_and_the_next_goes_on() {
    let app = App::start().await;
    let rows: Vec<String> = (0..12)
        .map(|n| {
            format!(
                r#"{{"email":"p{n}@x.example","v":"{}"}}"#,
                "v".repeat(250_000)
            )
        })
        .collect();
    let outcomes = app.ingest("b", "apollo", &rows).await.outcomes;
    let mut request = ListRawLoadsRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = list_loads(&app, request.clone()).await;
        let bytes: usize = page
            .loads
            .iter()
            .map(|load| load.raw_data_json.len() + load.metadata_json.len())
            .sum();
        assert!(bytes <= 2 * 1024 * 1024, "{bytes}");
        pages.push(page.loads);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let lengths: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(lengths, [8, 4]);
    let seen: Vec<i64> = pages
        .into_iter()
        .flatten()
        .map(|load| load.load_id)
        .collect();
    let stored: Vec<i64> = outcomes.iter().map(|outcome| outcome.load_id).collect();
    assert_eq!(seen, stored);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_came_past_the_functions_is_shown_as_it_is() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(
        "INSERT INTO intake.raw_loads (batch_id, source, raw_data) VALUES
             ('old', 'manual', '[1]'), ('old', 'manual', '{\"email\":\"a@x.example\"}');
         UPDATE intake.raw_loads SET metadata = '{\"lane\": \"fast\", \"offset\": 1e30}'",
    )
    .await;
    let page = list_loads(
        &app,
        ListRawLoadsRequest {
            source: "manual".into(),
            ..Default::default()
        },
    )
    .await;
    let emails: Vec<&str> = page.loads.iter().map(|load| load.email.as_str()).collect();
    assert_eq!(emails, ["", "a@x.example"]);
    assert!(page.loads[0].metadata_json.contains("fast"));
    // It has no identity that could be traced.
    let request = TraceRowRequest {
        key: Some(Key::LoadId(page.loads[0].load_id)),
    };
    let refusal = refused(app.intake().await.trace_row(request).await);
    assert_eq!(refusal.code, Code::NotFound);
    app.stop().await;
}
