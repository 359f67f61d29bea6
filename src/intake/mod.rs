//! Intake: raw rows come in, and every row's fate is known.
//!
//! What holds, under concurrency, retries and kills (the numbers are the laws of the design):
//!
//! 1. Conservation: for every batch, lane and reply, received = accepted + duplicate + rejected, and every
//!    offset's fate can be looked up.
//! 2. Exactly once: a row that was acked is durable; the same (batch, lane, offset) again changes nothing.
//! 3. No row takes another down: a bad row is rejected alone, with reason, place, detail and its bytes.
//! 4. One winner: of concurrent arrivals of one email in the duplicate window, one is accepted.
//! 5. No side doors: only the functions of `migrations/functions/intake*.sql` write.
//!
//! A streamed row's way: frame -> [`stream`] (what of it is new) -> [`chunk`] (validated row by row) ->
//! [`repository`] (one function call, one transaction) -> ack.

mod bulk;
mod chunk;
mod convert;
mod frame;
mod ingest_rows;
mod repository;
mod service;
mod stream;
mod trace;
mod unacked;

pub use service::Intake;
