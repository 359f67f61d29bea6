//! The port for operators.
//!
//! Reads: `LEADVAULT_OPS_LISTEN`

use std::{fmt, net::SocketAddr, str::FromStr};

use clap::Args;

/// How operators and their machines look into the service.
#[derive(Args, Clone, Debug)]
pub struct OpsSettings {
    /// The address that answers /status, /metrics, /healthz and /readyz over HTTP: counts, never a row's data, and no
    /// authentication; port 0 takes a free one, `off` has none.
    #[arg(long, env = "LEADVAULT_OPS_LISTEN", default_value = "127.0.0.1:50052")]
    pub ops_listen: OpsListen,
}

/// Where the port for operators is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpsListen {
    /// There is none.
    Off,
    /// At this address.
    At(SocketAddr),
}

impl FromStr for OpsListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| {
            "must be an address and a port, such as 127.0.0.1:50052, or off".to_owned()
        })
    }
}

impl fmt::Display for OpsListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}
