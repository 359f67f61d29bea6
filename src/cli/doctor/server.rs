//! The server of the database: that it is the one that takes writes, how it is reached, what it speaks.

use super::check::Check;
use crate::db::{
    DatabaseUrl,
    inspect::Server,
    language::foreign,
    wire::{Wire, wire},
};

pub(super) const WRITES: &str = "takes writes";
pub(super) const TLS: &str = "database tls";
pub(super) const LANGUAGE: &str = "language";

pub(super) fn writes(server: &Server) -> Check {
    let (detail, mend) = match (server.is_read_only, server.is_standby) {
        (false, _) => return Check::ok(WRITES, "it takes them"),
        (true, true) => (
            "it is a standby: it takes none",
            "after a failover name the new primary in DATABASE_URL; best name every host, with \
             target_session_attrs=read-write, and the service finds it",
        ),
        (true, false) => (
            "it takes none: its transactions are read-only",
            "reset default_transaction_read_only, in postgresql.conf, or of the database or the login \
             (ALTER DATABASE ... RESET, ALTER ROLE ... RESET)",
        ),
    };
    Check::failed(WRITES, detail, mend)
}

pub(super) async fn tls(url: &DatabaseUrl) -> Check {
    match wire(url).await {
        Ok(wire) => judge_tls(url, wire),
        Err(error) => Check::error(TLS, &error),
    }
}

fn judge_tls(url: &DatabaseUrl, wire: Wire) -> Check {
    match wire {
        Wire::Encrypted => Check::ok(TLS, "on, and the certificate is verified"),
        _ if url.is_loopback() && wire == Wire::Plain => {
            Check::ok(TLS, "off: the database, or its pooler, is on this machine")
        }
        Wire::Preferred => Check::ok(
            TLS,
            "on, and the certificate is verified; sslmode=require in DATABASE_URL would keep it so",
        ),
        Wire::Plain => Check::warning(
            TLS,
            "off: what goes to the database, or to its pooler, and back can be read on the way",
            "turn it on there, and put sslmode=require into DATABASE_URL",
        ),
    }
}

/// Faults are known by English words.
pub(super) async fn language(url: &DatabaseUrl) -> Check {
    match foreign(url).await {
        Ok(None) => Check::ok(LANGUAGE, "the database speaks English"),
        Ok(Some(foreign)) => Check::failed(
            LANGUAGE,
            foreign.detail(),
            format!(
                "as a superuser run {}; then restart the service, and let a pooler reconnect",
                foreign.mend
            ),
        ),
        Err(error) => Check::error(LANGUAGE, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check::State, *};

    #[test]
    fn plain_text_to_another_machine_is_a_warning() {
        let state = |host, wire| {
            let url = DatabaseUrl::parse(&format!("postgresql://u@{host}/d")).unwrap();
            judge_tls(&url, wire).state
        };
        assert_eq!(state("db.example", Wire::Plain), State::Warning);
        assert_eq!(state("db.example", Wire::Preferred), State::Ok);
        assert_eq!(state("db.example", Wire::Encrypted), State::Ok);
        assert_eq!(state("localhost", Wire::Plain), State::Ok);
    }

    #[test]
    fn what_takes_no_writes_has_failed_and_says_whether_it_is_a_standby() {
        let judged = |is_read_only, is_standby| {
            writes(&Server {
                version: "17".to_owned(),
                login: "app".to_owned(),
                is_read_only,
                is_standby,
                connections: 100,
            })
        };
        assert_eq!(judged(false, false).state, State::Ok);
        for (is_standby, says) in [
            (true, "new primary"),
            (false, "default_transaction_read_only"),
        ] {
            let check = judged(true, is_standby);
            assert_eq!(check.state, State::Failed);
            assert!(check.mend.as_ref().unwrap().contains(says), "{check:?}");
        }
    }
}
