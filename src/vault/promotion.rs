//! Promotion: pending loads become contacts, in chunks, with progress.

use std::sync::Arc;

use tokio::sync::mpsc;
use tonic::Status;

use super::service::Shared;
use crate::{domain::Actor, proto::vault::v1 as pb, rpc::Error};

/// One call of `PromoteContacts`, parsed.
pub(super) struct Promotion {}

impl Promotion {
    pub(super) fn parse(
        _request: pb::PromoteContactsRequest,
        _actor: Actor,
    ) -> Result<Self, Error> {
        Err(Error::internal("not written yet"))
    }

    pub(super) async fn run(
        self,
        _shared: Arc<Shared>,
        _answers: mpsc::Sender<Result<pb::PromoteContactsResponse, Status>>,
    ) {
    }
}
