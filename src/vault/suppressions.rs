//! Suppressions: the ledger of who is not to be contacted.

use super::service::Shared;
use crate::{domain::Actor, proto::vault::v1 as pb, rpc::Error};

pub(super) async fn suppress(
    _shared: &Shared,
    _request: pb::SuppressContactsRequest,
    _actor: Actor,
) -> Result<pb::SuppressContactsResponse, Error> {
    Err(Error::internal("not written yet"))
}

pub(super) async fn unsuppress(
    _shared: &Shared,
    _request: pb::UnsuppressContactRequest,
    _actor: Actor,
) -> Result<pb::UnsuppressContactResponse, Error> {
    Err(Error::internal("not written yet"))
}

pub(super) async fn list(
    _shared: &Shared,
    _request: pb::ListSuppressionsRequest,
) -> Result<pb::ListSuppressionsResponse, Error> {
    Err(Error::internal("not written yet"))
}

pub(super) async fn check(
    _shared: &Shared,
    _request: pb::CheckContactabilityRequest,
) -> Result<pb::CheckContactabilityResponse, Error> {
    Err(Error::internal("not written yet"))
}
