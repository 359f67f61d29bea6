//! Contacts: reading, changing, scoring.

use std::sync::Arc;

use tokio::sync::mpsc;
use tonic::Status;

use super::service::Shared;
use crate::{domain::Actor, proto::vault::v1 as pb, rpc::Error};

pub(super) async fn get(
    _shared: &Shared,
    _request: pb::GetContactRequest,
) -> Result<pb::GetContactResponse, Error> {
    Err(Error::internal("not written yet"))
}

pub(super) async fn batch_get(
    _shared: &Shared,
    _request: pb::BatchGetContactsRequest,
) -> Result<pb::BatchGetContactsResponse, Error> {
    Err(Error::internal("not written yet"))
}

pub(super) async fn list(
    _shared: &Shared,
    _request: pb::ListContactsRequest,
) -> Result<pb::ListContactsResponse, Error> {
    Err(Error::internal("not written yet"))
}

pub(super) async fn update(
    _shared: &Shared,
    _request: pb::UpdateContactRequest,
    _actor: Actor,
) -> Result<pb::UpdateContactResponse, Error> {
    Err(Error::internal("not written yet"))
}

pub(super) async fn delete(
    _shared: &Shared,
    _request: pb::DeleteContactRequest,
    _actor: Actor,
) -> Result<pb::DeleteContactResponse, Error> {
    Err(Error::internal("not written yet"))
}

pub(super) async fn score(
    _shared: &Shared,
    _request: pb::BatchScoreContactsRequest,
    _actor: Actor,
) -> Result<pb::BatchScoreContactsResponse, Error> {
    Err(Error::internal("not written yet"))
}

/// One call of `ExportContacts`, parsed.
pub(super) struct Export {}

impl Export {
    pub(super) fn parse(_request: pb::ExportContactsRequest) -> Result<Self, Error> {
        Err(Error::internal("not written yet"))
    }

    pub(super) async fn run(
        self,
        _shared: Arc<Shared>,
        _answers: mpsc::Sender<Result<pb::ExportContactsResponse, Status>>,
    ) {
    }
}
