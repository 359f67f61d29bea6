//! The answer of a statement that commits by itself, once it has.
//!
//! A statement outside of a transaction commits after its last row, and PostgreSQL sends rows as its buffer fills: one
//! of some kilobytes may arrive before the commit, which then waits for the disk, or for a standby that is away.
//! A small one goes out early, too, with the warning of a server that is stopped while the commit waits. diesel's
//! `get_result` takes the first row and goes. Whoever acks such a row has acked what a crash may still lose (law 2), so
//! a write that is not in a transaction takes its row from here. Inside of one the commit is a statement of its own,
//! and nothing of this matters.
//!
//! PostgreSQL lets a commit that wrote nothing go without waiting. What it tells of may be less durable: a commit that
//! was cut while it waited for a standby is seen by all others. So whoever answers that something was done before
//! commits as a write does: the functions by `intake.f_commit_as_write`, jobs by [`commit_as_write`].

use diesel::{QueryResult, result::Error::NotFound, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl, methods::LoadQuery};

/// Statements whose only row is taken after their end.
pub(crate) trait GetCommitted: RunQueryDsl<AsyncPgConnection> {
    /// Runs the statement to its end, which is after its commit, and returns its row.
    fn get_committed<'query, Row>(
        self,
        connection: &mut AsyncPgConnection,
    ) -> impl Future<Output = QueryResult<Row>> + Send
    where
        Row: Send,
        Self: LoadQuery<'query, AsyncPgConnection, Row> + Send + 'query,
    {
        async move {
            let rows: Vec<Row> = self.load(connection).await?;
            rows.into_iter().next().ok_or(NotFound)
        }
    }
}

impl<Statement: RunQueryDsl<AsyncPgConnection>> GetCommitted for Statement {}

/// Waits for the disk, and for a synchronous standby, as the commit of a write does: until what others were seen to
/// have done is as durable as what they were told.
pub(crate) async fn commit_as_write(connection: &mut AsyncPgConnection) -> QueryResult<()> {
    sql_query("SELECT intake.f_commit_as_write()")
        .execute(connection)
        .await?;
    Ok(())
}
