//! `ListEnrichment` and `GetEnrichmentStats`: the queue as it is.

use leadvault::proto::people::v1::{EnrichmentEntry, EnrichmentState, ListEnrichmentRequest};
use tonic::Code;

use super::{
    complete, enqueue, fail, found, id, lease, let_time_pass, people, persons, stats, suppress,
};
use crate::harness::{App, Sql, refused};

/// Two entries of each state, and of those that wait some that are due and some that are not.
async fn fill(app: &App, sql: &Sql) {
    let ids = persons(sql, 14).await;
    enqueue(app, ids.iter().take(12).map(|id| (id, 1))).await;
    for lease in lease(app, 2).await {
        complete(app, found(&id(&lease), lease.lease_token, "CTO"))
            .await
            .unwrap();
    }
    for lease in lease(app, 2).await {
        fail(app, &id(&lease), lease.lease_token, true)
            .await
            .unwrap();
    }
    let suppressed = sql
        .rows(
            "SELECT p.email FROM ple.enrichment_queue AS q JOIN people.master AS p ON p.id = q.person_id
             WHERE q.state = 'queued' ORDER BY q.person_id LIMIT 2",
            &[],
        )
        .await;
    for row in suppressed {
        suppress(sql, row.get(0), "all").await;
    }
    // Two overrun, two that failed and wait, two in time.
    lease(app, 2).await;
    let_time_pass(sql).await;
    sql.run("UPDATE ple.enrichment_queue SET priority = 0 WHERE state = 'leased'")
        .await;
    for lease in lease(app, 2).await {
        fail(app, &id(&lease), lease.lease_token, false)
            .await
            .unwrap();
    }
    lease(app, 2).await;
    enqueue(app, ids.iter().skip(12).map(|id| (id, 0))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counts_are_those_of_the_table() {
    let app = App::start().await;
    let sql = app.sql().await;
    let nothing = stats(&app).await;
    assert_eq!((nothing.ready, nothing.oldest_ready_time), (0, None));
    fill(&app, &sql).await;
    let stats = stats(&app).await;
    assert_eq!(
        [
            stats.ready,
            stats.delayed,
            stats.leased,
            stats.completed,
            stats.dead,
            stats.suppressed
        ],
        [4, 2, 2, 2, 2, 2]
    );
    let oldest: i64 = sql
        .one(
            "SELECT (extract(epoch FROM min(enqueued_at)) * 1000000)::bigint FROM ple.enrichment_queue
             WHERE state IN ('queued', 'leased') AND available_at <= now()",
            &[],
        )
        .await;
    let time = stats.oldest_ready_time.unwrap();
    assert_eq!(
        time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000,
        oldest
    );
    app.stop().await;
}

async fn listed(app: &App, mut request: ListEnrichmentRequest) -> Vec<EnrichmentEntry> {
    let mut client = people(app).await;
    let mut entries = Vec::new();
    loop {
        let page = client
            .list_enrichment(request.clone())
            .await
            .unwrap()
            .into_inner();
        let size = usize::try_from(request.page_size).unwrap();
        assert!(page.entries.len() <= size);
        entries.extend(page.entries);
        if page.next_page_token.is_empty() {
            return entries;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_entry_once_in_the_order_of_ids() {
    let app = App::start().await;
    let sql = app.sql().await;
    fill(&app, &sql).await;
    for page_size in [1, 3, 14, 1_000] {
        let request = ListEnrichmentRequest {
            page_size,
            ..Default::default()
        };
        let entries = listed(&app, request).await;
        let ids: Vec<&String> = entries.iter().map(|entry| &entry.person_id).collect();
        assert_eq!(ids.len(), 14);
        assert!(ids.is_sorted());
    }
    use EnrichmentState as State;
    for (state, count) in [
        (State::Queued, 4),
        (State::Leased, 4),
        (State::Completed, 2),
        (State::Dead, 2),
        (State::Suppressed, 2),
    ] {
        let request = ListEnrichmentRequest {
            page_size: 1,
            state: state.into(),
            ..Default::default()
        };
        let entries = listed(&app, request).await;
        assert!(entries.iter().all(|entry| entry.state() == state));
        assert_eq!(entries.len(), count, "{state:?}");
    }
    let request = ListEnrichmentRequest {
        page_size: 3,
        ..Default::default()
    };
    let page = people(&app).await.list_enrichment(request).await.unwrap();
    let request = ListEnrichmentRequest {
        page_token: page.into_inner().next_page_token,
        state: State::Dead.into(),
        ..Default::default()
    };
    refused(people(&app).await.list_enrichment(request).await)
        .is(Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_at_its_bytes() {
    let app = App::start_with(&["--max-page-bytes", "3000"]).await;
    let sql = app.sql().await;
    let ids = persons(&sql, 7).await;
    enqueue(&app, ids.iter().map(|id| (id, 1))).await;
    sql.run("UPDATE ple.enrichment_queue SET last_error = repeat('x', 1000)")
        .await;
    let request = ListEnrichmentRequest {
        page_size: 100,
        ..Default::default()
    };
    let page = people(&app)
        .await
        .list_enrichment(request.clone())
        .await
        .unwrap();
    assert_eq!(page.into_inner().entries.len(), 2);
    assert_eq!(listed(&app, request).await.len(), 7);
    app.stop().await;
}
