//! The settings of the doors: the address, TLS, the clients.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use chrono::{DateTime, Utc};

use super::check::Check;
use crate::{
    config::{DoorSettings, OpsListen, ServiceSettings},
    server::doors::{self, ClientsFile, PemFile, TlsFiles, Validity, lacking},
};

const LISTEN: &str = "listen";
const OPERATORS: &str = "operators";
const TLS: &str = "tls";
const CLIENTS: &str = "clients";
const ROOT: u32 = 0;
/// From how many days before its end on a certificate is worth a warning.
const SOON_DAYS: i64 = 30;

pub(super) fn check(doors: &DoorSettings, service: &ServiceSettings) -> Vec<Check> {
    let mut checks = vec![listen(doors, service), operators(service.ops.ops_listen)];
    checks.extend(tls(doors));
    checks.push(clients(doors));
    checks
}

fn listen(settings: &DoorSettings, service: &ServiceSettings) -> Check {
    let address = service.listen;
    let Some((missing, remedy)) = lacking(settings, address) else {
        return Check::ok(LISTEN, format!("gRPC on {address}"));
    };
    if settings.insecure {
        let detail = format!("--listen {address} with --insecure: {missing}");
        return Check::warning(LISTEN, detail, format!("give {remedy}"));
    }
    let error = doors::Error::Open {
        address,
        missing,
        remedy,
    };
    Check::error(LISTEN, &error)
}

/// The port for operators asks nobody who they are.
fn operators(listen: OpsListen) -> Check {
    let OpsListen::At(address) = listen else {
        return Check::ok(OPERATORS, "no port (--ops-listen off)");
    };
    if address.ip().is_loopback() {
        let detail = format!("status, metrics, health and readiness on {address}");
        return Check::ok(OPERATORS, detail);
    }
    Check::warning(
        OPERATORS,
        format!(
            "--ops-listen {address} has no authentication, and other machines reach it: they see counts, and the names \
             of batches, sources and campaigns, never a row's data"
        ),
        "listen on loopback, or let a firewall or an authenticating proxy decide who reaches it",
    )
}

fn tls(settings: &DoorSettings) -> Vec<Check> {
    let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else {
        return vec![Check::ok(TLS, "off (no --tls-certificate)")];
    };
    if let Err(error) = TlsFiles::open(settings) {
        return vec![Check::error(TLS, &error)];
    }
    let mut checks = vec![valid("--tls-certificate", certificate)];
    let authorities = settings.tls_client_ca.as_ref();
    checks.extend(authorities.map(|path| valid("--tls-client-ca", path)));
    checks.extend(open_to_readers(key));
    checks
}

fn valid(setting: &'static str, path: &Path) -> Check {
    match doors::validity(PemFile { setting, path }) {
        Ok(validity) => judge(
            &format!("{setting} {}", path.display()),
            validity,
            Utc::now(),
        ),
        Err(error) => Check::error(TLS, &error),
    }
}

/// Whether certificates are good now, and will be for a while.
fn judge(what: &str, validity: Validity, now: DateTime<Utc>) -> Check {
    let Validity { from, until } = validity;
    let mend =
        "renew it, and send the service SIGHUP (systemctl reload): it reads its certificates again";
    if now < from {
        let detail =
            format!("{what} is not valid before {from}, and this machine's clock says {now}");
        return Check::failed(
            TLS,
            detail,
            "set the clock, or use a certificate that is valid",
        );
    }
    if until <= now {
        return Check::failed(TLS, format!("{what} expired on {until}"), mend);
    }
    let days = (until - now).num_days();
    if days < SOON_DAYS {
        let detail = format!("{what} expires in {days} days, on {until}");
        return Check::warning(TLS, detail, mend);
    }
    Check::ok(
        TLS,
        format!("{what} is valid for {days} days, until {until}"),
    )
}

/// Whoever reads the key can be the service. As with PostgreSQL's, root's own may be read by a group that it chose.
fn open_to_readers(key: &Path) -> Option<Check> {
    let metadata = fs::metadata(key).ok()?;
    let readers = if metadata.uid() == ROOT { 0o004 } else { 0o044 };
    (metadata.mode() & readers != 0).then(|| {
        let key = key.display();
        Check::failed(
            TLS,
            format!("--tls-key {key} can be read by others than its owner"),
            format!("run chmod go-rwx {key}; a key that was read by somebody is to be replaced"),
        )
    })
}

/// Whoever writes the clients file can be every client.
fn open_to_writers(clients: &Path) -> Option<Check> {
    let mode = fs::metadata(clients).ok()?.mode();
    (mode & 0o022 != 0).then(|| {
        let clients = clients.display();
        Check::failed(
            CLIENTS,
            format!("--clients {clients} can be written by others than its owner, who may let in whom they like"),
            format!("run chmod go-w {clients}, and look at what is in it"),
        )
    })
}

fn clients(settings: &DoorSettings) -> Check {
    let Some(path) = &settings.clients else {
        return Check::ok(
            CLIENTS,
            "none (no --clients): whoever reaches the service may do everything",
        );
    };
    match ClientsFile::open(path.clone(), settings.tls_client_ca.is_some()) {
        Ok(file) => open_to_writers(path).unwrap_or_else(|| {
            Check::ok(CLIENTS, format!("{} in {}", file.count(), path.display()))
        }),
        Err(error) => Check::error(CLIENTS, &error),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Days;

    use super::{super::check::State, *};

    #[test]
    fn a_port_for_operators_that_others_reach_is_a_warning() {
        let at = |address: &str| operators(address.parse().unwrap());
        assert_eq!(at("127.0.0.1:50052").state, State::Ok);
        assert_eq!(at("[::1]:50052").state, State::Ok);
        assert_eq!(at("off").state, State::Ok);
        for open in ["0.0.0.0:50052", "[::]:50052", "10.0.0.1:50052"] {
            let check = at(open);
            assert_eq!(check.state, State::Warning);
            assert!(check.detail.contains(open), "{check:?}");
        }
    }

    #[test]
    fn a_certificate_is_judged_by_its_days() {
        let now = Utc::now();
        let validity = |from: u64, until: u64| Validity {
            from: now - Days::new(10) + Days::new(from),
            until: now - Days::new(10) + Days::new(until),
        };
        let check = |from, until| judge("it", validity(from, until), now);
        assert_eq!(check(0, 100).state, State::Ok);
        let soon = check(0, 17);
        assert_eq!(soon.state, State::Warning);
        assert!(
            soon.detail.starts_with("it expires in 7 days, on "),
            "{soon:?}"
        );
        assert_eq!(check(0, 9).state, State::Failed);
        assert_eq!(check(11, 99).state, State::Failed);
    }
}
