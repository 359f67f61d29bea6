//! Following one row.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::loads::{LOAD_COLUMNS, RawLoad};
use crate::{
    domain::{BatchId, Fate},
    rpc::Error,
};

/// A row's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::intake) struct RowIdentity {
    pub(in crate::intake) batch_id: BatchId,
    pub(in crate::intake) lane: i32,
    pub(in crate::intake) offset: i64,
}

#[derive(QueryableByName)]
struct FateRow {
    #[diesel(sql_type = Integer)]
    fate: i32,
    #[diesel(sql_type = Nullable<BigInt>)]
    first_load_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    last_load_id: Option<i64>,
}

/// A row's fate, and its load unless it was rejected; `None` for a row that was never received.
pub(in crate::intake) async fn find_row(
    connection: &mut AsyncPgConnection,
    row: &RowIdentity,
) -> Result<Option<(Fate, Option<RawLoad>)>, Error> {
    let fates: Vec<FateRow> = sql_query(
        "SELECT get_byte(fates, ($3 - first_offset)::integer) AS fate, first_load_id, last_load_id
         FROM (SELECT * FROM intake.batch_chunks
               WHERE batch_id = $1 AND lane = $2 AND first_offset <= $3
               ORDER BY first_offset DESC
               LIMIT 1) AS chunk
         WHERE $3 < first_offset + row_count",
    )
    .bind::<Text, _>(row.batch_id.as_str())
    .bind::<Integer, _>(row.lane)
    .bind::<BigInt, _>(row.offset)
    .get_results(connection)
    .await?;
    let Some(found) = fates.into_iter().next() else {
        return Ok(None);
    };
    let fate = u8::try_from(found.fate)
        .ok()
        .and_then(Fate::from_byte)
        .ok_or_else(|| Error::internal(format!("unknown fate {}", found.fate)))?;
    let load = match (found.first_load_id, found.last_load_id) {
        (Some(first), Some(last)) if fate != Fate::Rejected => {
            find_load(connection, row, first, last).await?
        }
        _ => None,
    };
    Ok(Some((fate, load)))
}

/// The row's load, among those of its chunk and of whoever wrote at the same time.
async fn find_load(
    connection: &mut AsyncPgConnection,
    row: &RowIdentity,
    first_load_id: i64,
    last_load_id: i64,
) -> Result<Option<RawLoad>, Error> {
    let statement = format!(
        "SELECT {LOAD_COLUMNS}, 1::bigint AS found
         FROM intake.raw_loads AS l
         WHERE l.load_id BETWEEN $1 AND $2
           AND l.batch_id = $3
           AND l.metadata @> jsonb_build_object('lane', $4, 'offset', $5)"
    );
    let loads: Vec<RawLoad> = sql_query(statement)
        .bind::<BigInt, _>(first_load_id)
        .bind::<BigInt, _>(last_load_id)
        .bind::<Text, _>(row.batch_id.as_str())
        .bind::<Integer, _>(row.lane)
        .bind::<BigInt, _>(row.offset)
        .get_results(connection)
        .await?;
    Ok(loads.into_iter().next())
}

/// A slot, as a trace shows it.
#[derive(Debug, QueryableByName)]
pub(in crate::intake) struct Slot {
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    pub(in crate::intake) id: Uuid,
    /// Of a person's; `None` for a company's.
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::intake) email: Option<String>,
}

/// The slot of a row that was staged; `None` for any other row.
pub(in crate::intake) async fn find_slot(
    connection: &mut AsyncPgConnection,
    row: &RowIdentity,
) -> Result<Option<Slot>, Error> {
    let statement = match row.lane {
        -2 => {
            "SELECT id, NULL::text AS email FROM company.slot WHERE batch_id = $1 AND row_offset = $2"
        }
        -3 => "SELECT id, email FROM people.slot WHERE batch_id = $1 AND row_offset = $2",
        _ => return Ok(None),
    };
    let slots: Vec<Slot> = sql_query(statement)
        .bind::<Text, _>(row.batch_id.as_str())
        .bind::<BigInt, _>(row.offset)
        .get_results(connection)
        .await?;
    Ok(slots.into_iter().next())
}

/// A contact, as a trace shows it.
#[derive(Debug)]
pub(in crate::intake) struct Contact {
    pub(in crate::intake) contact_id: i64,
    pub(in crate::intake) status: String,
    pub(in crate::intake) load_id: Option<i64>,
    pub(in crate::intake) updated_at: DateTime<Utc>,
}

/// A person, as a trace shows it.
#[derive(Debug)]
pub(in crate::intake) struct Person {
    pub(in crate::intake) id: Uuid,
    pub(in crate::intake) status: String,
    pub(in crate::intake) updated_at: DateTime<Utc>,
}

/// What an email became.
#[derive(Debug, QueryableByName)]
pub(in crate::intake) struct Followed {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::intake) claim_load_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    contact_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    contact_status: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    contact_load_id: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    contact_updated_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<diesel::sql_types::Uuid>)]
    person_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    person_status: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    person_updated_at: Option<DateTime<Utc>>,
}

impl Followed {
    /// Its contact.
    pub(in crate::intake) fn contact(&self) -> Option<Contact> {
        Some(Contact {
            contact_id: self.contact_id?,
            status: self.contact_status.clone()?,
            load_id: self.contact_load_id,
            updated_at: self.contact_updated_at?,
        })
    }

    /// Its person.
    pub(in crate::intake) fn person(&self) -> Option<Person> {
        Some(Person {
            id: self.person_id?,
            status: self.person_status.clone()?,
            updated_at: self.person_updated_at?,
        })
    }
}

/// Who holds the claim on an email, and the contact and the person it became.
pub(in crate::intake) async fn follow_email(
    connection: &mut AsyncPgConnection,
    email: &str,
) -> Result<Followed, Error> {
    Ok(sql_query(
        "SELECT held.load_id AS claim_load_id,
                c.contact_id, c.status AS contact_status, c.load_id AS contact_load_id,
                c.updated_at AS contact_updated_at,
                p.id AS person_id, p.status AS person_status, p.updated_at AS person_updated_at
         FROM (VALUES ($1)) AS asked (email)
         LEFT JOIN intake.email_claims AS held USING (email)
         LEFT JOIN vault.contacts AS c USING (email)
         LEFT JOIN people.master AS p USING (email)",
    )
    .bind::<Text, _>(email)
    .get_result(connection)
    .await?)
}
