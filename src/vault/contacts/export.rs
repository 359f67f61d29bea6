//! `ExportContacts`: everything that a filter matches, from one snapshot, in bounded memory.

use std::sync::Arc;

use diesel_async::AsyncPgConnection;
use futures_util::TryStreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    super::repository::contacts::{self as repository, ContactFilter},
    convert,
};
use crate::{
    proto::vault::v1 as pb,
    room::{Answers, Ended, Room},
    rpc::Error,
};

/// The most contacts of a message, and of one look at the cursor.
const MESSAGE_CONTACTS: u32 = 500;
/// A message ends once it has this many bytes; gRPC's clients take 4 MiB by default, and one contact more
/// must fit.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// Where exports run. Each keeps a connection to its end, however slow its client is, so they have half of the pool
/// at the most, and the other half is for calls.
#[derive(Clone)]
pub(in crate::vault) struct Exports {
    pool_size: u32,
    most: u32,
    places: Arc<Semaphore>,
}

impl Exports {
    /// The exports over a pool of so many connections.
    pub(in crate::vault) fn new(pool_size: u32) -> Self {
        let most = (pool_size / 2).max(1);
        Self {
            pool_size,
            most,
            places: Arc::new(Semaphore::new(most as usize)),
        }
    }

    /// Takes a place, or says at once that there is none.
    fn enter(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| Error::TooManyExports {
            limit: self.most,
            pool_size: self.pool_size,
        })
    }
}

/// One call of `ExportContacts`, parsed and admitted.
pub(in crate::vault) struct Export {
    filter: ContactFilter,
    _place: OwnedSemaphorePermit,
}

impl Export {
    /// Reads a request and finds a place for it.
    pub(in crate::vault) fn admit(
        exports: &Exports,
        request: pb::ExportContactsRequest,
    ) -> Result<Self, Error> {
        Ok(Self {
            filter: convert::filter(request.filter.unwrap_or_default())?,
            _place: exports.enter()?,
        })
    }

    /// Sends what the filter matches until it is all sent, the client is gone or the server shuts down. A
    /// connection that is let go in the middle of its transaction is thrown away by the pool.
    pub(in crate::vault) async fn run(
        self,
        room: Arc<Room>,
        answers: Answers<pb::ExportContactsResponse>,
    ) -> Result<(), Ended> {
        tokio::select! {
            sent = self.send_all(&room, &answers) => sent,
            () = room.shutdown.cancelled() => Err(Error::ShuttingDown.into()),
            () = answers.closed() => Err(Ended::Cancelled),
        }
    }

    async fn send_all(
        &self,
        room: &Room,
        answers: &Answers<pb::ExportContactsResponse>,
    ) -> Result<(), Ended> {
        let mut connection = room.connection().await?;
        connection
            .build_transaction()
            .repeatable_read()
            .read_only()
            .run(async |connection: &mut AsyncPgConnection| {
                repository::open_export(connection, &self.filter).await?;
                while send_some(room, connection, answers).await? == MESSAGE_CONTACTS {}
                Ok(())
            })
            .await
    }
}

/// Sends the next contacts; says how many.
async fn send_some(
    room: &Room,
    connection: &mut AsyncPgConnection,
    answers: &Answers<pb::ExportContactsResponse>,
) -> Result<u32, Ended> {
    let mut rows = repository::fetch_export(connection, MESSAGE_CONTACTS).await?;
    let mut message = pb::ExportContactsResponse::default();
    let (mut count, mut bytes) = (0, 0);
    while let Some(contact) = rows.try_next().await? {
        count += 1;
        bytes += contact.size();
        message.contacts.push(convert::contact(contact));
        if bytes >= MESSAGE_BYTES {
            bytes = 0;
            room.say(answers, std::mem::take(&mut message)).await?;
        }
    }
    if !message.contacts.is_empty() {
        room.say(answers, message).await?;
    }
    Ok(count)
}
