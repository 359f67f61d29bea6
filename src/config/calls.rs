//! How long calls may take, and how many there may be.
//!
//! Reads `LEADVAULT_DEFAULT_DEADLINE_SECONDS`, `LEADVAULT_MAX_CALLS`, `LEADVAULT_MAX_CALLS_PER_CLIENT`,
//! `LEADVAULT_MAX_STREAMS`, `LEADVAULT_MAX_STREAMS_PER_CLIENT`.

use std::time::Duration;

use clap::Args;

/// How long calls may take, and how many there may be at the same time. A call with a stream, either way,
/// counts among the streams and not among the calls. Health and reflection are free of all of these.
#[derive(Args, Clone, Debug)]
pub struct CallSettings {
    /// How long a call without a stream may take where the caller gave no `grpc-timeout`, in seconds.
    #[arg(long, env = "LEADVAULT_DEFAULT_DEADLINE_SECONDS", default_value = "30", value_parser = super::seconds_of_a_day)]
    pub default_deadline: Duration,

    /// The most calls that are answered at the same time.
    #[arg(long, env = "LEADVAULT_MAX_CALLS", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_calls: u32,

    /// The most calls of one client: of an authenticated name, else of an address.
    #[arg(long, env = "LEADVAULT_MAX_CALLS_PER_CLIENT", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_calls_per_client: u32,

    /// The most streams that are open at the same time.
    #[arg(long, env = "LEADVAULT_MAX_STREAMS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_streams: u32,

    /// The most streams of one client.
    #[arg(long, env = "LEADVAULT_MAX_STREAMS_PER_CLIENT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_streams_per_client: u32,
}
