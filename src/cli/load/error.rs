//! What can go wrong with a load, in words that an operator can act on.
//!
//! Bad rows are not errors: they are sent, and the service rejects each alone. Errors are what ends a load.
//! What was acked before stays stored, and the same command resumes from there.

use std::{io, time::Duration};

use tonic::Code;

/// Why a load ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The flags do not go together.
    #[error("{0}")]
    Usage(String),

    /// A file could not be opened.
    #[error("cannot open {name}: {source}")]
    Open {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },

    /// A file could not be read to its end.
    #[error(
        "cannot read {name} beyond byte {position} of its content: {source}; the rows before it were sent, the batch is not finished"
    )]
    Read {
        /// The file.
        name: String,
        /// How far it could be read, decompressed.
        position: u64,
        /// What the system or the decompressor said.
        source: io::Error,
    },

    /// A file breaks its format where the rows after it cannot be found any more.
    #[error(
        "{name}, line {line}, column {column}: {detail}; the rows before it were sent, the batch is not finished"
    )]
    Malformed {
        /// The file.
        name: String,
        /// The line, from 1.
        line: u64,
        /// The column in bytes, from 1.
        column: u64,
        /// What was found and what would be right.
        detail: String,
    },

    /// A file's beginning is not what its format asks for.
    #[error("{name}: {detail}")]
    Format {
        /// The file.
        name: String,
        /// What was found and what would be right.
        detail: String,
    },

    /// A file's second reading gave other bytes than its first.
    #[error(
        "{name} changed while it was loaded; its rows were sent, the batch is not finished. Load it again once nothing writes to it: what it holds then becomes a batch of its own, and AbandonBatch ends this one"
    )]
    Changed {
        /// The file.
        name: String,
    },

    /// A file that is written could not be.
    #[error("cannot write {name}: {source}")]
    Write {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },

    /// The endpoint is not an address that can be connected to.
    #[error("--endpoint {endpoint}: {detail}; it looks like http://127.0.0.1:50051")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        detail: String,
    },

    /// What the command shows the service, or asks of it, cannot be used.
    #[error(transparent)]
    Credentials(#[from] crate::server::doors::Error),

    /// The service answered, and trying again would not help.
    #[error("the service refused {what}: {message} ({code:?}{reason}){hint}")]
    Refused {
        /// What was asked of it.
        what: String,
        /// The gRPC code.
        code: Code,
        /// `, REASON`, or nothing where the service gave none.
        reason: String,
        /// What it said.
        message: String,
        /// What the operator can do.
        hint: String,
    },

    /// The batch cannot take these rows.
    #[error("batch {batch_id}: {detail}")]
    Batch {
        /// The batch.
        batch_id: String,
        /// What it is and what would be right.
        detail: String,
    },

    /// The service stayed away for longer than `--retry-for`.
    #[error(
        "gave up after {seconds:.0} s (--retry-for): {last}; what was acked is stored, the same command resumes",
        seconds = waited.as_secs_f64()
    )]
    GaveUp {
        /// How long it was away.
        waited: Duration,
        /// What went wrong last.
        last: String,
    },

    /// The service answered something that its contract does not allow.
    #[error("the service broke the protocol of BulkIngest: {0}; nothing was finished")]
    Protocol(String),

    /// A part of the loader ended without an answer.
    #[error("the loader's {0} ended unexpectedly; this is a fault in leadvault")]
    Internal(&'static str),
}
