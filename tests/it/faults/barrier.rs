//! A place that a load comes to and not past: nobody who is slow misses it on its way.

use crate::harness::{Sql, until};

/// Held by a session of its own, which whatever stops PostgreSQL ends.
pub(super) struct Barrier(Sql);

impl Barrier {
    /// Where it is put up for whom: a condition of SQL over the chunk that is to be stored, `new`.
    pub(super) async fn raise(url: &str, condition: &str) -> Self {
        let sql = Sql::connect(url).await;
        sql.run(&format!(
            "CREATE FUNCTION public.wait_at_the_barrier() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF {condition} THEN
                     PERFORM pg_advisory_xact_lock_shared(1);
                 END IF;
                 RETURN new;
             END $$;
             CREATE TRIGGER barrier BEFORE INSERT ON intake.batch_chunks
             FOR EACH ROW EXECUTE FUNCTION public.wait_at_the_barrier();
             SELECT pg_advisory_lock(1)"
        ))
        .await;
        Self(sql)
    }

    /// Waits until so many lanes wait.
    pub(super) async fn until_reached_by(&self, lanes: i64) {
        until("the lanes to come to the barrier", async || {
            let waiting: i64 = self
                .0
                .one(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted",
                    &[],
                )
                .await;
            (waiting >= lanes).then_some(())
        })
        .await;
    }

    /// Lets them go on.
    pub(super) async fn lift(&self) {
        self.0.run("SELECT pg_advisory_unlock(1)").await;
    }
}
