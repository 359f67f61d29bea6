//! The doors: TLS, who may come in, and what they may do.
//!
//! Guarantees: without TLS or without clients the service listens on loopback alone, unless it is told that insecure
//! is meant; where there are clients, every call but health comes from one of them, in a role that may make it, and
//! carries its name as the actor.

mod certificate;
mod clients;
mod guard;
mod new_client;
mod pem;
mod roles;
mod tls;
mod token;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

pub(crate) use clients::parse_name;
pub use clients::{ClientsFile, Reloaded};
use guard::Guard;
pub(crate) use guard::GuardLayer;
pub(crate) use new_client::enter;
pub(crate) use pem::{PemFile, Validity, authorities, identity, validity};
pub use roles::Role;
pub use tls::TlsFiles;
pub use token::{Token, TokenHash};

use crate::{
    config::{DoorSettings, Reflection},
    proto,
};

/// Why the doors cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that a setting names is not what it must be.
    #[error("{setting} {}: {detail}", path.display())]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        detail: String,
    },
    /// The address may be reached by others, who would find the doors open.
    #[error(
        "--listen {address} can be reached from other machines, and {missing}. Give {remedy}, or listen on loopback (--listen 127.0.0.1:{}), or say --insecure if that is meant",
        address.port()
    )]
    Open {
        /// The address.
        address: SocketAddr,
        /// What is not there.
        missing: &'static str,
        /// What would be right.
        remedy: &'static str,
    },
    /// An RPC that the table of roles does not name.
    #[error("no rule says who may call {0}; it needs one in src/server/doors/roles.rs")]
    NoRule(String),
    /// A name in the table of roles that is no RPC.
    #[error("a rule in src/server/doors/roles.rs is for {0}, and there is no such RPC")]
    NoRpc(String),
    /// The descriptors are broken, which a build would have shown.
    #[error("the descriptors of the API cannot be read: {0}")]
    Descriptors(String),
}

/// The doors of a server.
#[derive(Debug)]
pub struct Doors {
    tls: Option<TlsFiles>,
    guard: Option<Arc<Guard>>,
    reflection: Reflection,
}

impl Doors {
    /// Reads the files of the settings, and checks that the address is fit for what they say.
    ///
    /// # Errors
    /// [`Error`] says which file is wrong and how, or what the address needs.
    pub fn open(settings: &DoorSettings, listen: SocketAddr) -> Result<Self, Error> {
        let rules = roles::rules(proto::DESCRIPTORS)?;
        check_address(settings, listen)?;
        let tls = TlsFiles::open(settings)?;
        let takes_certificates = settings.tls_client_ca.is_some();
        let open = |path: &PathBuf| ClientsFile::open(path.clone(), takes_certificates);
        let clients = settings.clients.as_ref().map(open).transpose()?;
        let guard = |clients| {
            Arc::new(Guard {
                rules,
                clients,
                reflection: settings.reflection,
            })
        };
        Ok(Self {
            tls,
            guard: clients.map(guard),
            reflection: settings.reflection,
        })
    }

    /// The clients file, to be read again; none where everybody may call.
    pub fn clients_file(&self) -> Option<ClientsFile> {
        self.guard.as_ref().map(|guard| guard.clients.clone())
    }

    /// How an address of the server begins.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Whether anybody is told the API.
    pub(super) fn has_reflection(&self) -> bool {
        self.reflection != Reflection::Off
    }

    /// The layer in front of the services.
    pub(super) fn layer(&self) -> GuardLayer {
        GuardLayer(self.guard.clone())
    }

    /// The files of TLS, to be read again; none where nothing is encrypted.
    pub fn tls_files(&self) -> Option<TlsFiles> {
        self.tls.clone()
    }
}

/// What an address lacks that others reach, and what would be right. TLS without clients lets everybody do
/// everything, and tokens without TLS can be read on the way: it needs both.
pub(crate) fn lacking(
    settings: &DoorSettings,
    address: SocketAddr,
) -> Option<(&'static str, &'static str)> {
    if address.ip().to_canonical().is_loopback() {
        return None;
    }
    match (&settings.tls_certificate, &settings.clients) {
        (Some(_), Some(_)) => None,
        (Some(_), None) => Some((
            "without --clients whoever reaches it may do everything",
            "--clients",
        )),
        (None, Some(_)) => Some((
            "without TLS tokens and personal data can be read on the way",
            "--tls-certificate and --tls-key",
        )),
        (None, None) => Some((
            "without TLS and --clients whoever reaches it may do everything, and personal data can be read on the way",
            "--tls-certificate, --tls-key and --clients",
        )),
    }
}

fn check_address(settings: &DoorSettings, address: SocketAddr) -> Result<(), Error> {
    let Some((missing, remedy)) = lacking(settings, address) else {
        return Ok(());
    };
    if !settings.insecure {
        return Err(Error::Open {
            address,
            missing,
            remedy,
        });
    }
    tracing::warn!(%address, "INSECURE: {missing} (--insecure). Give {remedy} before real data comes in");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, settings: &DoorSettings) -> Result<(), String> {
        check_address(settings, address.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_that_others_reach_needs_tls_and_clients() {
        let nothing = DoorSettings::default();
        for loopback in [
            "127.0.0.1:1",
            "127.8.8.8:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(check(loopback, &nothing), Ok(()), "{loopback}");
        }
        let tls = DoorSettings {
            tls_certificate: Some("c".into()),
            ..DoorSettings::default()
        };
        let clients = DoorSettings {
            clients: Some("c".into()),
            ..DoorSettings::default()
        };
        let both = DoorSettings {
            clients: clients.clients.clone(),
            ..tls.clone()
        };
        for reached in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1"] {
            for (settings, says) in [
                (&nothing, "--tls-certificate, --tls-key and --clients"),
                (&tls, "Give --clients"),
                (&clients, "Give --tls-certificate and --tls-key"),
            ] {
                let refusal = check(reached, settings).unwrap_err();
                assert!(refusal.contains(says), "{refusal}");
                let insecure = DoorSettings {
                    insecure: true,
                    ..settings.clone()
                };
                assert_eq!(check(reached, &insecure), Ok(()));
            }
            assert_eq!(check(reached, &both), Ok(()));
        }
    }
}
