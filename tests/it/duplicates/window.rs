//! What is a duplicate of what, and for how long.

use leadvault::proto::intake::v1::{
    DuplicatePolicy::{AcceptChanged, Mark},
    IngestRowsRequest, ListRawLoadsRequest, LoadStatus,
};

use super::{fates, row_with};
use crate::harness::{App, evidence, open, rows::row};

/// Moves when the loads of an email came, as an administrator would.
async fn backdate(app: &App, email: &str, status: &str, interval: &str) {
    app.sql()
        .await
        .run(&format!(
            "UPDATE intake.raw_loads SET created_at = created_at - interval '{interval}'
             WHERE raw_data ->> 'email' = '{email}' AND status = '{status}'"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marked_duplicate_is_stored_whatever_it_says() {
    let app = App::start().await;
    let rows = ["same", "same", "other"].map(|title| row_with("a@x.example", title));
    assert_eq!(fates(&app, "b", Mark, &rows).await, "add");
    let loads = evidence::raw_loads(&app, "b").await;
    let stored: Vec<_> = loads.iter().map(|load| load.status()).collect();
    assert_eq!(
        stored,
        [
            LoadStatus::Pending,
            LoadStatus::Duplicate,
            LoadStatus::Duplicate
        ]
    );
    assert!(loads[2].raw_data_json.contains("other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_many_spellings() {
    let app = App::start().await;
    let spellings = [
        "info@xn--bcher-kva.example",
        "INFO@bücher.example",
        "  Info@BÜCHER.Example\t",
        "info@bu\u{308}cher.example",
        "info@bücher。example",
    ];
    let rows = spellings.map(|email| serde_json::json!({ "email": email }).to_string());
    assert_eq!(fates(&app, "b", Mark, &rows).await, "adddd");
    // Any spelling finds them all, and each load shows the normalized one and keeps what was sent.
    for spelling in spellings {
        let request = ListRawLoadsRequest {
            email: spelling.into(),
            ..Default::default()
        };
        let found = app.intake().await.list_raw_loads(request).await.unwrap();
        let found = found.into_inner().loads;
        assert_eq!(found.len(), spellings.len(), "{spelling:?}");
        for (load, sent) in found.iter().zip(spellings) {
            assert_eq!(load.email, spellings[0]);
            let raw: serde_json::Value = serde_json::from_str(&load.raw_data_json).unwrap();
            assert_eq!(raw["email"], sent);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dots_and_tags_are_part_of_an_address() {
    let app = App::start().await;
    let rows = ["ab@gmail.com", "a.b@gmail.com", "ab+c@gmail.com"].map(row);
    assert_eq!(fates(&app, "b", Mark, &rows).await, "aaa");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_spans_batches_sources_and_ways_in() {
    let app = App::start().await;
    let email = [row("a@x.example")];
    let (mut lane, _) = app.lane(open("stream", "apollo")).await.unwrap();
    assert_eq!(lane.rows(0, &email).await.unwrap().accepted, 1);
    assert_eq!(fates(&app, "call", Mark, &email).await, "d");
    let (mut lane, _) = app.lane(open("other", "apify")).await.unwrap();
    assert_eq!(lane.rows(0, &email).await.unwrap().duplicate, 1);
    let sql = app.sql().await;
    let message: String = sql
        .one(
            "SELECT message FROM intake.f_ingest_json(
                 ARRAY['{\"email\": \"a@x.example\"}'::jsonb], 'psql', 'by-hand')
             WHERE load_id IS NOT NULL",
            &[],
        )
        .await;
    assert!(message.starts_with("duplicate"), "{message}");
    evidence::assert_conserved(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_ends_after_thirty_days() {
    let app = App::start().await;
    let email = [row("a@x.example")];
    assert_eq!(fates(&app, "b", Mark, &email).await, "a");
    backdate(
        &app,
        "a@x.example",
        "pending",
        "29 days 23 hours 59 minutes",
    )
    .await;
    assert_eq!(fates(&app, "b", Mark, &email).await, "d");
    backdate(&app, "a@x.example", "pending", "1 minute").await;
    assert_eq!(fates(&app, "b", Mark, &email).await, "a");
    // The row that was accepted now begins a window of its own.
    assert_eq!(fates(&app, "b", Mark, &email).await, "d");
}

/// The duplicate of 16 days ago would still hold the window open, if it counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_does_not_renew_the_window() {
    let app = App::start().await;
    let email = [row("a@x.example")];
    assert_eq!(fates(&app, "b", Mark, &email).await, "a");
    backdate(&app, "a@x.example", "pending", "15 days").await;
    assert_eq!(fates(&app, "b", Mark, &email).await, "d");
    backdate(&app, "a@x.example", "pending", "16 days").await;
    backdate(&app, "a@x.example", "duplicate", "16 days").await;
    assert_eq!(fates(&app, "b", Mark, &email).await, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_row_claims_nothing() {
    let app = App::start().await;
    let bad = r#"{"email":"a@x.example","n":1e999}"#.to_owned();
    assert_eq!(
        fates(&app, "b", Mark, std::slice::from_ref(&bad)).await,
        "r"
    );
    assert_eq!(
        fates(&app, "b", Mark, &[bad, row("a@x.example")]).await,
        "ra"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_validated_claims_nothing() {
    let app = App::start().await;
    let request = IngestRowsRequest {
        source: "feed".into(),
        json_rows: vec![row("a@x.example").into()],
        validate_only: true,
        ..Default::default()
    };
    evidence::ingest(&app, request).await.unwrap();
    assert_eq!(fates(&app, "b", Mark, &[row("a@x.example")]).await, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_is_accepted_where_the_batch_says_so() {
    let app = App::start().await;
    let titles = ["one", "one", "two", "one", "one"];
    let rows = titles.map(|title| row_with("a@x.example", title));
    assert_eq!(fates(&app, "b", AcceptChanged, &rows).await, "adaad");
}

/// Content is what PostgreSQL keeps: white space, the order of keys and repeated ones are no change.
#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_of_the_same_content_is_no_change() {
    let app = App::start().await;
    let rows = [
        r#"{"email":"a@x.example","n":{"a":1.0,"b":[]}}"#,
        r#" { "n" : { "b":[ ], "a": 1.0 }, "email" : "a@x.example" } "#,
        r#"{"email":"no address","email":"\u0061@x.example","n":{"a":1.0,"b":[]}}"#,
        r#"{"email":"a@x.example","n":{"a":1.0,"b":[null]}}"#,
    ]
    .map(str::to_owned);
    assert_eq!(fates(&app, "b", AcceptChanged, &rows).await, "adda");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_look_at_the_last_accepted_row_whatever_batch_it_was_in() {
    let app = App::start().await;
    let row = |title: &str| vec![row_with("a@x.example", title)];
    assert_eq!(fates(&app, "marks", Mark, &row("one")).await, "a");
    // Stored as a duplicate, so that it is not what later rows are measured against.
    assert_eq!(fates(&app, "marks", Mark, &row("two")).await, "d");
    assert_eq!(
        fates(&app, "updates", AcceptChanged, &row("one")).await,
        "d"
    );
    assert_eq!(
        fates(&app, "updates", AcceptChanged, &row("two")).await,
        "a"
    );
    assert_eq!(
        fates(&app, "updates", AcceptChanged, &row("two")).await,
        "d"
    );
    assert_eq!(fates(&app, "marks", Mark, &row("three")).await, "d");
}

/// A change renews the window: it is an accepted row.
#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_change_renews_the_window() {
    let app = App::start().await;
    let rows = |titles: &[&str]| -> Vec<_> {
        titles
            .iter()
            .map(|title| row_with("a@x.example", title))
            .collect()
    };
    assert_eq!(fates(&app, "b", AcceptChanged, &rows(&["one"])).await, "a");
    backdate(&app, "a@x.example", "pending", "31 days").await;
    // The second one of a frame holds the claim, too.
    assert_eq!(
        fates(&app, "b", AcceptChanged, &rows(&["one", "two"])).await,
        "aa"
    );
    assert_eq!(fates(&app, "b", AcceptChanged, &rows(&["two"])).await, "d");
    assert_eq!(fates(&app, "marks", Mark, &rows(&["three"])).await, "d");
}
