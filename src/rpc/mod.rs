//! What the services share: the error model, paging, requests that may be repeated, numbers, times and JSON;
//! how many rows an answer is about; the place of a stream in flight, and how places are counted; panics.

mod answers;
mod batch;
mod codec;
mod counts;
mod decimal;
mod error;
mod json;
mod paging;
mod panics;
mod place;
mod rows;
mod time;

pub(crate) use answers::{Answers, Begun};
pub(crate) use batch::check_items;
pub use codec::{BoundedDecoder, Codec, CountingEncoder};
pub(crate) use counts::{Client, Counts, Full, Permit};
pub(crate) use decimal::{from_decimal, to_decimal};
pub use error::Error;
pub(crate) use error::{Interruption, cause};
pub(crate) use json::{json_struct, struct_json};
pub(crate) use paging::{Page, PageRequest};
pub(crate) use panics::{log_panics, now_unless_it_panics, unless_it_panics};
pub(crate) use place::{Handover, Place};
pub(crate) use rows::{Rows, counted};
pub(crate) use time::{from_timestamp, to_timestamp};

/// Who calls: whom the authentication layer found, or nobody in particular.
pub(crate) fn actor<T>(request: &tonic::Request<T>) -> crate::domain::Actor {
    request
        .extensions()
        .get()
        .cloned()
        .unwrap_or_else(crate::domain::Actor::anonymous)
}

/// Whose places a stream takes: whom the layer that counts them found.
pub(crate) fn client<T>(request: &tonic::Request<T>) -> Client {
    let client = request.extensions().get().cloned();
    client.unwrap_or(Client::Address(None))
}
