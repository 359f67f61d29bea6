//! Leases that are overrun again and again: their workers must die of the person.

use leadvault::proto::people::v1::{
    EnrichmentState, ListEnrichmentRequest, ReviveEnrichmentRequest,
    revive_enrichment_response::Outcome,
};
use tonic::Code;

use super::{
    complete, contents, enqueue, entry, fail, found, lease, lease_one, let_time_pass, people,
    person, stats,
};
use crate::harness::{App, refused};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_leases_were_overrun_too_often_is_dead_and_can_be_revived() {
    let app = App::start_with(&["--enrichment-max-overruns", "3"]).await;
    let sql = app.sql().await;
    let poison = person(&sql, "poison@x.example").await;
    let next = person(&sql, "next@x.example").await;
    enqueue(&app, [(&poison, 9)]).await;
    // A failure is no overrun.
    let (_, token) = lease_one(&app).await;
    fail(&app, &poison, token, false).await.unwrap();
    let mut token = 0;
    for _ in 0..3 {
        let_time_pass(&sql).await;
        let (leased, newest) = lease_one(&app).await;
        assert_eq!(leased, poison);
        token = newest;
    }
    enqueue(&app, [(&next, 1)]).await;
    assert_eq!(lease_one(&app).await.0, next, "the third lease goes on");

    // The next one takes its place, in the same call.
    let_time_pass(&sql).await;
    assert_eq!(lease_one(&app).await.0, next);
    let dead = entry(&app, &poison).await;
    assert_eq!(
        (dead.state(), dead.last_error.as_str()),
        (EnrichmentState::Dead, "lease overrun 3 times")
    );
    assert_eq!((dead.attempts, dead.failures), (4, 1));
    assert!(dead.end_time.is_some() && dead.lease_expire_time.is_none());
    assert_eq!(stats(&app).await.dead, 1);
    let request = ListEnrichmentRequest {
        state: EnrichmentState::Dead.into(),
        ..Default::default()
    };
    let answer = people(&app).await.list_enrichment(request).await.unwrap();
    assert_eq!(answer.into_inner().entries, [dead]);

    // A worker that was only slow comes too late.
    let before = contents(&sql).await;
    refused(complete(&app, found(&poison, token, "CTO")).await)
        .is(Code::Aborted, "LEASE_LOST")
        .says("state", "dead");
    refused(fail(&app, &poison, token, false).await).is(Code::Aborted, "LEASE_LOST");
    assert_eq!(contents(&sql).await, before);

    let request = ReviveEnrichmentRequest {
        person_ids: vec![poison.clone()],
    };
    let answer = people(&app).await.revive_enrichment(request).await.unwrap();
    let outcomes: Vec<Outcome> = answer.into_inner().outcomes().collect();
    assert_eq!(outcomes, [Outcome::Revived]);
    let leases = lease(&app, 1).await;
    assert_eq!((super::id(&leases[0]), leases[0].attempt), (poison, 1));
    assert!(leases[0].lease_token > token);
    app.stop().await;
}

/// The default is far above what slow workers overrun.
#[tokio::test(flavor = "multi_thread")]
async fn the_default_takes_nearly_a_thousand_overruns() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    enqueue(&app, [(&a, 1)]).await;
    lease_one(&app).await;
    sql.run("UPDATE ple.enrichment_queue SET attempts = 999")
        .await;
    let_time_pass(&sql).await;
    let (_, token) = lease_one(&app).await;
    complete(&app, found(&a, token, "CTO")).await.unwrap();
    app.stop().await;
}
