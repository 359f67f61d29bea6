//! The tonic service: one line a call, since each subject has a file of its own.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

use super::{contacts, promotion, suppressions};
use crate::{
    config::Limits,
    db::{Pool, PooledConnection},
    proto::vault::v1::{self as pb, vault_service_server::VaultService},
    rpc::{Error, actor},
};

/// How many messages of a streamed answer wait for a client that reads slowly, before their maker waits.
const ANSWER_BUFFER: usize = 2;

/// What the calls of the room share.
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) limits: Limits,
    pub(super) shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    pub(super) async fn connection(&self) -> Result<PooledConnection<'static>, Error> {
        Ok(self.pool.get_owned().await?)
    }

    /// Runs a write in a task of its own, so that a caller who goes away cannot cut its transaction.
    pub(super) async fn uncut<T: Send + 'static>(
        &self,
        write: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.tasks.spawn(write).await.map_err(Error::internal)?
    }
}

/// The Vault service.
#[derive(Clone)]
pub struct Vault(Arc<Shared>);

impl Vault {
    /// A service over a pool. Long jobs end when `shutdown` is cancelled; `tasks` knows when they have.
    pub fn new(
        pool: Pool,
        limits: Limits,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self(Arc::new(Shared {
            pool,
            limits,
            shutdown,
            tasks,
        }))
    }

    /// Starts a job of the server's own that answers in a stream.
    fn stream<T, Job>(
        &self,
        job: impl FnOnce(Arc<Shared>, mpsc::Sender<Result<T, Status>>) -> Job,
    ) -> Response<ReceiverStream<Result<T, Status>>>
    where
        Job: Future<Output = ()> + Send + 'static,
    {
        let (answers, stream) = mpsc::channel(ANSWER_BUFFER);
        self.0.tasks.spawn(job(Arc::clone(&self.0), answers));
        Response::new(ReceiverStream::new(stream))
    }
}

#[tonic::async_trait]
impl VaultService for Vault {
    type PromoteContactsStream = ReceiverStream<Result<pb::PromoteContactsResponse, Status>>;
    type ExportContactsStream = ReceiverStream<Result<pb::ExportContactsResponse, Status>>;

    async fn promote_contacts(
        &self,
        request: Request<pb::PromoteContactsRequest>,
    ) -> Result<Response<Self::PromoteContactsStream>, Status> {
        let actor = actor(&request);
        let call = promotion::Promotion::parse(request.into_inner(), actor)?;
        Ok(self.stream(|shared, answers| call.run(shared, answers)))
    }

    async fn get_contact(
        &self,
        request: Request<pb::GetContactRequest>,
    ) -> Result<Response<pb::GetContactResponse>, Status> {
        Ok(Response::new(
            contacts::get(&self.0, request.into_inner()).await?,
        ))
    }

    async fn batch_get_contacts(
        &self,
        request: Request<pb::BatchGetContactsRequest>,
    ) -> Result<Response<pb::BatchGetContactsResponse>, Status> {
        Ok(Response::new(
            contacts::batch_get(&self.0, request.into_inner()).await?,
        ))
    }

    async fn list_contacts(
        &self,
        request: Request<pb::ListContactsRequest>,
    ) -> Result<Response<pb::ListContactsResponse>, Status> {
        Ok(Response::new(
            contacts::list(&self.0, request.into_inner()).await?,
        ))
    }

    async fn export_contacts(
        &self,
        request: Request<pb::ExportContactsRequest>,
    ) -> Result<Response<Self::ExportContactsStream>, Status> {
        let call = contacts::Export::parse(request.into_inner())?;
        Ok(self.stream(|shared, answers| call.run(shared, answers)))
    }

    async fn update_contact(
        &self,
        request: Request<pb::UpdateContactRequest>,
    ) -> Result<Response<pb::UpdateContactResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            contacts::update(&self.0, request.into_inner(), actor).await?,
        ))
    }

    async fn delete_contact(
        &self,
        request: Request<pb::DeleteContactRequest>,
    ) -> Result<Response<pb::DeleteContactResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            contacts::delete(&self.0, request.into_inner(), actor).await?,
        ))
    }

    async fn batch_score_contacts(
        &self,
        request: Request<pb::BatchScoreContactsRequest>,
    ) -> Result<Response<pb::BatchScoreContactsResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            contacts::score(&self.0, request.into_inner(), actor).await?,
        ))
    }

    async fn suppress_contacts(
        &self,
        request: Request<pb::SuppressContactsRequest>,
    ) -> Result<Response<pb::SuppressContactsResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            suppressions::suppress(&self.0, request.into_inner(), actor).await?,
        ))
    }

    async fn unsuppress_contact(
        &self,
        request: Request<pb::UnsuppressContactRequest>,
    ) -> Result<Response<pb::UnsuppressContactResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            suppressions::unsuppress(&self.0, request.into_inner(), actor).await?,
        ))
    }

    async fn list_suppressions(
        &self,
        request: Request<pb::ListSuppressionsRequest>,
    ) -> Result<Response<pb::ListSuppressionsResponse>, Status> {
        Ok(Response::new(
            suppressions::list(&self.0, request.into_inner()).await?,
        ))
    }

    async fn check_contactability(
        &self,
        request: Request<pb::CheckContactabilityRequest>,
    ) -> Result<Response<pb::CheckContactabilityResponse>, Status> {
        Ok(Response::new(
            suppressions::check(&self.0, request.into_inner()).await?,
        ))
    }
}
