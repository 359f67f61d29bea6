//! The call that promotes slots.

use diesel::{sql_query, sql_types::Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::{
    company::promotion::{ReadSlot, RejectedSlot},
    domain::Actor,
    golden::promotion::Promoted,
    rpc::Error,
};

/// Promotes and rejects slots that this transaction took.
pub(in crate::company) async fn promote(
    connection: &mut AsyncPgConnection,
    read: &[ReadSlot],
    rejected: &[RejectedSlot],
    actor: &Actor,
) -> Result<Promoted, Error> {
    Ok(
        sql_query("SELECT * FROM company.f_promote_slots($1::jsonb, $2::jsonb, $3)")
            .bind::<Text, _>(serde_json::to_string(read).map_err(Error::internal)?)
            .bind::<Text, _>(serde_json::to_string(rejected).map_err(Error::internal)?)
            .bind::<Text, _>(actor.as_str())
            .get_result(connection)
            .await?,
    )
}
