//! A `DATABASE_URL`, understood.
//!
//! tokio-postgres parses most of what libpq does, in both forms (`postgresql://...` and
//! `host=... user=...`), but knows neither `sslmode=verify-full`, `verify-ca` and `allow` nor
//! `sslrootcert`. They are taken out here and translated; all else goes through unchanged.
//!
//! Guarantees: neither `Debug` nor `Display` of a [`DatabaseUrl`], nor an error about one, shows
//! the password, not even where a mistyped URL puts a part of it elsewhere.

mod split;

pub(crate) use split::percent_encode;

use std::fmt;
use std::str::FromStr;
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::Error;
use super::hosts;
use super::tls::{self, Roots, TlsPolicy, Verify};
use split::Parts;

/// How long a socket may take to open where the URL does not say (`connect_timeout`).
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same of one of several hosts, and of all that comes before it is known to be the right one: the next one waits.
const DEFAULT_HOST_PATIENCE: Duration = Duration::from_secs(3);

/// How long a server's machine may acknowledge nothing until its connections count as lost, where the URL does not
/// say (`keepalives_idle`, `tcp_user_timeout`). One that lost its power or its network says no goodbye, and the
/// system's own patience is hours.
const SILENCE: Duration = Duration::from_secs(30);

/// What libpq knows and we do not: safe to name in an error, since it cannot be a piece of a
/// password that slipped out of its place.
const ONLY_LIBPQ: [&str; 12] = [
    "fallback_application_name",
    "gssencmode",
    "keepalives_count",
    "krbsrvname",
    "passfile",
    "requirepeer",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslpassword",
    "ssl_min_protocol_version",
];

/// A parsed database URL, with the TLS policy that it asks for.
#[derive(Clone)]
pub struct DatabaseUrl {
    config: tokio_postgres::Config,
    policy: TlsPolicy,
    has_sessions: bool,
    /// Loading the machine's roots reads some hundred certificates: once a URL, not once a
    /// connection.
    connector: Arc<OnceLock<MakeRustlsConnect>>,
    /// The place of the host that took the last connection.
    preferred_host: Arc<AtomicUsize>,
}

impl DatabaseUrl {
    /// Parses a URL or a libpq key-value string.
    ///
    /// # Errors
    /// [`Error::Url`] where it cannot be understood or names no host.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = Parts::split(text.trim())?;
        let policy = take_tls_policy(&mut parts.params)?;
        let mut config = tokio_postgres::Config::from_str(&parts.join()).map_err(without_secret)?;
        complete(&mut config)?;
        if !parts.params.iter().any(|(key, _)| key == "keepalives_idle") {
            config.keepalives_idle(SILENCE);
        }
        Ok(Self {
            config,
            policy,
            has_sessions: true,
            connector: Arc::default(),
            preferred_host: Arc::default(),
        })
    }

    /// What tokio-postgres is to connect with.
    pub(crate) fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// The same server and credentials, another database.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.config.dbname(name);
        other
    }

    /// The same through a pooler in transaction mode, where a connection is another session at each transaction.
    #[must_use]
    pub fn without_sessions(mut self) -> Self {
        self.has_sessions = false;
        self
    }

    /// Whether what is set on a connection stays set.
    pub(crate) fn has_sessions(&self) -> bool {
        self.has_sessions
    }

    /// The login's name, where the URL gives one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.config.get_user()
    }

    /// The TLS connector; made at the first use. Without TLS no roots are loaded, so that a machine
    /// without any can use a socket.
    pub(crate) fn connector(&self) -> Result<MakeRustlsConnect, Error> {
        if let Some(ready) = self.connector.get() {
            return Ok(ready.clone());
        }
        let made = if self.config.get_ssl_mode() == SslMode::Disable {
            tls::unused_connector()?
        } else {
            tls::connector(&self.policy, self.config.get_ssl_negotiation())?
        };
        Ok(self.connector.get_or_init(|| made).clone())
    }

    /// Whether only a server that takes writes will do.
    pub(crate) fn asks_for_writes(&self) -> bool {
        self.config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite
    }

    /// How long one of several hosts may take until the next one is tried: the URL's `connect_timeout`, or 3 seconds.
    pub(crate) fn host_patience(&self) -> Duration {
        let timeout = self.config.get_connect_timeout().copied();
        timeout.unwrap_or(DEFAULT_HOST_PATIENCE)
    }

    /// How long all of several hosts may take, one after the other; nothing where there is only one.
    pub(crate) fn patience(&self) -> Duration {
        match u32::try_from(hosts::count(&self.config)) {
            Ok(0 | 1) => Duration::ZERO,
            count => self
                .host_patience()
                .saturating_mul(count.unwrap_or(u32::MAX)),
        }
    }

    /// The place of the host that is to be tried first.
    pub(crate) fn preferred_host(&self) -> usize {
        self.preferred_host.load(Ordering::Relaxed)
    }

    /// Says which host took a connection. Where any would do, the first one is the best.
    pub(crate) fn prefer_host(&self, place: usize) {
        if self.asks_for_writes() {
            self.preferred_host.store(place, Ordering::Relaxed);
        }
    }

    /// Whether every host is this machine itself, where plain text passes no wire.
    pub(crate) fn is_loopback(&self) -> bool {
        let by_name = self.config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
            Host::Unix(_) => true,
        });
        by_name && self.config.get_hostaddrs().iter().all(|a| a.is_loopback())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.user().unwrap_or("(the system's user)"))?;
        let ports = self.config.get_ports();
        let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        for (i, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{}", port(i))?,
                Host::Unix(path) => write!(f, "{comma}{}:{}", path.display(), port(i))?,
            }
        }
        if self.config.get_hosts().is_empty() {
            for (i, address) in self.config.get_hostaddrs().iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                write!(f, "{comma}{address}:{}", port(i))?;
            }
        }
        match self.config.get_dbname() {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrl")
            .field("target", &self.to_string())
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// Takes `sslmode` and `sslrootcert` out and leaves what tokio-postgres knows of the former.
fn take_tls_policy(params: &mut Vec<(String, String)>) -> Result<TlsPolicy, Error> {
    let mut verify = Verify::ChainAndName;
    let mut roots = Roots::System;
    let mut mode = None;
    for (key, value) in params.iter() {
        match key.as_str() {
            "sslmode" => {
                verify = Verify::ChainAndName;
                mode = Some(match value.as_str() {
                    "disable" => "disable",
                    "allow" | "prefer" => "prefer",
                    "require" | "verify-full" => "require",
                    "verify-ca" => {
                        verify = Verify::ChainOnly;
                        "require"
                    }
                    _ => return Err(bad_ssl_mode()),
                });
            }
            "sslrootcert" if value == "system" => roots = Roots::System,
            "sslrootcert" => roots = Roots::File(value.into()),
            _ => {}
        }
    }
    params.retain(|(key, _)| key != "sslmode" && key != "sslrootcert");
    if let Some(mode) = mode {
        params.push(("sslmode".to_owned(), mode.to_owned()));
    }
    Ok(TlsPolicy { verify, roots })
}

fn bad_ssl_mode() -> Error {
    Error::Url(
        "sslmode is one of disable, allow, prefer, require, verify-ca and verify-full".to_owned(),
    )
}

/// Fills in our defaults, and refuses early what would fail late.
fn complete(config: &mut tokio_postgres::Config) -> Result<(), Error> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(Error::Url(
            "it names no host. Write postgresql://user:password@host:5432/database, \
             or for a socket postgresql://user@/database?host=/var/run/postgresql"
                .to_owned(),
        ));
    }
    let is_unix = |host: &Host| matches!(host, Host::Unix(_));
    if config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(is_unix) {
        // As libpq does: PostgreSQL speaks no TLS over a socket, whatever the mode says.
        config.ssl_mode(SslMode::Disable);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(if hosts::count(config) > 1 {
            DEFAULT_HOST_PATIENCE
        } else {
            DEFAULT_CONNECT_TIMEOUT
        });
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    if config.get_application_name().is_none() {
        config.application_name("leadvault");
    }
    Ok(())
}

/// The parser's complaint; an unknown key is named only where it cannot be part of a password.
fn without_secret(error: tokio_postgres::Error) -> Error {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let text = cause.unwrap_or_else(|| error.to_string());
    let Some(key) = text.strip_prefix("unknown option `") else {
        return Error::Url(text);
    };
    let key = key.trim_end_matches('`');
    Error::Url(if ONLY_LIBPQ.contains(&key) {
        format!("the parameter {key} is libpq's and not supported here; leave it out")
    } else {
        "it holds a parameter that does not exist (a space, & or ? in the password must be \
         percent-encoded in a URL, and quoted in the key=value form)"
            .to_owned()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
