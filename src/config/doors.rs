//! Who may come in, and how.
//!
//! Reads `LEADVAULT_TLS_CERTIFICATE`, `LEADVAULT_TLS_KEY`, `LEADVAULT_TLS_CLIENT_CA`, `LEADVAULT_CLIENTS`,
//! `LEADVAULT_REFLECTION`, `LEADVAULT_INSECURE`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::BoolishValueParser};

/// Who may come in, and how.
#[derive(Args, Clone, Debug, Default)]
pub struct DoorSettings {
    /// The server's certificate, a PEM file, with the intermediate ones after it. With it nothing but TLS is
    /// spoken. It is read again on SIGHUP, with the key and --tls-client-ca.
    #[arg(
        long,
        env = "LEADVAULT_TLS_CERTIFICATE",
        requires = "tls_key",
        value_name = "FILE"
    )]
    pub tls_certificate: Option<PathBuf>,

    /// The private key of the server's certificate, a PEM file.
    #[arg(
        long,
        env = "LEADVAULT_TLS_KEY",
        requires = "tls_certificate",
        value_name = "FILE"
    )]
    pub tls_key: Option<PathBuf>,

    /// The authorities whose certificates prove a client's name, a PEM file. A client without a certificate
    /// still needs a token.
    #[arg(long, env = "LEADVAULT_TLS_CLIENT_CA", requires_all = ["tls_certificate", "clients"], value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Who may call: a file with a line for each client, its name, its role, and its token's hash, or
    /// `certificate`. It is read again on SIGHUP. Without it, whoever reaches the service may do everything.
    /// `leadvault token new` makes a token and its line.
    #[arg(long, env = "LEADVAULT_CLIENTS", value_name = "FILE")]
    pub clients: Option<PathBuf>,

    /// Whom reflection tells the API, which is what grpcurl asks for.
    #[arg(long, env = "LEADVAULT_REFLECTION", value_enum, default_value_t)]
    pub reflection: Reflection,

    /// Listen on an address other than loopback though TLS or --clients is missing: whoever reaches it may then
    /// read what is sent, or do everything.
    #[arg(long, env = "LEADVAULT_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
}

/// Whom reflection tells the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Reflection {
    /// Everybody.
    Open,
    /// Every client; without --clients that is everybody.
    #[default]
    Authenticated,
    /// Nobody.
    Off,
}
