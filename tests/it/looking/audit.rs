//! `ListAuditLog`.

use leadvault::proto::intake::v1::{
    AuditEntry, ListAuditLogRequest, ListAuditLogResponse, ListOrder,
    bulk_ingest_request::{Finish, Message},
};

use super::{at, spread};
use crate::harness::{App, Lane, ack, open, opened, row, summary};

async fn list(app: &App, request: ListAuditLogRequest) -> ListAuditLogResponse {
    let mut client = app.intake().await;
    client.list_audit_log(request).await.unwrap().into_inner()
}

fn ids(entries: &[AuditEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.log_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_says_what_was_done_to_what_by_whom() {
    let app = App::start().await;
    let outcomes = app
        .ingest("b", "apollo", &[row("a@x.example"), "{}".into()])
        .await
        .outcomes;
    let entries = list(&app, ListAuditLogRequest::default()).await.entries;
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].action, "contact_ingested");
    assert_eq!(
        (entries[0].load_id, entries[0].contact_id),
        (outcomes[0].load_id, 0)
    );
    assert_eq!(
        entries[0].details_json,
        r#"{"actor": "anonymous", "status": "pending"}"#
    );
    assert_eq!(entries[1].action, "batch_processed");
    assert!(entries.iter().all(|entry| entry.time.is_some()));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_found_by_each_filter_and_by_all_of_them() {
    let app = App::start().await;
    let loads = app
        .ingest_emails("b", "apollo", &["a@x.example", "b@x.example"])
        .await;
    let sql = app.sql().await;
    sql.run(&format!(
        "INSERT INTO intake.audit_log (action, load_id, contact_id) VALUES
             ('contact_promoted', {0}, 7), ('contact_updated', {0}, 8)",
        loads[0]
    ))
    .await;
    spread(&sql, "intake.audit_log", "log_id", "\"timestamp\"").await;
    // Ingested twice, processed, promoted, updated.
    let all = ids(&list(&app, ListAuditLogRequest::default()).await.entries);
    assert_eq!(all.len(), 5);

    let none = ListAuditLogRequest::default;
    for (request, found) in [
        (
            ListAuditLogRequest {
                action: "contact_ingested".into(),
                ..none()
            },
            vec![0, 1],
        ),
        (
            ListAuditLogRequest {
                action: "nothing".into(),
                ..none()
            },
            vec![],
        ),
        (
            ListAuditLogRequest {
                load_id: loads[0],
                ..none()
            },
            vec![0, 3, 4],
        ),
        (
            ListAuditLogRequest {
                contact_id: 8,
                ..none()
            },
            vec![4],
        ),
        (
            ListAuditLogRequest {
                load_id: -1,
                ..none()
            },
            vec![],
        ),
        (
            ListAuditLogRequest {
                from: Some(at(3)),
                ..none()
            },
            vec![3, 4],
        ),
        (
            ListAuditLogRequest {
                before: Some(at(1)),
                ..none()
            },
            vec![0],
        ),
        (
            ListAuditLogRequest {
                action: "contact_promoted".into(),
                load_id: loads[0],
                contact_id: 7,
                from: Some(at(3)),
                before: Some(at(4)),
                ..none()
            },
            vec![3],
        ),
        (
            ListAuditLogRequest {
                order_by: ListOrder::NewestFirst.into(),
                ..none()
            },
            vec![4, 3, 2, 1, 0],
        ),
    ] {
        let found: Vec<i64> = found.into_iter().map(|nth: usize| all[nth]).collect();
        assert_eq!(
            ids(&list(&app, request.clone()).await.entries),
            found,
            "{request:?}"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_trail_ends_at_two_mebibytes() {
    let app = App::start().await;
    app.sql()
        .await
        .run(
            "INSERT INTO intake.audit_log (action, details)
             SELECT 'contact_updated', jsonb_build_object('actor', 'x', 'old', repeat('v', 900000))
             FROM generate_series(1, 5)",
        )
        .await;
    let mut request = ListAuditLogRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let mut lengths = Vec::new();
    loop {
        let page = list(&app, request.clone()).await;
        lengths.push(page.entries.len());
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(lengths, [2, 2, 1]);
    app.stop().await;
}

/// The client says everything at once and reads the answers afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn law_9_a_bulk_load_leaves_a_row_for_each_load_and_one_for_the_batch() {
    let app = App::start().await;
    let mut lane = Lane::connect(app.intake().await).await;
    lane.send(Message::Open(open("b", "apollo"))).await;
    lane.send_rows(
        Some(0),
        &[row("a@x.example"), row("a@x.example"), "{}".into()],
    )
    .await;
    lane.send(Message::Finish(Finish { row_count: 3 })).await;
    lane.hang_up();
    assert_eq!(opened(lane.receive().await.unwrap()).next_offset, 0);
    let ack = ack(lane.receive().await.unwrap());
    assert_eq!((ack.accepted, ack.duplicate, ack.rejected), (1, 1, 1));
    assert_eq!(
        summary(lane.receive().await.unwrap())
            .tally
            .unwrap()
            .received,
        3
    );

    let entries = list(&app, ListAuditLogRequest::default()).await.entries;
    let trail: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| (entry.action.as_str(), entry.details_json.as_str()))
        .collect();
    assert_eq!(
        trail,
        [
            (
                "contact_ingested",
                r#"{"actor": "anonymous", "status": "pending"}"#
            ),
            (
                "contact_ingested",
                r#"{"actor": "anonymous", "status": "duplicate"}"#
            ),
            (
                "batch_processed",
                r#"{"actor": "anonymous", "accepted": 1, "batch_id": "b", "received": 3, "rejected": 1, "duplicate": 1}"#
            ),
        ]
    );
    app.stop().await;
}
