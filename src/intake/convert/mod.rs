//! Between the messages of `leadvault.intake.v1` and the values of the domain and the repository.

mod requests;
mod responses;

pub(super) use requests::*;
pub(super) use responses::*;
