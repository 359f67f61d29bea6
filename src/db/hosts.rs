//! The hosts of a URL, one after the other, each with a time of its own.
//!
//! The driver tries them in their order, too, but knows only how long a socket may take to open: a host that takes the
//! socket and then says nothing (a machine that hangs, a server that was stopped) would keep it for ever, and the host
//! that took over would never be asked.
//!
//! Guarantees:
//! * Where there are several hosts, each has [`DatabaseUrl::host_patience`] for its socket, its handshakes, and the look
//!   whether it is one that the URL asks for; so all of them have [`DatabaseUrl::patience`].
//! * Where the URL asks for a server that takes writes, the host that did last is asked first: one that fell silent
//!   costs its time once, and not once a connection. Else the order is the URL's, which may mean it.

use tokio_postgres::config::{Config, Host, LoadBalanceHosts};

use super::{error::Error, url::DatabaseUrl};

/// Connects to the first host that takes it.
///
/// # Errors
/// Those of the attempts; of several hosts all that was said.
pub(super) async fn try_each<T, Connecting>(
    url: &DatabaseUrl,
    connect: impl Fn(Config) -> Connecting,
) -> Result<T, Error>
where
    Connecting: Future<Output = Result<T, Error>>,
{
    let config = url.config();
    let count = count(config);
    if count < 2 {
        return connect(config.clone()).await;
    }
    let first = first(url, count);
    let mut refused: Option<Error> = None;
    for at in (first..first + count).map(|place| place % count) {
        let host = one(config, at);
        let name = name(&host);
        let connecting = Box::pin(connect(host));
        let patience = url.host_patience();
        let tried = tokio::time::timeout(patience, connecting).await;
        let error = match tried {
            Ok(Ok(connected)) => {
                url.prefer_host(at);
                return Ok(connected);
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => Error::Connect {
                target: url.to_string(),
                detail: format!("the server was not ready within {patience:?}"),
                hint: String::new(),
            },
        };
        refused = Some(and_then(refused, of_host(error, &name)));
    }
    refused.map_or_else(|| Err(Error::Url("it names no host".to_owned())), Err)
}

/// How many hosts there are.
pub(super) fn count(config: &Config) -> usize {
    config.get_hosts().len().max(config.get_hostaddrs().len())
}

/// Where to begin.
fn first(url: &DatabaseUrl, count: usize) -> usize {
    if url.config().get_load_balance_hosts() == LoadBalanceHosts::Random {
        // Any number will do that is another one each time.
        return usize::from(uuid::Uuid::new_v4().as_bytes()[0]) % count;
    }
    url.preferred_host() % count
}

/// All that a configuration says, of one of its hosts.
fn one(config: &Config, at: usize) -> Config {
    let mut one = Config::new();
    if let Some(host) = config.get_hosts().get(at) {
        match host {
            Host::Tcp(name) => one.host(name),
            Host::Unix(path) => one.host_path(path),
        };
    }
    if let Some(address) = config.get_hostaddrs().get(at) {
        one.hostaddr(*address);
    }
    let ports = config.get_ports();
    if let Some(port) = ports.get(at).or(ports.first()) {
        one.port(*port);
    }
    with_login(&mut one, config);
    with_network(&mut one, config);
    one.target_session_attrs(config.get_target_session_attrs())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    one
}

fn with_login(one: &mut Config, config: &Config) {
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(database) = config.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
}

fn with_network(one: &mut Config, config: &Config) {
    if let Some(timeout) = config.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    one.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle());
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
}

/// The host of a configuration that has one.
fn name(one: &Config) -> String {
    let port = one.get_ports().first().copied().unwrap_or(5432);
    match (one.get_hosts().first(), one.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) => format!("{name}:{port}"),
        (Some(Host::Unix(path)), _) => format!("{}:{port}", path.display()),
        (None, Some(address)) => format!("{address}:{port}"),
        (None, None) => String::new(),
    }
}

/// Says which of the hosts it was.
fn of_host(error: Error, name: &str) -> Error {
    match error {
        Error::Connect {
            target,
            detail,
            hint,
        } => Error::Connect {
            target,
            detail: format!("{name}: {detail}"),
            hint,
        },
        other => other,
    }
}

/// What the hosts said so far, and what one more says.
fn and_then(said: Option<Error>, error: Error) -> Error {
    match (said, error) {
        (
            Some(Error::Connect {
                detail: before,
                hint: earlier,
                ..
            }),
            Error::Connect {
                target,
                detail,
                hint,
            },
        ) => Error::Connect {
            target,
            detail: format!("{before}; {detail}"),
            hint: if hint.is_empty() { earlier } else { hint },
        },
        // What is wrong with a role or a certificate is worth more than who could not be reached.
        (Some(said), Error::Connect { .. }) => said,
        (_, error) => error,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Each host has all that the URL says, as the driver itself would read it.
    #[test]
    fn a_url_of_many_hosts_is_that_of_each() {
        let rest = "?target_session_attrs=read-write&sslmode=require&channel_binding=require\
            &sslnegotiation=direct&application_name=n&options=-c%20a%3Db&connect_timeout=7&tcp_user_timeout=8\
            &keepalives=1&keepalives_idle=9&keepalives_interval=10&keepalives_retries=11&load_balance_hosts=random";
        let parse = |hosts: &str| {
            let text = format!("postgresql://u:p@{hosts}/d{rest}");
            DatabaseUrl::parse(&text).unwrap()
        };
        let many = parse("a:1,b:2");
        assert_eq!(&one(many.config(), 0), parse("a:1").config());
        assert_eq!(&one(many.config(), 1), parse("b:2").config());
        let addresses = "connect_timeout=3 port=6 hostaddr";
        let many = DatabaseUrl::parse(&format!("host=a,b {addresses}=10.0.0.1,10.0.0.2")).unwrap();
        let second = DatabaseUrl::parse(&format!("host=b {addresses}=10.0.0.2")).unwrap();
        assert_eq!(&one(many.config(), 1), second.config());
    }
}
