//! All contacts that a filter matches, from one snapshot.

use diesel::{result::QueryResult, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use futures_util::stream::BoxStream;

use super::{Contact, ContactFilter, FILTER, columns, filtered};
use crate::rpc::Error;

/// Opens the cursor of an export, inside the transaction whose snapshot it is.
pub(in crate::vault) async fn open_export(
    connection: &mut AsyncPgConnection,
    filter: &ContactFilter,
) -> Result<(), Error> {
    let statement = format!(
        "DECLARE contacts_export NO SCROLL CURSOR FOR
         SELECT {} FROM vault.contacts AS c WHERE {FILTER} ORDER BY c.contact_id",
        columns("c")
    );
    filtered(statement, filter).execute(connection).await?;
    Ok(())
}

/// The next contacts of the export, none at its end. They come as they are read: what is not yet wanted
/// waits in PostgreSQL and not here.
pub(in crate::vault) async fn fetch_export(
    connection: &mut AsyncPgConnection,
    count: u32,
) -> Result<BoxStream<'static, QueryResult<Contact>>, Error> {
    use futures_util::StreamExt as _;
    Ok(
        sql_query(format!("FETCH FORWARD {count} FROM contacts_export"))
            .load_stream::<Contact>(connection)
            .await?
            .boxed(),
    )
}
