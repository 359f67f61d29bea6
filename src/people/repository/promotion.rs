//! The call that promotes slots.

use diesel::{sql_query, sql_types::Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::Serialize;

use crate::{
    domain::Actor,
    golden::promotion::Promoted,
    people::golden::reading::{Refusal, Values},
    rpc::Error,
};

/// Promotes slots that the transaction holds: what is fit with its values, the others with why they are not.
pub(in crate::people) async fn promote(
    connection: &mut AsyncPgConnection,
    values: &[Values],
    refusals: &[Refusal],
    actor: &Actor,
) -> Result<Promoted, Error> {
    Ok(
        sql_query("SELECT * FROM people.f_promote_slots($1::jsonb, $2::jsonb, $3)")
            .bind::<Text, _>(json(values)?)
            .bind::<Text, _>(json(refusals)?)
            .bind::<Text, _>(actor.as_str())
            .get_result(connection)
            .await?,
    )
}

fn json(rows: &[impl Serialize]) -> Result<String, Error> {
    serde_json::to_string(rows).map_err(Error::internal)
}
