//! What a refused connection means, and what would make it work.

use tokio_postgres::config::ChannelBinding;
use tokio_postgres::error::SqlState;

use super::super::error::{Error, describe};
use super::super::tls;
use super::super::url::DatabaseUrl;

/// A connection that could not be had.
pub(super) fn failed(url: &DatabaseUrl, detail: String) -> Error {
    Error::Connect {
        target: url.to_string(),
        detail,
        hint: String::new(),
    }
}

/// Turns a refusal into an error with what would make it work.
pub(super) fn explain(
    url: &DatabaseUrl,
    role: Option<&str>,
    error: &tokio_postgres::Error,
) -> Error {
    if let (Some(role), Some(db)) = (role, error.as_db_error())
        && let Some(error) = explain_role(url, role, db)
    {
        return error;
    }
    let detail = describe(error);
    let hint = match error.code() {
        Some(_) if detail.contains("no encryption") => NEEDS_TLS.to_owned(),
        Some(code) => hint_of(code).to_owned(),
        None => security_hint(url, error, &detail),
    };
    Error::Connect {
        target: url.to_string(),
        detail,
        hint,
    }
}

const NEEDS_TLS: &str = "The server takes no plain text from here: use sslmode=require";

/// What an operator can do where both sides do not agree on how safe the connection is to be. The driver has no
/// codes for that, only these words.
fn security_hint(url: &DatabaseUrl, error: &tokio_postgres::Error, detail: &str) -> String {
    if detail.contains("server does not support TLS") {
        return "The URL asks for TLS: set ssl = on in the server's postgresql.conf, or, on a network that you \
                trust, use sslmode=disable"
            .to_owned();
    }
    if url.config().get_channel_binding() == ChannelBinding::Require
        && detail.contains("authentication error")
    {
        return "channel_binding=require needs TLS and a password that both the server and its pg_hba.conf keep to \
                scram-sha-256; else leave channel_binding out of the URL"
            .to_owned();
    }
    tls::hint(error)
}

fn explain_role(
    url: &DatabaseUrl,
    role: &str,
    db: &tokio_postgres::error::DbError,
) -> Option<Error> {
    let role = role.to_owned();
    // Both name the parameter in their text; the code alone could be about another option.
    if !db.message().contains("role") {
        return None;
    }
    if *db.code() == SqlState::INVALID_PARAMETER_VALUE {
        return Some(Error::RoleMissing { role });
    }
    (*db.code() == SqlState::INSUFFICIENT_PRIVILEGE).then(|| Error::RoleNotGranted {
        login: url.user().unwrap_or("(the system's user)").to_owned(),
        role,
        detail: db.message().to_owned(),
    })
}

fn hint_of(code: &SqlState) -> &'static str {
    match *code {
        SqlState::INVALID_PASSWORD => "Check user and password in the URL",
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "Check the user, and the server's pg_hba.conf for this host"
        }
        SqlState::INVALID_CATALOG_NAME => "Create the database, or correct its name in the URL",
        SqlState::TOO_MANY_CONNECTIONS => {
            "Raise max_connections on the server, or lower the pools of the services that share it"
        }
        SqlState::CANNOT_CONNECT_NOW => "The server is starting or stopping; try again shortly",
        _ => "",
    }
}
