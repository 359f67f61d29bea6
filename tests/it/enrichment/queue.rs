//! Who is on the queue, and who gets whom.

use leadvault::proto::people::v1::{EnrichmentState, LeaseEnrichmentRequest};
use tonic::Code;

use super::{
    complete, enqueue, entries, entry, found, id, lease, lease_one, let_time_pass, letters, names,
    people, person, persons,
};
use crate::harness::{App, refused};

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_priority_goes_first_of_equals_who_waited_longest() {
    let app = App::start().await;
    let sql = app.sql().await;
    for (name, priority) in [("a", 1), ("b", 5), ("c", 1), ("d", 9), ("e", 5), ("f", 0)] {
        let id = person(&sql, &format!("{name}@x.example")).await;
        assert_eq!(enqueue(&app, [(&id, priority)]).await, "e");
    }
    let leases = lease(&app, 2).await;
    assert_eq!(names(&leases), ["d", "b"]);
    assert_eq!(
        (leases[0].priority, leases[0].attempt, leases[0].lease_token),
        (9, 1, 1)
    );
    // Who comes now with the same priority stands behind those who wait.
    let late = person(&sql, "late@x.example").await;
    enqueue(&app, [(&late, 1)]).await;
    assert_eq!(names(&lease(&app, 100).await), ["e", "a", "c", "late", "f"]);
    assert!(lease(&app, 100).await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_on_it_once_and_the_priority_only_rises() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = persons(&sql, 3).await;
    let nobody = "00000000-0000-0000-0000-000000000000".to_owned();
    let (a, b, c) = (&ids[0], &ids[1], &ids[2]);
    assert_eq!(enqueue(&app, [(a, 5), (&nobody, 1), (b, 5)]).await, "ene");
    assert_eq!(enqueue(&app, [(a, 4), (b, 6), (a, 5)]).await, "ara");
    // Named twice in one call: as if the entries came one by one.
    assert_eq!(
        enqueue(&app, [(c, 1), (c, 3), (c, 2), (c, 1_000)]).await,
        "erar"
    );
    assert_eq!(entry(&app, a).await.priority, 5);
    assert_eq!(entry(&app, b).await.priority, 6);
    assert_eq!(entry(&app, c).await.priority, 1_000);

    // Who is with a worker is left alone; past the deadline it waits like any.
    let (leased, _) = lease_one(&app).await;
    assert_eq!(&leased, c);
    assert_eq!(enqueue(&app, [(b, 1_000)]).await, "r");
    let (leased, _) = lease_one(&app).await;
    assert_eq!(&leased, b);
    assert_eq!(enqueue(&app, [(b, 1_000), (c, 0)]).await, "aa");
    assert_eq!(entry(&app, b).await.state(), EnrichmentState::Leased);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_was_completed_waits_anew_and_the_token_grows_on() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    enqueue(&app, [(&a, 7)]).await;
    let (_, token) = lease_one(&app).await;
    complete(&app, found(&a, token, "CTO")).await.unwrap();
    let done = entry(&app, &a).await;
    assert_eq!(done.state(), EnrichmentState::Completed);
    assert!(done.end_time.is_some() && done.lease_expire_time.is_none());
    assert!(lease(&app, 1).await.is_empty());

    assert_eq!(enqueue(&app, [(&a, 2)]).await, "e");
    let again = entry(&app, &a).await;
    assert_eq!(
        (again.state(), again.priority),
        (EnrichmentState::Queued, 2)
    );
    assert_eq!((again.attempts, again.end_time), (0, None));
    assert!(again.enqueue_time.unwrap().seconds >= done.enqueue_time.unwrap().seconds);
    assert_eq!(lease_one(&app).await, (a, 2));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overrun_lease_goes_to_the_next_worker_and_is_no_failure() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    enqueue(&app, [(&a, 1)]).await;
    for attempt in 1..=7 {
        assert_eq!(lease_one(&app).await, (a.clone(), attempt));
        assert!(lease(&app, 10).await.is_empty(), "somebody holds it");
        let_time_pass(&sql).await;
    }
    let entry = entry(&app, &a).await;
    assert_eq!((entry.attempts, entry.failures), (7, 0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_holds_what_a_worker_needs() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    sql.run("UPDATE people.master SET name = 'Ada L', title = 'CTO', pinned_fields = '{title}'")
        .await;
    enqueue(&app, [(&a, 3)]).await;
    let request = LeaseEnrichmentRequest {
        lease_ms: 90_000,
        ..Default::default()
    };
    let answer = people(&app).await.lease_enrichment(request).await.unwrap();
    let leases = answer.into_inner().leases;
    assert_eq!(id(&leases[0]), a);
    let person = leases[0].person.clone().unwrap();
    assert_eq!(
        (person.name.as_str(), person.title.as_str()),
        ("Ada L", "CTO")
    );
    assert_eq!(person.pinned_fields, ["title"]);
    assert!(!person.etag.is_empty());
    let entry = entry(&app, &a).await;
    assert_eq!(entry.leased_by, "anonymous");
    assert_eq!(entry.lease_expire_time, leases[0].lease_expire_time);
    let seconds: f64 = sql
        .one(
            "SELECT extract(epoch FROM lease_expires_at - leased_at)::float8 FROM ple.enrichment_queue",
            &[],
        )
        .await;
    assert!((seconds - 90.0).abs() < 1e-6, "{seconds}");

    // Where the worker does not say, the setting does.
    let_time_pass(&sql).await;
    let request = LeaseEnrichmentRequest::default();
    people(&app).await.lease_enrichment(request).await.unwrap();
    let seconds: f64 = sql
        .one(
            "SELECT extract(epoch FROM lease_expires_at - leased_at)::float8 FROM ple.enrichment_queue",
            &[],
        )
        .await;
    assert!((seconds - 300.0).abs() < 1e-6, "{seconds}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_makes_a_retry_return_the_first_answer() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = persons(&sql, 2).await;
    let mut request = entries([(&ids[0], 1), (&ids[1], 1)]);
    request.request_id = "0e7b6a10-4a4e-4d0e-8f6e-0c5d6f0f7a11".to_owned();
    for _ in 0..2 {
        let answer = people(&app).await.enqueue_enrichment(request.clone()).await;
        assert_eq!(letters(&answer.unwrap().into_inner().outcomes), "ee");
    }
    request.entries.pop();
    refused(people(&app).await.enqueue_enrichment(request).await)
        .is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    app.stop().await;
}
