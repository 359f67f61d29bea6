//! `FailEnrichment`: later, then never, until somebody revives it.

use leadvault::proto::people::v1::{
    EnrichmentState, ListEnrichmentRequest, ReviveEnrichmentRequest,
    revive_enrichment_response::Outcome,
};
use tonic::Code;

use super::{
    complete, contents, enqueue, entry, fail, found, lease, lease_one, let_time_pass, people,
    person, stats, suppress,
};
use crate::harness::{App, Sql, refused};

/// How long the entry waits for its next attempt, counted from its failure, in seconds.
async fn wait(sql: &Sql, failed: impl AsyncFnOnce()) -> (f64, f64) {
    let before: f64 = sql
        .one("SELECT extract(epoch FROM clock_timestamp())::float8", &[])
        .await;
    failed().await;
    let row = sql
        .rows(
            "SELECT extract(epoch FROM available_at)::float8 - $1,
                    extract(epoch FROM available_at - clock_timestamp())::float8
             FROM ple.enrichment_queue",
            &[&before],
        )
        .await;
    (row[0].get(1), row[0].get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_wait_twice_as_long_each_time_up_to_the_limit_and_end_dead() {
    let app = App::start_with(&[
        "--enrichment-backoff",
        "100",
        "--enrichment-backoff-cap",
        "350",
        "--enrichment-max-failures",
        "5",
    ])
    .await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    enqueue(&app, [(&a, 1)]).await;
    for (failures, expected) in [(1, 100.0), (2, 200.0), (3, 350.0), (4, 350.0)] {
        let (_, token) = lease_one(&app).await;
        let (least, most) = wait(&sql, async || {
            let answer = fail(&app, &a, token, false).await.unwrap();
            let entry = answer.into_inner().entry.unwrap();
            assert_eq!(entry.state(), EnrichmentState::Queued);
            assert_eq!((entry.failures, entry.max_failures), (failures, 5));
            assert_eq!(entry.last_error, "the source was down");
            assert!(entry.next_attempt_time.is_some());
        })
        .await;
        assert!(
            least <= expected && expected <= most,
            "{least} {expected} {most}"
        );
        // Not before its time.
        assert!(lease(&app, 1).await.is_empty());
        assert_eq!((stats(&app).await.delayed, stats(&app).await.ready), (1, 0));
        // Repeated with its token a failure changes nothing and is answered alike.
        let before = contents(&sql).await;
        let again = fail(&app, &a, token, false).await.unwrap().into_inner();
        assert_eq!(again.entry.unwrap().failures, failures);
        refused(complete(&app, found(&a, token, "CTO")).await)
            .is(Code::Aborted, "LEASE_LOST")
            .says("state", "queued");
        assert_eq!(contents(&sql).await, before);
        let_time_pass(&sql).await;
    }
    let (_, token) = lease_one(&app).await;
    let answer = fail(&app, &a, token, false).await.unwrap().into_inner();
    let dead = answer.entry.unwrap();
    assert_eq!(
        (dead.state(), dead.failures, dead.attempts),
        (EnrichmentState::Dead, 5, 5)
    );
    assert!(dead.end_time.is_some() && dead.next_attempt_time.is_none());
    let again = fail(&app, &a, token, false).await.unwrap().into_inner();
    assert_eq!(again.entry.unwrap(), dead);
    assert!(lease(&app, 1).await.is_empty());
    assert_eq!(enqueue(&app, [(&a, 9)]).await, "d");
    assert_eq!(entry(&app, &a).await, dead);
    app.stop().await;
}

async fn revive(app: &App, ids: &[&String]) -> Vec<Outcome> {
    let request = ReviveEnrichmentRequest {
        person_ids: ids.iter().map(|id| (*id).clone()).collect(),
    };
    let answer = people(app).await.revive_enrichment(request).await.unwrap();
    answer.into_inner().outcomes().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_entries_are_listed_and_can_be_revived() {
    let app = App::start().await;
    let sql = app.sql().await;
    let [a, b, c] = [
        person(&sql, "a@x.example").await,
        person(&sql, "b@x.example").await,
        person(&sql, "c@x.example").await,
    ];
    enqueue(&app, [(&a, 2), (&b, 2), (&c, 1)]).await;
    for lease in lease(&app, 2).await {
        let id = super::id(&lease);
        let answer = fail(&app, &id, lease.lease_token, true).await.unwrap();
        let entry = answer.into_inner().entry.unwrap();
        assert_eq!((entry.state(), entry.failures), (EnrichmentState::Dead, 1));
    }
    let request = ListEnrichmentRequest {
        state: EnrichmentState::Dead.into(),
        ..Default::default()
    };
    let answer = people(&app).await.list_enrichment(request).await.unwrap();
    let mut dead = [&a, &b];
    dead.sort();
    let listed = answer.into_inner().entries;
    assert_eq!(
        listed
            .iter()
            .map(|entry| &entry.person_id)
            .collect::<Vec<_>>(),
        dead
    );
    assert!(
        listed
            .iter()
            .all(|entry| entry.last_error == "the source was down")
    );

    suppress(&sql, "b@x.example", "all").await;
    let nobody = "00000000-0000-0000-0000-000000000001".to_owned();
    assert_eq!(
        revive(&app, &[&a, &b, &c, &nobody, &a]).await,
        [
            Outcome::Revived,
            Outcome::Suppressed,
            Outcome::NotDead,
            Outcome::NotFound,
            Outcome::NotDead
        ]
    );
    let revived = entry(&app, &a).await;
    assert_eq!(revived.state(), EnrichmentState::Queued);
    assert_eq!(
        (revived.attempts, revived.failures, revived.priority),
        (0, 0, 2)
    );
    assert_eq!((revived.last_error.as_str(), revived.end_time), ("", None));
    assert_eq!(entry(&app, &b).await.state(), EnrichmentState::Dead);
    // The token of the lease that ended is worth nothing now.
    refused(fail(&app, &a, revived.lease_token, false).await).is(Code::Aborted, "LEASE_LOST");
    assert_eq!(lease_one(&app).await, (a, 2));
    app.stop().await;
}
