//! A watch over every lease, inside PostgreSQL: whether it passed over an entry that stands before one that
//! it took, and that was visible to it and free.

use super::{enqueue, lease, names, person};
use crate::harness::{App, Sql};

/// Two triggers. The first runs before the lease looks; it is STABLE, so it sees the very snapshot that the
/// lease's statement has. The second runs after it took, in its transaction, and looks at what it left.
/// Visible: the row's version was committed in that snapshot. Free: nobody has locked that version since,
/// nor had, who was not done in that snapshot (a lock that was let go stays in xmax). Of one who has, it is
/// written down: in the end it must be who leased or ended the entry, and not who wrote others meanwhile. Unless
/// the version was none when that one looked, once: who finds a newer one has locked it by then. A lease looks
/// again where it did not find as many as it was asked for, so each look is kept, also of one that took nobody.
const WATCH: &str = "
    CREATE TABLE ple.passed_over (person_id uuid, instead_of uuid, version xid8, holder xid8);
    CREATE TABLE ple.looks (writer xid8, snapshot pg_snapshot);
    CREATE TABLE ple.writes (person_id uuid, writer xid8, taken boolean);
    CREATE TABLE ple.endings (person_id uuid, lease_token bigint, state text);
    CREATE FUNCTION ple.t_before() RETURNS trigger LANGUAGE plpgsql STABLE AS $$
    BEGIN
        PERFORM set_config('watch.snapshot', pg_current_snapshot()::text, true);
        RETURN NULL;
    END $$;
    CREATE FUNCTION ple.t_after() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        v_snapshot CONSTANT pg_snapshot := current_setting('watch.snapshot')::pg_snapshot;
        v_last     ple.enrichment_queue;
    BEGIN
        INSERT INTO ple.endings
        SELECT n.person_id, n.lease_token, n.state
        FROM new_rows AS n JOIN old_rows AS o USING (person_id)
        WHERE n.state IN ('completed', 'dead') AND o.state <> n.state;

        INSERT INTO ple.looks VALUES (pg_current_xact_id(), v_snapshot);

        INSERT INTO ple.writes
        SELECT n.person_id, pg_current_xact_id(),
               n.lease_token <> o.lease_token OR n.state <> o.state
        FROM new_rows AS n JOIN old_rows AS o USING (person_id);

        SELECT n.* INTO v_last
        FROM new_rows AS n JOIN old_rows AS o USING (person_id)
        WHERE n.state = 'leased' AND n.lease_token > o.lease_token
        ORDER BY n.priority, n.enqueued_at DESC, n.person_id DESC
        LIMIT 1;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        INSERT INTO ple.passed_over
        SELECT q.person_id, v_last.person_id, q.xmin::text::xid8,
               CASE WHEN q.xmax::text <> '0' AND NOT pg_visible_in_snapshot(q.xmax::text::xid8, v_snapshot)
                    THEN q.xmax::text::xid8 END
        FROM ple.enrichment_queue AS q
        WHERE q.state IN ('queued', 'leased') AND q.available_at <= v_last.leased_at
          AND (-q.priority, q.enqueued_at, q.person_id)
              < (-v_last.priority, v_last.enqueued_at, v_last.person_id)
          AND q.person_id NOT IN (SELECT n.person_id FROM new_rows AS n)
          AND pg_visible_in_snapshot(q.xmin::text::xid8, v_snapshot);
        RETURN NULL;
    END $$;
    CREATE TRIGGER t_before BEFORE UPDATE ON ple.enrichment_queue
        FOR EACH STATEMENT EXECUTE FUNCTION ple.t_before();
    CREATE TRIGGER t_after AFTER UPDATE ON ple.enrichment_queue
        REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION ple.t_after();";

/// Watches every lease from now on, and writes down every end of an entry.
pub(super) async fn watch(sql: &Sql) {
    sql.run(WATCH).await;
}

/// A lease that does not look at the order.
fn lease_of_priority(priority: i32) -> String {
    format!(
        "UPDATE ple.enrichment_queue
         SET state = 'leased', lease_token = 1, leased_by = 'w', leased_at = clock_timestamp(),
             attempts = 1, lease_expires_at = now() + interval '1 minute',
             available_at = now() + interval '1 minute'
         WHERE priority = {priority}"
    )
}

/// How many entries were passed over since the watch began.
pub(super) async fn passed_over(sql: &Sql) -> i64 {
    sql.one(
        "SELECT count(*) FROM ple.passed_over AS o
         WHERE o.holder IS NULL
            OR (EXISTS (SELECT FROM ple.writes AS w WHERE w.writer = o.holder)
                AND NOT EXISTS (SELECT FROM ple.looks AS l
                                WHERE l.writer = o.holder AND NOT pg_visible_in_snapshot(o.version, l.snapshot))
                AND NOT EXISTS (SELECT FROM ple.writes AS w
                                WHERE w.writer = o.holder AND w.person_id = o.person_id AND w.taken))",
        &[],
    )
    .await
}

/// Three that wait, a before b before c, and are watched.
async fn watched(app: &App, sql: &Sql) {
    for (name, priority) in [("a", 9), ("b", 5), ("c", 1)] {
        let id = person(sql, &format!("{name}@x.example")).await;
        enqueue(app, [(&id, priority)]).await;
    }
    watch(sql).await;
}

/// That the watch sees what it is there for, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn the_watch_sees_an_entry_that_is_passed_over_unless_somebody_holds_it() {
    let app = App::start().await;
    let (sql, holder) = (app.sql().await, app.sql().await);
    watched(&app, &sql).await;
    // Somebody holds the first: it is passed over, and rightly.
    holder
        .run("BEGIN; SELECT FROM ple.enrichment_queue WHERE priority = 9 FOR UPDATE")
        .await;
    assert_eq!(names(&lease(&app, 1).await), ["b"]);
    assert_eq!(passed_over(&sql).await, 0);
    holder.run("ROLLBACK").await;
    // Somebody holds it, and takes another: nobody has the first, and everybody passes over it.
    holder
        .run(
            "BEGIN; SELECT FROM ple.enrichment_queue WHERE priority = 9 FOR UPDATE;
             UPDATE ple.enrichment_queue SET last_error = 'x' WHERE priority = 5",
        )
        .await;
    let d = person(&sql, "d@x.example").await;
    enqueue(&app, [(&d, 2)]).await;
    assert_eq!(names(&lease(&app, 1).await), ["d"]);
    assert_eq!(passed_over(&sql).await, 0, "not until it commits");
    holder.run("COMMIT").await;
    assert_eq!(passed_over(&sql).await, 1);
    sql.run("TRUNCATE ple.passed_over").await;
    // It passes over the first.
    sql.run(&lease_of_priority(1)).await;
    assert_eq!(passed_over(&sql).await, 1);
    app.stop().await;
}

/// That the watch keeps looks that took nobody: what changed since the first of them is held by who looks again.
#[tokio::test(flavor = "multi_thread")]
async fn the_watch_lets_a_lease_hold_what_changed_since_its_first_look() {
    let app = App::start().await;
    let (sql, holder) = (app.sql().await, app.sql().await);
    watched(&app, &sql).await;
    holder
        .run("BEGIN; UPDATE ple.enrichment_queue SET last_error = 'x' WHERE priority = 0")
        .await;
    sql.run("UPDATE ple.enrichment_queue SET last_error = 'y' WHERE priority = 5")
        .await;
    holder
        .run("SELECT FROM ple.enrichment_queue WHERE priority = 5 FOR UPDATE")
        .await;
    holder.run(&lease_of_priority(9)).await;
    assert_eq!(names(&lease(&app, 1).await), ["c"]);
    holder.run("COMMIT").await;
    let seen = "SELECT count(*) FROM ple.passed_over WHERE holder IS NOT NULL";
    assert_eq!(sql.one::<i64>(seen, &[]).await, 2);
    assert_eq!(passed_over(&sql).await, 0);
    app.stop().await;
}
