//! Conversions with the touches before them, for the attribution report; inside one snapshot.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    result::QueryResult,
    sql_query,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use futures_util::{StreamExt as _, stream::BoxStream};
use uuid::Uuid;

use crate::rpc::Error;

/// Which conversions with which touches.
#[derive(Clone, Debug)]
pub(in crate::marketing) struct Period {
    pub(in crate::marketing) converted_from: Option<DateTime<Utc>>,
    pub(in crate::marketing) converted_before: Option<DateTime<Utc>>,
    pub(in crate::marketing) include_opens: bool,
}

/// A conversion and one of the touches before it, or none.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(in crate::marketing) struct TouchedConversion {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::marketing) id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::marketing) converted_at: DateTime<Utc>,
    /// Its value; none counts 0.
    #[diesel(sql_type = BigInt)]
    pub(in crate::marketing) cents: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::marketing) touched_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::marketing) campaign_id: Option<Uuid>,
}

/// A value that was written by hand may be finer than cents. The touches of each conversion are looked up for it
/// alone, so that nobody reads the messages of all for the few of a page.
const TOUCHED: &str = "
    WITH page AS MATERIALIZED (
        SELECT c.id, c.person_id, c.converted_at, c.value
        FROM marketing.attribution AS c
        WHERE ($1 IS NULL OR c.converted_at >= $1)
          AND ($2 IS NULL OR c.converted_at < $2)
          AND ($3 IS NULL OR (c.converted_at, c.id) > ($3, $4))
        ORDER BY c.converted_at, c.id
        LIMIT $5
    )
    SELECT c.id, c.converted_at, (round(coalesce(c.value, 0), 2) * 100)::bigint AS cents,
           t.touched_at, t.campaign_id
    FROM page AS c
    LEFT JOIN LATERAL (
        SELECT t.outreach_id, t.campaign_id, t.kind, t.touched_at
        FROM marketing.touches AS t
        WHERE t.person_id = c.person_id AND t.touched_at <= c.converted_at AND ($6 OR t.kind = 'sent')
        LIMIT $7) AS t ON true
    ORDER BY c.converted_at, c.id, t.touched_at, t.kind = 'opened', t.outreach_id
    LIMIT $7";

/// The next conversions after one, oldest first, with their touches in order; so many conversions at the most, and
/// so many rows. They come as they are read: what is not yet wanted waits in PostgreSQL and not here.
pub(in crate::marketing) async fn touched_conversions(
    connection: &mut AsyncPgConnection,
    period: &Period,
    after: Option<(DateTime<Utc>, Uuid)>,
    [conversions, rows]: [i64; 2],
) -> Result<BoxStream<'static, QueryResult<TouchedConversion>>, Error> {
    // Of two beginnings the index might take the other.
    let from = period.converted_from.filter(|_| after.is_none());
    Ok(sql_query(TOUCHED)
        .bind::<Nullable<Timestamptz>, _>(from)
        .bind::<Nullable<Timestamptz>, _>(period.converted_before)
        .bind::<Nullable<Timestamptz>, _>(after.map(|(converted_at, _)| converted_at))
        .bind::<Nullable<SqlUuid>, _>(after.map(|(_, id)| id))
        .bind::<BigInt, _>(conversions)
        .bind::<Bool, _>(period.include_opens)
        .bind::<BigInt, _>(rows)
        .load_stream::<TouchedConversion>(connection)
        .await?
        .boxed())
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = SqlUuid)]
    campaign_id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
}

/// The names of campaigns, in no order; those that there are none of are not among them.
pub(in crate::marketing) async fn campaign_names(
    connection: &mut AsyncPgConnection,
    campaign_ids: &[Uuid],
) -> Result<Vec<(Uuid, String)>, Error> {
    let named: Vec<Named> = sql_query(
        "SELECT c.campaign_id, c.name FROM marketing.campaigns AS c WHERE c.campaign_id = ANY ($1)",
    )
    .bind::<Array<SqlUuid>, _>(campaign_ids)
    .get_results(connection)
    .await?;
    let pairs = named.into_iter().map(|row| (row.campaign_id, row.name));
    Ok(pairs.collect())
}
