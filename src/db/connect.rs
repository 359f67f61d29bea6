//! One connection to PostgreSQL, acting as a role.
//!
//! Guarantees:
//! * With a role, the connection acts as it before it is handed out (law 5): it is asked for as a
//!   startup option, which survives `RESET ALL` and `DISCARD ALL`, and then looked at, since some
//!   poolers drop startup options without a word.
//! * Where a pooler refuses the option (PgBouncer: "unsupported startup parameter"), `SET ROLE`
//!   stands in. That is session state: behind a pooler in transaction mode it is not reliable, and a
//!   warning says so once.
//! * Behind a pooler that keeps no sessions ([`DatabaseUrl::without_sessions`]) neither is tried: the login must
//!   act as the role by itself, and the startup options of ours are left out.
//! * TLS is tried first under `sslmode=prefer`. Where it fails, plain text is used only if the
//!   server is this machine itself (distributions ship self-signed certificates for localhost).

mod explain;

use std::sync::Once;
use std::time::Duration;

use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use tokio::task::JoinHandle;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{Error, describe};
use super::hosts;
use super::tls;
use super::url::DatabaseUrl;
use super::watch::{Patience, Watched};
use explain::{explain, failed};

/// A server that takes the socket and then says nothing must not hold a caller for ever. Generous,
/// since a serverless database may have to wake up first.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// After how long a connection on which nothing comes back counts as dead: a network that swallows everything
/// says nothing, and the system would wait for a quarter of an hour, or two hours where nothing is on its way.
const DEAD_AFTER: Duration = Duration::from_secs(30);
/// The same of a connection that waits for an answer, or that nobody uses: how long until it is asked, and how
/// often then.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
type Link = (Client, Connection<Socket, Stream>);

/// Connects for diesel, acting as `role` where one is given.
///
/// # Errors
/// [`Error::Connect`] with a hint where one is known, [`Error::RoleMissing`] or
/// [`Error::RoleNotGranted`] where the role is the trouble, [`Error::Tls`] where certificates
/// cannot be loaded.
pub async fn connect(url: &DatabaseUrl, role: Option<&str>) -> Result<AsyncPgConnection, Error> {
    connect_with(url, role, "").await
}

/// The same with startup options of ours, such as `-c lock_timeout=15s`. Where a pooler refuses startup options, they
/// are set afterwards, for the session.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_with(
    url: &DatabaseUrl,
    role: Option<&str>,
    options: &str,
) -> Result<AsyncPgConnection, Error> {
    hosts::try_each(url, |config| async move {
        let opened = open(url, config, role, options).await?;
        let (client, connection) = opened.link;
        let mut conn = AsyncPgConnection::try_from_client_and_connection(client, connection)
            .await
            .map_err(|e| failed(url, e.to_string()))?;
        set_up(&mut conn, url, role, options, opened.is_configured).await?;
        Ok(conn)
    })
    .await
}

/// The same, with bounds for how long an answer is waited for.
///
/// # Errors
/// As [`connect`].
pub(super) async fn connect_watched(
    url: &DatabaseUrl,
    role: Option<&str>,
    options: &str,
    patience: Patience,
) -> Result<Watched, Error> {
    hosts::try_each(url, |config| async move {
        let opened = open(url, config, role, options).await?;
        let mut conn = Watched::over(opened.link, url, patience)
            .await
            .map_err(|e| failed(url, e.to_string()))?;
        set_up(&mut conn, url, role, options, opened.is_configured).await?;
        conn.rests();
        Ok(conn)
    })
    .await
}

/// Makes sure of all that a connection was asked for with.
async fn set_up(
    conn: &mut AsyncPgConnection,
    url: &DatabaseUrl,
    role: Option<&str>,
    options: &str,
    is_configured: bool,
) -> Result<(), Error> {
    if let Some(role) = role {
        ensure_role(conn, url, role).await?;
    }
    if !is_configured {
        configure(conn, url, options).await?;
    }
    Ok(())
}

/// Sets what was asked for at the start of the connection, and refused there: without it a statement could run, or
/// wait for a lock, for ever.
async fn configure(
    conn: &mut AsyncPgConnection,
    url: &DatabaseUrl,
    options: &str,
) -> Result<(), Error> {
    let settings = options
        .split("-c ")
        .filter_map(|option| option.trim().split_once('='));
    for (name, value) in settings {
        diesel::sql_query("SELECT set_config($1, $2, false)")
            .bind::<diesel::sql_types::Text, _>(name)
            .bind::<diesel::sql_types::Text, _>(value)
            .execute(conn)
            .await
            .map_err(|e| failed(url, e.to_string()))?;
    }
    Ok(())
}

/// A raw client for what diesel hides: error codes and positions, batches with several statements.
/// The connection lives until the client is dropped.
pub(crate) async fn client(url: &DatabaseUrl) -> Result<(Client, JoinHandle<()>), Error> {
    let opening = |config| async move { Ok(open(url, config, None, "").await?.link) };
    let (client, connection) = hosts::try_each(url, opening).await?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(error = %describe(&error), "a database connection ended");
        }
    });
    Ok((client, driver))
}

/// A connection, and whether the startup options that were asked for, if any were, hold on it.
struct Opened {
    link: Link,
    is_configured: bool,
}

/// Opens the connection, without startup options where they are refused.
async fn open(
    url: &DatabaseUrl,
    mut config: Config,
    role: Option<&str>,
    options: &str,
) -> Result<Opened, Error> {
    watch_network(&mut config);
    let without = config.clone();
    // Where there are no sessions, nothing can be asked for at their start.
    let role = role.filter(|_| url.has_sessions());
    if let Some(role) = role {
        let asked = format!("-c role={} {options}", escape_option(role));
        config.options(match config.get_options() {
            Some(own) => format!("{own} {asked}"),
            None => asked,
        });
    }
    match attempt(url, &config).await {
        Err(Attempt::Failed(error)) if role.is_some() && is_option_refused(&error) => {
            let link = attempt(url, &without)
                .await
                .map_err(|e| e.into_error(url, None))?;
            Ok(Opened {
                link,
                is_configured: false,
            })
        }
        result => {
            let link = result.map_err(|e| e.into_error(url, role))?;
            Ok(Opened {
                link,
                is_configured: true,
            })
        }
    }
}

/// Finds out when the network is gone, unless the URL says how.
fn watch_network(config: &mut Config) {
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(DEAD_AFTER);
    }
    if config.get_keepalives_retries().is_none() && config.get_keepalives_interval().is_none() {
        config
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES);
    }
}

/// Why one attempt failed.
enum Attempt {
    Failed(tokio_postgres::Error),
    TimedOut,
    Setup(Error),
}

impl Attempt {
    fn into_error(self, url: &DatabaseUrl, role: Option<&str>) -> Error {
        match self {
            Self::Failed(error) => explain(url, role, &error),
            Self::TimedOut => failed(
                url,
                format!(
                    "the server accepted the socket and then said nothing for {HANDSHAKE_TIMEOUT:?}"
                ),
            ),
            Self::Setup(error) => error,
        }
    }
}

async fn attempt(url: &DatabaseUrl, config: &Config) -> Result<Link, Attempt> {
    let connector = url.connector().map_err(Attempt::Setup)?;
    let first = timed(config, connector.clone()).await;
    let Err(Attempt::Failed(error)) = &first else {
        return first;
    };
    let may_be_plain = config.get_ssl_mode() == SslMode::Prefer
        && config.get_channel_binding() != ChannelBinding::Require
        && url.is_loopback();
    if !may_be_plain || tls::hint(error).is_empty() {
        return first;
    }
    tracing::debug!(target = %url, "the certificate of this machine's own server is not trusted: no TLS");
    let mut plain = config.clone();
    plain.ssl_mode(SslMode::Disable);
    timed(&plain, connector).await
}

async fn timed(config: &Config, connector: MakeRustlsConnect) -> Result<Link, Attempt> {
    // Boxed: the handshake's future is some kilobytes that every caller would carry.
    let connecting = Box::pin(config.connect(connector));
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(result) => result.map_err(Attempt::Failed),
        Err(_elapsed) => Err(Attempt::TimedOut),
    }
}

/// PgBouncer's words; it has no SQLSTATE of its own for this.
fn is_option_refused(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|db| db.message().contains("unsupported startup parameter"))
}

/// Backslash-escapes what would end an option's value.
fn escape_option(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if c == '\\' || c.is_whitespace() {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Looks at who the connection acts as, and sets it where the startup option did not arrive.
async fn ensure_role(
    conn: &mut AsyncPgConnection,
    url: &DatabaseUrl,
    role: &str,
) -> Result<(), Error> {
    let acting: String = diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(
        "current_user::text",
    ))
    .get_result(conn)
    .await
    .map_err(|e| failed(url, e.to_string()))?;
    if acting == role {
        return Ok(());
    }
    if !url.has_sessions() {
        return Err(Error::RoleNotOfLogin {
            login: acting,
            role: role.to_owned(),
        });
    }
    warn_of_pooler();
    diesel::sql_query(format!("SET ROLE {}", quote_identifier(role)))
        .execute(conn)
        .await
        .map_err(|e| Error::RoleNotGranted {
            login: acting,
            role: role.to_owned(),
            detail: e.to_string(),
        })?;
    Ok(())
}

fn warn_of_pooler() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            "the server or its pooler does not take the role as a startup option, so SET ROLE is \
             used: a pooler in transaction mode may lose it. Give the service a login that is \
             nothing but leadvault_app and set --pooler-mode=transaction, or give it a direct URL"
        );
    });
}

/// An identifier as SQL reads it back.
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_values_and_identifiers_cannot_break_out() {
        assert_eq!(escape_option("leadvault_app"), "leadvault_app");
        assert_eq!(escape_option(r"a -c b\"), r"a\ -c\ b\\");
        assert_eq!(quote_identifier("a\"; DROP"), "\"a\"\"; DROP\"");
    }
}
