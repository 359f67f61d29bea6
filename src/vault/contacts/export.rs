//! `ExportContacts`: everything that a filter matches, from one snapshot, in bounded memory.

use std::sync::Arc;

use diesel_async::AsyncPgConnection;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    super::repository::contacts::{self as repository, ContactFilter},
    convert,
};
use crate::{
    proto::vault::v1 as pb,
    room::{AnswerStream, Answers, Ended, Room},
    rpc::{Client, Counts, Error, Permit},
};

/// The most contacts of a message, and of one look at the cursor.
const MESSAGE_CONTACTS: u32 = 500;
/// A message ends once it has this many bytes; gRPC's clients take 4 MiB by default, and one contact more
/// must fit.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// Where exports run. Each keeps a connection to its end, however slow its client is, so they have half of the pool
/// at the most, and the other half is for calls; one client has half of that. Where the half is none they have one all
/// the same: in a pool of one, an export is in the way of everything else.
#[derive(Clone)]
pub(in crate::vault) struct Exports {
    pool_size: u32,
    places: Arc<Counts>,
}

impl Exports {
    /// The exports over a pool of so many connections.
    pub(in crate::vault) fn new(pool_size: u32) -> Self {
        let most = (pool_size / 2).max(1);
        Self {
            pool_size,
            places: Counts::new(most, (most / 2).max(1)),
        }
    }

    /// Takes a place, or says at once that there is none.
    fn enter(&self, client: Client) -> Result<Permit, Error> {
        Counts::enter(&self.places, client).map_err(|full| Error::TooManyExports {
            limit: full.limit,
            of_client: full.of_client,
            pool_size: self.pool_size,
        })
    }
}

/// One call of `ExportContacts`, parsed and admitted.
pub(in crate::vault) struct Export {
    filter: ContactFilter,
    _place: Arc<Permit>,
}

/// The place of an export, which its answer has, too.
pub(in crate::vault) struct ExportPlace(Arc<Permit>);

impl ExportPlace {
    /// Keeps the place until the answer is read to its end or dropped: what waits to be read is megabytes.
    pub(in crate::vault) fn until_read<T: Send + 'static>(
        self,
        answer: AnswerStream<T>,
    ) -> AnswerStream<T> {
        let end = stream::once(async move { drop(self.0) });
        answer.chain(end.filter_map(async |()| None)).boxed()
    }
}

impl Export {
    /// Reads a request and finds a place for it.
    pub(in crate::vault) fn admit(
        exports: &Exports,
        client: Client,
        request: pb::ExportContactsRequest,
    ) -> Result<(Self, ExportPlace), Error> {
        let filter = convert::filter(request.filter.unwrap_or_default())?;
        let place = Arc::new(exports.enter(client)?);
        let export = Self {
            filter,
            _place: Arc::clone(&place),
        };
        Ok((export, ExportPlace(place)))
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
