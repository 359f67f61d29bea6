//! People who are left of a company that many waited for: calls of `company.f_link_waiting`.

use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Integer, Nullable, Text},
};
use diesel_async::AsyncPgConnection;

use crate::{db::GetCommitted as _, domain::Actor, rpc::Error};

#[derive(QueryableByName)]
struct Linked {
    #[diesel(sql_type = Nullable<BigInt>)]
    linked: Option<i64>,
}

/// Links a chunk of them; `None` where no company is left, or others work on all of them.
pub(in crate::people) async fn link_waiting(
    connection: &mut AsyncPgConnection,
    most: i32,
    actor: &Actor,
) -> Result<Option<i64>, Error> {
    let row: Linked = sql_query("SELECT company.f_link_waiting($1, $2) AS linked")
        .bind::<Integer, _>(most)
        .bind::<Text, _>(actor.as_str())
        .get_committed(connection)
        .await?;
    Ok(row.linked)
}
