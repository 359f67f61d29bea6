//! Time: what is stale is not served (law 14), and the sweep makes work of it, once.

use leadvault::proto::people::v1::{EnrichmentState, person_key::Key};
use tonic::Code;

use super::{
    enqueue, entry, fail, id,
    intelligence::{ago, get, known, put},
    lease, person, persons, suppress,
    suppressed::sweep,
};
use crate::harness::{App, Service, Sql, Workspace, free_port, fresh_database, refused, until};

const MONTH: f64 = 30.0 * 86_400.0;
/// Far longer than any test takes: nothing sweeps but the test.
const NEVER: [&str; 2] = ["--sweep-period", "86400"];

#[tokio::test(flavor = "multi_thread")]
async fn law_14_a_second_before_its_time_it_is_served_and_after_it_is_not() {
    let app = App::start_with(&NEVER).await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    put(&app, known(&a)).await.unwrap();
    let backdate = async |seconds: f64| {
        sql.rows(
            "UPDATE people.intelligence
             SET fetched_at = clock_timestamp() - make_interval(secs => $1),
                 stale_at = clock_timestamp() - make_interval(secs => $1 - 30 * 86400)",
            &[&seconds],
        )
        .await;
    };
    // The call may take longer than the second, on a busy machine: then it proves nothing.
    until("a call within a second", async || {
        backdate(MONTH - 1.0).await;
        let answer = get(&app, Key::PersonId(a.clone())).await;
        let fresh: bool = sql
            .one(
                "SELECT stale_at > clock_timestamp() FROM people.intelligence",
                &[],
            )
            .await;
        assert!(answer.is_ok() || !fresh, "{answer:?}");
        fresh.then_some(())
    })
    .await;
    backdate(MONTH).await;
    let refusal = refused(get(&app, Key::PersonId(a.clone())).await)
        .is(Code::NotFound, "INTELLIGENCE_STALE")
        .says("person_id", &a);
    assert!(refusal.metadata["stale_at"].contains('T'));

    // The same by the time that a worker says it was fetched at.
    for (seconds, served) in [(MONTH - 30.0, true), (MONTH + 1.0, false)] {
        sql.run("DELETE FROM people.intelligence").await;
        let mut intelligence = known(&a);
        intelligence.fetch_time = Some(ago(&sql, seconds).await);
        put(&app, intelligence).await.unwrap();
        assert_eq!(get(&app, Key::PersonId(a.clone())).await.is_ok(), served);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_live_is_a_setting() {
    let app = App::start_with(&["--intelligence-ttl", "0.5"]).await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    let stored = put(&app, known(&a)).await.unwrap().into_inner();
    let stored = stored.intelligence.unwrap();
    let lives = stored.stale_time.unwrap().seconds - stored.fetch_time.unwrap().seconds;
    assert_eq!(lives, 43_200);
    app.stop().await;
}

/// Writes down each purge and each time that somebody begins to wait.
const WATCH: &str = "
    CREATE TABLE ple.watched (what text, id uuid);
    CREATE FUNCTION ple.t_purged() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN INSERT INTO ple.watched VALUES ('purged', OLD.id); RETURN NULL; END $$;
    CREATE FUNCTION ple.t_enqueued() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN INSERT INTO ple.watched VALUES ('enqueued', NEW.person_id); RETURN NULL; END $$;
    CREATE TRIGGER t_purged AFTER DELETE ON people.intelligence
        FOR EACH ROW EXECUTE FUNCTION ple.t_purged();
    CREATE TRIGGER t_enqueued AFTER INSERT OR UPDATE OF state ON ple.enrichment_queue
        FOR EACH ROW WHEN (NEW.state = 'queued') EXECUTE FUNCTION ple.t_enqueued();";

async fn known_of_all(sql: &Sql, stale: &str) {
    sql.run(&format!(
        "INSERT INTO people.intelligence (person_id, linkedin_data, fetched_at, stale_at)
         SELECT id, '{{}}', now() - interval '31 days', {stale} FROM people.master"
    ))
    .await;
}

/// What was watched: how many times, and of how many different ones.
async fn watched(sql: &Sql, what: &str) -> (i64, i64) {
    let rows = sql
        .rows(
            "SELECT count(*), count(DISTINCT id) FROM ple.watched WHERE what = $1",
            &[&what],
        )
        .await;
    (rows[0].get(0), rows[0].get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn four_servers_that_sweep_at_once_purge_and_enqueue_each_once() {
    const PEOPLE: i32 = 5_000;
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    persons(&sql, PEOPLE).await;
    sql.run(WATCH).await;
    known_of_all(&sql, "now() - interval '1 day'").await;
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(App::start_on(url.clone(), &["--sweep-period", "0.02"]).await);
    }
    until("everything is swept", async || {
        let left: i64 = sql
            .one("SELECT count(*) FROM people.intelligence", &[])
            .await;
        (left == 0).then_some(())
    })
    .await;
    // They end after the chunk that they are at, so that nothing can follow.
    for server in servers {
        server.stop().await;
    }
    let count = i64::from(PEOPLE);
    assert_eq!(watched(&sql, "purged").await, (count, count));
    assert_eq!(watched(&sql, "enqueued").await, (count, count));
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(sql.one::<i64>(deadlocks, &[]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counts_of_sweeps_that_run_at_once_add_up() {
    const PEOPLE: i32 = 2_000;
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    persons(&sql, PEOPLE).await;
    known_of_all(&sql, "now()").await;
    let sweepers = (0..4).map(|_| async {
        let sql = Sql::connect(&url).await;
        let mut total = [0_i64; 2];
        loop {
            let row = sql
                .rows(
                    "SELECT purged, enqueued FROM ple.f_sweep(100, 0, 5, 'system')",
                    &[],
                )
                .await;
            let chunk: [i64; 2] = [row[0].get(0), row[0].get(1)];
            total = [total[0] + chunk[0], total[1] + chunk[1]];
            if chunk == [0, 0] {
                return total;
            }
        }
    });
    let totals = futures_util::future::join_all(sweepers).await;
    let sum = |at: usize| totals.iter().map(|total| total[at]).sum::<i64>();
    assert_eq!((sum(0), sum(1)), (i64::from(PEOPLE), i64::from(PEOPLE)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_enqueues_whom_it_should() {
    let app = App::start_with(&NEVER).await;
    let sql = app.sql().await;
    let mut ids = Vec::new();
    for name in [
        "dead",
        "done",
        "fresh",
        "held",
        "new",
        "suppressed",
        "waits",
    ] {
        ids.push(person(&sql, &format!("{name}@x.example")).await);
    }
    let [dead, done, fresh, held, new, suppressed, waits] = ids.as_slice() else {
        panic!("seven");
    };
    enqueue(&app, [(dead, 9), (done, 8), (held, 7)]).await;
    let leases = lease(&app, 3).await;
    fail(&app, &id(&leases[0]), leases[0].lease_token, true)
        .await
        .unwrap();
    let request = super::found(&id(&leases[1]), leases[1].lease_token, "CTO");
    super::complete(&app, request).await.unwrap();
    enqueue(&app, [(waits, 3)]).await;
    suppress(&sql, "suppressed@x.example", "all").await;
    known_of_all(&sql, "now()").await;
    put(&app, known(fresh)).await.unwrap();
    sql.rows(
        "INSERT INTO people.intelligence (person_id, linkedin_data, fetched_at, stale_at)
         VALUES ($1::text::uuid, '{}', now() - interval '31 days', now())",
        &[fresh],
    )
    .await;
    assert_eq!(
        sweep(&sql).await,
        [7, 3, 0],
        "all but what is fresh; who was done, who is dead, and who is new"
    );
    use EnrichmentState as State;
    for (person_id, state, priority) in [
        (dead, State::Queued, 0),
        (done, State::Queued, 0),
        (held, State::Leased, 7),
        (new, State::Queued, 0),
        (suppressed, State::Suppressed, 0),
        (waits, State::Queued, 3),
    ] {
        let entry = entry(&app, person_id).await;
        assert_eq!(
            (entry.state(), entry.priority),
            (state, priority),
            "{person_id}"
        );
    }
    let entries: i64 = sql
        .one("SELECT count(*) FROM ple.enrichment_queue", &[])
        .await;
    assert_eq!(entries, 6);
    assert!(get(&app, Key::PersonId(fresh.clone())).await.is_ok());
    refused(get(&app, Key::PersonId(new.clone())).await).is(Code::NotFound, "NOT_FOUND");
    // The suppression is lifted: the sweep makes up for it.
    super::lift(&sql, "suppressed@x.example").await;
    assert_eq!(sweep(&sql).await, [0, 0, 1]);
    assert_eq!(entry(&app, suppressed).await.state(), State::Queued);
    app.stop().await;
}

/// A sweep that fails is tried again in the next period. A sequence counts the attempts: it keeps what a
/// transaction that was rolled back drew from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_fails_is_tried_again() {
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    person(&sql, "a@x.example").await;
    known_of_all(&sql, "now()").await;
    sql.run(
        "CREATE SEQUENCE ple.attempts;
         CREATE FUNCTION ple.t_refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
             IF nextval('ple.attempts') <= 3 THEN RAISE EXCEPTION 'not yet'; END IF;
             RETURN OLD;
         END $$;
         CREATE TRIGGER t_refuse BEFORE DELETE ON people.intelligence
             FOR EACH ROW EXECUTE FUNCTION ple.t_refuse()",
    )
    .await;
    let app = App::start_on(url, &["--sweep-period", "0.02"]).await;
    until("it is swept", async || {
        let left: i64 = sql
            .one("SELECT count(*) FROM people.intelligence", &[])
            .await;
        (left == 0).then_some(())
    })
    .await;
    let attempts: i64 = sql.one("SELECT last_value FROM ple.attempts", &[]).await;
    assert_eq!(attempts, 4);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_the_sweep_shows_in_the_log() {
    let workspace = Workspace::new();
    let mut command = workspace.serve(free_port());
    command.args(["--sweep-period", "0.1"]);
    let service = Service::start(command).await;
    let sql = Sql::connect(service.database_url()).await;
    person(&sql, "a@x.example").await;
    known_of_all(&sql, "now()").await;
    until("it is swept", async || {
        let left: i64 = sql
            .one("SELECT count(*) FROM people.intelligence", &[])
            .await;
        (left == 0).then_some(())
    })
    .await;
    drop(sql);
    let (status, log) = service.stop().await;
    assert!(status.success());
    let line = log.lines().find(|line| line.contains("swept")).unwrap();
    for count in ["purged=1", "enqueued=1", "returned=0"] {
        assert!(line.contains(count), "{line}");
    }
}

/// What was known of a person ran out: that is a new need, and a dead entry is that of an earlier one.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_lets_a_dead_entry_begin_afresh_and_once() {
    let app = App::start_with(&NEVER).await;
    let sql = app.sql().await;
    let ids = persons(&sql, 2).await;
    enqueue(&app, ids.iter().map(|id| (id, 9))).await;
    for lease in lease(&app, 2).await {
        fail(&app, &id(&lease), lease.lease_token, true)
            .await
            .unwrap();
    }
    suppress(&sql, "p2@x.example", "all").await;
    known_of_all(&sql, "now()").await;
    assert_eq!(sweep(&sql).await, [2, 1, 0]);
    let afresh = entry(&app, &ids[0]).await;
    assert_eq!(afresh.state(), EnrichmentState::Queued);
    assert_eq!(
        (afresh.attempts, afresh.failures, afresh.priority),
        (0, 0, 0)
    );
    assert_eq!((afresh.last_error.as_str(), afresh.end_time), ("", None));
    // The suppressed one is set aside, and waits once the suppression is lifted.
    let aside = entry(&app, &ids[1]).await;
    assert_eq!(
        (aside.state(), aside.failures),
        (EnrichmentState::Suppressed, 0)
    );
    super::lift(&sql, "p2@x.example").await;
    assert_eq!(sweep(&sql).await, [0, 0, 1]);

    // Dead again, with nothing to purge: it stays dead.
    for lease in lease(&app, 2).await {
        assert!(lease.lease_token > 1);
        fail(&app, &id(&lease), lease.lease_token, true)
            .await
            .unwrap();
    }
    assert_eq!(sweep(&sql).await, [0, 0, 0]);
    assert_eq!(entry(&app, &ids[0]).await.state(), EnrichmentState::Dead);
    app.stop().await;
}

/// An entry that waits answers for the new need, too: what failed before does not count against it.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_lets_who_waits_fail_as_often_again() {
    let app = App::start_with(&[&NEVER[..], &["--enrichment-max-failures", "2"]].concat()).await;
    let sql = app.sql().await;
    let ids = persons(&sql, 2).await;
    enqueue(&app, ids.iter().map(|id| (id, 9))).await;
    for lease in lease(&app, 2).await {
        fail(&app, &id(&lease), lease.lease_token, false)
            .await
            .unwrap();
    }
    super::let_time_pass(&sql).await;
    // One waits for its next attempt, one is with a worker.
    let held = lease(&app, 1).await.remove(0);
    let before = [entry(&app, &ids[0]).await, entry(&app, &ids[1]).await];
    known_of_all(&sql, "now()").await;
    assert_eq!(sweep_to_new_need(&sql).await, [2, 0, 0]);
    for (id, mut before) in ids.iter().zip(before) {
        assert_eq!((before.failures, before.max_failures), (1, 2));
        before.max_failures = 3;
        assert_eq!(entry(&app, id).await, before, "nothing else is changed");
    }
    for (token, state) in [
        (held.lease_token, EnrichmentState::Queued),
        (held.lease_token + 1, EnrichmentState::Dead),
    ] {
        fail(&app, &id(&held), token, false).await.unwrap();
        assert_eq!(entry(&app, &id(&held)).await.state(), state);
        super::let_time_pass(&sql).await;
        lease(&app, 2).await;
    }
    app.stop().await;
}

/// A sweep by the server's setting of two failures.
async fn sweep_to_new_need(sql: &Sql) -> [i64; 3] {
    let row = sql
        .rows(
            "SELECT purged, enqueued, returned FROM ple.f_sweep(1000, 0, 2, 'system')",
            &[],
        )
        .await;
    [row[0].get(0), row[0].get(1), row[0].get(2)]
}
