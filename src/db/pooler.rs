//! What stands between the service and PostgreSQL, found out before it matters.
//!
//! Behind a pooler in transaction mode each transaction may run on another server connection. A role that was set
//! is lost there, or is found by somebody else; and diesel prepares a statement and then executes it, which are two
//! transactions for a pooler: the second may run where nobody has heard of the statement. PgBouncer 1.21 and newer
//! look after statements, and nobody after sessions. A service that began all the same would fail now and then, as
//! its load falls: better not to start at all.

use std::time::Duration;

use tokio_postgres::{Client, Error as Failure, SimpleQueryMessage};

use super::{
    connect,
    error::{Error, describe},
    url::DatabaseUrl,
};

/// How often it is tried: another client of the pool may take the connection that was to be held.
const ATTEMPTS: usize = 3;
/// A pool of one connection makes the second client wait for the first.
const PATIENCE: Duration = Duration::from_secs(3);

/// What an administrator is to run where nothing bounds the statements of a login: what the service sets for its
/// sessions, where it has any, and what ends a statement whose caller is gone. There is no cancelling through PgBouncer,
/// which forgets a cancel whose sender does not wait, and our driver does not; but it closes the server connection of a
/// client that is gone, and PostgreSQL can be told to look.
const UNBOUNDED: &str = "
    SELECT format('ALTER ROLE %I SET %s = %L', session_user, b.name, b.value)
    FROM (VALUES (1, 'statement_timeout', '60s'), (2, 'lock_timeout', '15s'),
                 (3, 'idle_in_transaction_session_timeout', '300s'),
                 (4, 'client_connection_check_interval', '1s')) AS b (place, name, value)
    WHERE current_setting(b.name) = '0'
    ORDER BY b.place";

/// How PgBouncer begins what it says to a client in the server's place, when it has lost the server connection, waited
/// for one in vain, or goes itself. It closes the connection then, and what was asked is done or not.
pub(crate) const WORDS_OF_LOSS: [&str; 9] = [
    "server conn crashed",
    "query_wait_timeout",
    "query timeout",
    "idle transaction timeout",
    "server login has been failing",
    "no more connections allowed",
    "server shutting down",
    "pooler is shutting down",
    "admin forced disconnect",
];

/// How many connections to PostgreSQL a pooler has for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// More than one; or there is no pooler.
    Several,
    /// One, or all others are taken: whoever keeps it holds up everybody else.
    One,
}

/// Refuses a pooler in transaction mode that the URL was not said to have, and one that keeps no prepared
/// statements.
///
/// # Errors
/// [`Error::PoolerWithoutSessions`], [`Error::PoolerTooOld`], [`Error::Connect`].
pub async fn verify(url: &DatabaseUrl) -> Result<Connections, Error> {
    let (asker, _driver) = connect::client(url).await?;
    let (holder, _driver) = connect::client(url).await?;
    let mut found = Connections::One;
    for _ in 0..ATTEMPTS {
        let answered = if url.has_sessions() {
            sessions(url, &asker, &holder).await?
        } else {
            let statements = statements(&asker, &holder).await;
            statements.map_err(|error| Error::PoolerTooOld {
                target: url.to_string(),
                detail: describe(&error),
            })?
        };
        if answered.is_some() {
            found = Connections::Several;
        }
    }
    Ok(found)
}

/// What bounds the work of a login that has no sessions for the service to set it in: without it a statement may run, or
/// keep its locks, for ever, and goes on when its caller is gone. Nothing where it has sessions, or where all is bounded.
///
/// # Errors
/// [`Error::Connect`], [`Error::Query`].
pub async fn unbounded(url: &DatabaseUrl) -> Result<Vec<String>, Error> {
    if url.has_sessions() {
        return Ok(Vec::new());
    }
    let (client, _driver) = connect::client(url).await?;
    let answer = client.simple_query(UNBOUNDED).await;
    let answer = answer.map_err(Error::query("asking what bounds the login's statements"))?;
    Ok(texts(answer).collect())
}

/// Whether a statement is found again; nothing where there is no second connection to look on.
async fn statements(asker: &Client, holder: &Client) -> Result<Option<()>, Failure> {
    let statement = asker.prepare("SELECT 1").await?;
    let answer = elsewhere(holder, asker.query_one(&statement, &[])).await?;
    Ok(answer.map(drop))
}

/// Whether what was set is found again; nothing where there is no second connection to look on.
async fn sessions(url: &DatabaseUrl, asker: &Client, holder: &Client) -> Result<Option<()>, Error> {
    let failed = || Error::query("looking whether the database keeps sessions");
    let pid = "SELECT pg_backend_pid()";
    let before = texts(asker.simple_query(pid).await.map_err(failed())?).next();
    let after = elsewhere(holder, asker.simple_query(pid))
        .await
        .map_err(failed())?;
    match after.map(|answer| texts(answer).next()) {
        Some(after) if after != before => Err(Error::PoolerWithoutSessions {
            target: url.to_string(),
        }),
        after => Ok(after.map(drop)),
    }
}

/// The first column of an answer.
fn texts(answer: Vec<SimpleQueryMessage>) -> impl Iterator<Item = String> {
    answer.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// Asks while the server connection that was asked last is held by somebody else; no answer where there is but one.
async fn elsewhere<T>(
    holder: &Client,
    ask: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    // Poolers lend the connection that came back last.
    holder.batch_execute("BEGIN").await?;
    let answer = tokio::time::timeout(PATIENCE, ask).await;
    holder.batch_execute("COMMIT").await?;
    answer.ok().transpose()
}
