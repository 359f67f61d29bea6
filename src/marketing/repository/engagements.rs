//! The events of providers.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::{domain::Actor, rpc::Error};

/// Events to record, column by column.
#[derive(Debug, Default)]
pub(in crate::marketing) struct NewEvents {
    event_ids: Vec<String>,
    outreach_ids: Vec<Uuid>,
    kinds: Vec<&'static str>,
    bounce_types: Vec<Option<&'static str>>,
    times: Vec<DateTime<Utc>>,
}

impl NewEvents {
    pub(in crate::marketing) fn push(
        &mut self,
        event_id: &str,
        outreach_id: Uuid,
        kind: &'static str,
        bounce_type: Option<&'static str>,
        occurred_at: DateTime<Utc>,
    ) {
        self.event_ids.push(event_id.to_owned());
        self.outreach_ids.push(outreach_id);
        self.kinds.push(kind);
        self.bounce_types.push(bounce_type);
        self.times.push(occurred_at);
    }
}

#[derive(QueryableByName)]
struct Recorded {
    #[diesel(sql_type = Text)]
    result: String,
}

/// Records events; for each, in order, `recorded`, `duplicate`, or why it is refused. Without any it stays away
/// from every lock.
pub(in crate::marketing) async fn record(
    connection: &mut AsyncPgConnection,
    events: &NewEvents,
    soft_bounce_limit: i32,
    actor: &Actor,
) -> Result<Vec<String>, Error> {
    if events.event_ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Recorded> =
        sql_query("SELECT * FROM marketing.f_record_engagements($1, $2, $3, $4, $5, $6, $7)")
            .bind::<Array<Text>, _>(&events.event_ids)
            .bind::<Array<SqlUuid>, _>(&events.outreach_ids)
            .bind::<Array<Text>, _>(&events.kinds)
            .bind::<Array<Nullable<Text>>, _>(&events.bounce_types)
            .bind::<Array<Timestamptz>, _>(&events.times)
            .bind::<Integer, _>(soft_bounce_limit)
            .bind::<Text, _>(actor.as_str())
            .get_results(connection)
            .await?;
    Ok(rows.into_iter().map(|row| row.result).collect())
}
