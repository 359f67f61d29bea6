//! What a command shows the service, and what it asks of it: a token, certificates, authorities.
//!
//! Guarantees: a token never goes into an error or a log; what is wrong with a file is said before anything is
//! connected to.

use std::{fs, path::PathBuf};

use clap::Args;
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, ClientTlsConfig},
};

use super::load::Error;
use crate::server::doors::{self, PemFile, authorities, identity};

/// A connection that shows its token with every call.
pub(crate) type Connection = InterceptedService<Channel, Bearer>;

/// What a command shows the service, and what it asks of it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CredentialArgs {
    /// The token to show the service. On the command line other users of the machine can see it: prefer the
    /// variable, or --token-file
    #[arg(
        long,
        env = "LEADVAULT_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,

    /// A file that holds the token
    #[arg(
        long,
        env = "LEADVAULT_TOKEN_FILE",
        conflicts_with = "token",
        value_name = "FILE"
    )]
    token_file: Option<PathBuf>,

    /// The authorities that the service's certificate is checked against, a PEM file [default: those that the
    /// machine trusts]
    #[arg(long, env = "LEADVAULT_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// A certificate that proves this client's name to the service, a PEM file
    #[arg(
        long,
        env = "LEADVAULT_CERTIFICATE",
        requires = "key",
        value_name = "FILE"
    )]
    certificate: Option<PathBuf>,

    /// The private key of --certificate, a PEM file
    #[arg(
        long,
        env = "LEADVAULT_KEY",
        requires = "certificate",
        value_name = "FILE"
    )]
    key: Option<PathBuf>,
}

impl CredentialArgs {
    /// What each call shows.
    pub(super) fn bearer(&self) -> Result<Bearer, Error> {
        let given = self.token.as_ref().map(|token| ("--token", token.clone()));
        let given = match &self.token_file {
            Some(path) => Some(("--token-file", read(path)?)),
            None => given,
        };
        given.map_or(Ok(Bearer(None)), |(setting, token)| {
            Bearer::of(setting, token.trim())
        })
    }

    /// What the handshake needs.
    pub(super) fn tls(&self) -> Result<ClientTlsConfig, doors::Error> {
        let file = |setting, path| PemFile { setting, path };
        let config = ClientTlsConfig::new();
        let config = match &self.ca {
            Some(path) => config.ca_certificate(authorities(file("--ca", path))?),
            None => config.with_native_roots(),
        };
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else {
            return Ok(config);
        };
        let identity = identity(file("--certificate", certificate), file("--key", key))?;
        Ok(config.identity(identity))
    }

    /// A flag that means nothing without TLS.
    pub(super) fn of_tls(&self) -> Option<&'static str> {
        let certificate = self.certificate.as_ref().map(|_| "--certificate");
        self.ca.as_ref().map(|_| "--ca").or(certificate)
    }
}

fn read(path: &PathBuf) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Open {
        name: format!("--token-file {}", path.display()),
        source,
    })
}

/// Shows a token with every call, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bearer(Option<AsciiMetadataValue>);

impl Bearer {
    fn of(setting: &str, token: &str) -> Result<Self, Error> {
        let wrong = || Error::Usage(format!("{setting}: a token is one word, such as lv_..."));
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err(wrong());
        }
        let mut value: AsciiMetadataValue =
            format!("Bearer {token}").parse().map_err(|_| wrong())?;
        // What prints metadata leaves it out.
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }

    /// Whether there is a secret to lose.
    pub(super) fn has_token(&self) -> bool {
        self.0.is_some()
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", token.clone());
        }
        Ok(request)
    }
}
