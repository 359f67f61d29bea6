//! Conversions: recorded, and pages of them.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::listing::Reading;
use crate::{
    domain::DealValue,
    rpc::{Error, Page, PageRequest},
};

/// A conversion that is to be recorded.
#[derive(Debug)]
pub(in crate::marketing) struct NewConversion {
    pub(in crate::marketing) id: Uuid,
    pub(in crate::marketing) person_id: Uuid,
    pub(in crate::marketing) campaign_id: Option<Uuid>,
    pub(in crate::marketing) conversion_type: &'static str,
    pub(in crate::marketing) converted_at: DateTime<Utc>,
    pub(in crate::marketing) value: Option<DealValue>,
    pub(in crate::marketing) source_touchpoint: Option<String>,
    pub(in crate::marketing) final_touchpoint: Option<String>,
}

/// What became of it.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct Recorded {
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) outcome: String,
    #[diesel(sql_type = Bool)]
    pub(in crate::marketing) replayed: bool,
    /// The one that is stored under its id.
    #[diesel(embed)]
    pub(in crate::marketing) stored: Option<Conversion>,
}

/// A conversion.
#[derive(Debug, QueryableByName)]
pub(in crate::marketing) struct Conversion {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::marketing) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::marketing) person_id: Uuid,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::marketing) campaign_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    pub(in crate::marketing) conversion_type: String,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::marketing) converted_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) value: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) source_touchpoint: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::marketing) final_touchpoint: Option<String>,
}

const COLUMNS: &str = "c.id, c.person_id, c.campaign_id, c.conversion_type, c.converted_at, \
    c.value::text AS value, c.source_touchpoint, c.final_touchpoint";

/// A value of each item.
fn column<'a, T>(items: &'a [NewConversion], of: impl Fn(&'a NewConversion) -> T) -> Vec<T> {
    items.iter().map(of).collect()
}

/// Records conversions; what became of each, in order.
pub(in crate::marketing) async fn record(
    connection: &mut AsyncPgConnection,
    items: &[NewConversion],
) -> Result<Vec<Recorded>, Error> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let values = column(items, |item| item.value.map(|value| value.to_string()));
    let sources = column(items, |item| item.source_touchpoint.as_deref());
    let finals = column(items, |item| item.final_touchpoint.as_deref());
    let statement = format!(
        "SELECT c.outcome, c.replayed, {COLUMNS}
         FROM marketing.f_record_conversions($1, $2, $3, $4, $5, $6::numeric[], $7, $8) AS c"
    );
    Ok(sql_query(statement)
        .bind::<Array<SqlUuid>, _>(column(items, |item| item.id))
        .bind::<Array<SqlUuid>, _>(column(items, |item| item.person_id))
        .bind::<Array<Nullable<SqlUuid>>, _>(column(items, |item| item.campaign_id))
        .bind::<Array<Text>, _>(column(items, |item| item.conversion_type))
        .bind::<Array<Timestamptz>, _>(column(items, |item| item.converted_at))
        .bind::<Array<Nullable<Text>>, _>(values)
        .bind::<Array<Nullable<Text>>, _>(sources)
        .bind::<Array<Nullable<Text>>, _>(finals)
        .get_results(connection)
        .await?)
}

/// Which conversions, and in which order of their times.
#[derive(Debug)]
pub(in crate::marketing) struct ConversionFilter {
    pub(in crate::marketing) person_id: Option<Uuid>,
    pub(in crate::marketing) campaign_id: Option<Uuid>,
    pub(in crate::marketing) conversion_type: Option<&'static str>,
    pub(in crate::marketing) converted_from: Option<DateTime<Utc>>,
    pub(in crate::marketing) converted_before: Option<DateTime<Utc>>,
    pub(in crate::marketing) newest_first: bool,
}

/// Where a page ended.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::marketing) struct PageKey {
    converted_at: DateTime<Utc>,
    id: Uuid,
}

impl PageKey {
    /// The key of a conversion.
    pub(in crate::marketing) fn of(conversion: &Conversion) -> Self {
        Self {
            converted_at: conversion.converted_at,
            id: conversion.id,
        }
    }
}

#[derive(QueryableByName)]
struct Listed {
    #[diesel(embed)]
    conversion: Conversion,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

const LIST: &str = "
    WITH page AS MATERIALIZED (
        SELECT {columns}
        FROM marketing.attribution AS c
        WHERE ($1 IS NULL OR c.person_id {is} $1)
          AND ($2 IS NULL OR c.campaign_id {is} $2)
          AND ($3 IS NULL OR c.conversion_type {is} $3)
          AND ({skip_from}$4 IS NULL OR ({prefix}c.converted_at) >= ({value}$4))
          AND ({skip_before}$5 IS NULL OR ({prefix}c.converted_at) < ({value}$5))
          AND ($6 IS NULL OR ({prefix}c.converted_at, c.id) {after} ({value}$6, $7))
        ORDER BY {first}c.converted_at {direction}, c.id {direction}
        LIMIT $8
    ), measured AS (
        SELECT *, row_number() OVER in_order AS nth, count(*) OVER () AS found,
               sum(200 + octet_length(concat(value, source_touchpoint, final_touchpoint))) OVER in_order AS bytes
        FROM page
        WINDOW in_order AS (ORDER BY converted_at {direction}, id {direction})
    )
    SELECT * FROM measured WHERE nth = 1 OR bytes <= $9 ORDER BY nth";

fn list_statement(filter: &ConversionFilter, goes_on: bool) -> String {
    let leading = match filter {
        _ if filter.person_id.is_some() => Some(("c.person_id", "$1")),
        _ if filter.campaign_id.is_some() => Some(("c.campaign_id", "$2")),
        _ if filter.conversion_type.is_some() => Some(("c.conversion_type", "$3")),
        _ => None,
    };
    let reading = Reading {
        leading,
        newest_first: filter.newest_first,
        goes_on,
    };
    reading.statement(LIST).replace("{columns}", COLUMNS)
}

/// A page of conversions that ends at its size or at the request's bytes.
pub(in crate::marketing) async fn list(
    connection: &mut AsyncPgConnection,
    filter: &ConversionFilter,
    request: &PageRequest<PageKey>,
) -> Result<Page<Conversion>, Error> {
    let last = request.after.as_ref();
    let rows: Vec<Listed> = sql_query(list_statement(filter, last.is_some()))
        .bind::<Nullable<SqlUuid>, _>(filter.person_id)
        .bind::<Nullable<SqlUuid>, _>(filter.campaign_id)
        .bind::<Nullable<Text>, _>(filter.conversion_type)
        .bind::<Nullable<Timestamptz>, _>(filter.converted_from)
        .bind::<Nullable<Timestamptz>, _>(filter.converted_before)
        .bind::<Nullable<Timestamptz>, _>(last.map(|last| last.converted_at))
        .bind::<Nullable<SqlUuid>, _>(last.map(|last| last.id))
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    let page = Page::cut(rows, |row| row.found, request.size);
    Ok(Page {
        more: page.more,
        items: page.items.into_iter().map(|row| row.conversion).collect(),
    })
}
