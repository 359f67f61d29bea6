//! How long calls may take, and how many there may be.
//!
//! Reads `LEADVAULT_DEFAULT_DEADLINE_SECONDS`, `LEADVAULT_MAX_CALLS`, `LEADVAULT_MAX_CALLS_PER_CLIENT`,
//! `LEADVAULT_MAX_STREAMS`, `LEADVAULT_MAX_STREAMS_PER_CLIENT`, `LEADVAULT_MAX_CONNECTIONS`.

use std::time::Duration;

use clap::Args;

/// How long calls may take, and how many there may be at the same time. A call with a stream, either way,
/// counts among the streams and not among the calls. Health and reflection do not count among them; those who watch
/// them have as many streams of their own, and looks at the health a limit that is no setting.
#[derive(Args, Clone, Debug)]
pub struct CallSettings {
    /// How long a call without a stream may take where the caller gave no `grpc-timeout`, in seconds. The request of
    /// every call has to be there by then, and the answer of a stream to have begun. Who leaves an answer unread for
    /// this long loses it: it ends as one past its deadline, or its connection is closed.
    #[arg(long, env = "LEADVAULT_DEFAULT_DEADLINE_SECONDS", default_value = "30", value_parser = super::seconds_of_a_day)]
    pub default_deadline: Duration,

    /// The most calls that are answered at the same time.
    #[arg(long, env = "LEADVAULT_MAX_CALLS", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_calls: u32,

    /// The most calls of one client: of an authenticated name, else of an address.
    #[arg(long, env = "LEADVAULT_MAX_CALLS_PER_CLIENT", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_calls_per_client: u32,

    /// The most streams that are served at the same time; with those that have ended, and whose answer was not read
    /// yet, there may be twice as many.
    #[arg(long, env = "LEADVAULT_MAX_STREAMS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_streams: u32,

    /// The most streams of one client; with those that have ended, and whose answer it has not read yet, it may have
    /// twice as many.
    #[arg(long, env = "LEADVAULT_MAX_STREAMS_PER_CLIENT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_streams_per_client: u32,

    /// The most connections that are open at the same time; one more is closed at once. The process needs as many open
    /// files, and some more.
    #[arg(long, env = "LEADVAULT_MAX_CONNECTIONS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
}
