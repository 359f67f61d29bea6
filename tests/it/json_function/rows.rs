//! What becomes of each row.

use super::{Answer, ingest};
use crate::harness::{Sql, fresh_database};

async fn database() -> Sql {
    Sql::connect(&fresh_database().await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_has_an_answer_and_the_summary_comes_last() {
    let sql = database().await;
    let answers = ingest(
        &sql,
        "batch-123",
        "apollo",
        &[
            r#"{"email":"john@example.com","name":"John Doe"}"#,
            r#"{"name":"nobody"}"#,
            r#"{"email":" John@Example.COM "}"#,
        ],
    )
    .await;
    let john = answers[0].load_id.unwrap();
    let answer = |load_id: Option<i64>, status: &str, message: String| Answer {
        load_id,
        status: status.to_owned(),
        message,
    };
    assert_eq!(
        answers,
        [
            answer(Some(john), "success", "ingested".into()),
            answer(None, "error", "MISSING_EMAIL: the row has no email".into()),
            answer(
                Some(john + 1),
                "success",
                format!("duplicate of load {john}, accepted in the last 30 days")
            ),
            answer(
                None,
                "success",
                "inserted 1, skipped 2 (1 duplicate, 1 rejected)".into()
            ),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_keep_what_was_sent_and_where_it_came_from() {
    let sql = database().await;
    let answers = ingest(
        &sql,
        "b",
        "apify",
        &[
            r#"{"email":"John@Example.com","n":1.50}"#,
            r#"{"email":"john@example.com"}"#,
        ],
    )
    .await;
    let rows = sql
        .rows(
            "SELECT batch_id, source, raw_data::text, status, metadata::text
             FROM intake.raw_loads ORDER BY load_id",
            &[],
        )
        .await;
    let stored: Vec<[String; 5]> = rows
        .iter()
        .map(|row| std::array::from_fn(|column| row.get(column)))
        .collect();
    assert_eq!(
        stored,
        [
            [
                "b",
                "apify",
                r#"{"n": 1.50, "email": "John@Example.com"}"#,
                "pending",
                r#"{"lane": -1, "offset": 0, "normalized_email": "john@example.com"}"#
            ],
            [
                "b",
                "apify",
                r#"{"email": "john@example.com"}"#,
                "duplicate",
                r#"{"lane": -1, "offset": 1}"#
            ],
        ]
    );
    assert!(answers[0].load_id < answers[1].load_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_measured_from_the_last_accepted_row() {
    let sql = database().await;
    let first = ingest(&sql, "b", "apollo", &[r#"{"email":"a@x.example"}"#]).await[0].load_id;
    let age = async |days: i32| {
        sql.run(&format!(
            "UPDATE intake.raw_loads SET created_at = clock_timestamp() - interval '{days} days'
             WHERE load_id = {}",
            first.unwrap()
        ))
        .await;
    };
    // The window does not hang on the batch or the source, nor does a duplicate renew it.
    age(29).await;
    let again = ingest(&sql, "c", "apify", &[r#"{"email":"a@x.example"}"#]).await;
    assert!(
        again[0].message.starts_with("duplicate of load"),
        "{again:?}"
    );
    age(31).await;
    let later = ingest(&sql, "c", "apify", &[r#"{"email":"a@x.example"}"#]).await;
    assert_eq!(later[0].message, "ingested");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_rows_are_rejected_alone_and_kept() {
    let deep = format!(
        r#"{{"email":"a@x.example","v":{}{}}}"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    let long = format!(
        r#"{{"email":"a@x.example","company":"{}"}}"#,
        "c".repeat(1_001)
    );
    let large = format!(r#"{{"email":"a@x.example","v":"{}"}}"#, "v".repeat(262_144));
    let odd: [(&str, &str, &str); 15] = [
        ("{}", "MISSING_EMAIL", "/email"),
        (r#"{"email":null}"#, "MISSING_EMAIL", "/email"),
        (r#"{"email":" \t "}"#, "MISSING_EMAIL", "/email"),
        (r#"{"Email":"a@x.example"}"#, "MISSING_EMAIL", "/email"),
        (r#"{"email":["a@x.example"]}"#, "INVALID_EMAIL", "/email"),
        (r#"{"email":7}"#, "INVALID_EMAIL", "/email"),
        (r#"{"email":"a@localhost"}"#, "INVALID_EMAIL", "/email"),
        (r#"{"email":"jürgen@x.example"}"#, "INVALID_EMAIL", "/email"),
        ("[]", "NOT_AN_OBJECT", ""),
        ("null", "NOT_AN_OBJECT", ""),
        ("\"a@x.example\"", "NOT_AN_OBJECT", ""),
        (
            r#"{"email":"a@x.example","n":1e400}"#,
            "NUMBER_OUT_OF_RANGE",
            "",
        ),
        (&deep, "NESTED_TOO_DEEPLY", ""),
        (&long, "TEXT_TOO_LONG", "/company"),
        (&large, "ROW_TOO_LARGE", ""),
    ];
    let sql = database().await;
    let mut rows = vec![r#"{"email":"first@x.example"}"#];
    rows.extend(odd.iter().map(|(row, ..)| *row));
    rows.push(r#"{"email":"last@x.example"}"#);
    let answers = ingest(&sql, "b", "apollo", &rows).await;

    assert_eq!(answers[0].message, "ingested");
    assert_eq!(answers[odd.len() + 1].message, "ingested");
    assert_eq!(
        answers.last().unwrap().message,
        "inserted 2, skipped 15 (0 duplicate, 15 rejected)"
    );
    let kept = sql
        .rows(
            "SELECT reason, pointer, detail, convert_from(original, 'UTF8')::jsonb::text, row_offset
             FROM intake.rejected_rows ORDER BY row_offset",
            &[],
        )
        .await;
    assert_eq!(kept.len(), odd.len());
    for (nth, (row, reason, pointer)) in odd.iter().enumerate() {
        let answer = &answers[nth + 1];
        let detail: &str = kept[nth].get(2);
        assert_eq!(answer.load_id, None);
        assert_eq!(answer.status, "error");
        assert_eq!(answer.message, format!("{reason}: {detail}"));
        assert_eq!(
            (kept[nth].get::<_, &str>(0), kept[nth].get::<_, &str>(1)),
            (*reason, *pointer)
        );
        let same: bool = sql
            .one(
                "SELECT $1::text::jsonb = $2::text::jsonb",
                &[row, &kept[nth].get::<_, &str>(3)],
            )
            .await;
        assert!(same, "{row}");
        assert_eq!(kept[nth].get::<_, i64>(4), i64::try_from(nth).unwrap() + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_among_the_rows_is_an_empty_row() {
    let sql = database().await;
    let rows = sql
        .rows(
            r#"SELECT message FROM intake.f_ingest_json(
                   ARRAY[NULL, '{"email":"a@x.example"}'::jsonb], 'apollo', 'b')"#,
            &[],
        )
        .await;
    let messages: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert!(messages[0].starts_with("EMPTY_ROW"), "{messages:?}");
    assert_eq!(messages[1], "ingested");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sql_cannot_decide_is_refused_with_a_hint() {
    let sql = database().await;
    let answers = ingest(
        &sql,
        "b",
        "apollo",
        &[
            r#"{"email":"info@bücher.example"}"#,
            r#"{"email":"info@xn--bcher-kva.example"}"#,
        ],
    )
    .await;
    for answer in &answers[..2] {
        assert!(answer.message.starts_with("INVALID_EMAIL"), "{answer:?}");
        assert!(
            answer.message.contains("send it through the IntakeService"),
            "{answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stored_row_and_every_call_leaves_an_audit_row() {
    let sql = database().await;
    sql.run("SET leadvault.actor = 'anna'").await;
    let answers = ingest(
        &sql,
        "b",
        "apollo",
        &[
            r#"{"email":"a@x.example"}"#,
            r#"{"email":"a@x.example"}"#,
            "{}",
        ],
    )
    .await;
    let rows = sql
        .rows(
            "SELECT action, load_id, details::text FROM intake.audit_log ORDER BY log_id",
            &[],
        )
        .await;
    let trail: Vec<(String, Option<i64>, String)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let entry =
        |action: &str, load_id, details: &str| (action.to_owned(), load_id, details.to_owned());
    assert_eq!(
        trail,
        [
            entry(
                "contact_ingested",
                answers[0].load_id,
                r#"{"actor": "anna", "status": "pending"}"#
            ),
            entry(
                "contact_ingested",
                answers[1].load_id,
                r#"{"actor": "anna", "status": "duplicate"}"#
            ),
            entry(
                "batch_processed",
                None,
                r#"{"lane": -1, "actor": "anna", "accepted": 1, "batch_id": "b", "received": 3, "rejected": 1, "duplicate": 1}"#
            ),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_actor_the_login_is_named() {
    let sql = database().await;
    ingest(&sql, "b", "apollo", &[r#"{"email":"a@x.example"}"#]).await;
    let actors: i64 = sql
        .one(
            "SELECT count(*) FROM intake.audit_log WHERE details ->> 'actor' = session_user",
            &[],
        )
        .await;
    assert_eq!(actors, 2);
}
