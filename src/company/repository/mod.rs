//! Every query of the room that is not both rooms'.

pub(super) mod list;
pub(super) mod point;
pub(super) mod promotion;
pub(super) mod write;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// A company.
#[derive(Debug, QueryableByName)]
pub(super) struct StoredCompany {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) domain: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) industry: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(super) employee_count: Option<i32>,
    /// Decimal text.
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) revenue: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) location: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) linkedin_url: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) website: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) updated_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) enriched_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    pub(super) status: String,
    #[diesel(sql_type = Array<Text>)]
    pub(super) pinned_fields: Vec<String>,
    #[diesel(sql_type = Text)]
    pub(super) etag: String,
}

/// The columns of [`StoredCompany`], of the row that `row` names.
fn columns(row: &str) -> String {
    const COLUMNS: &str = "{c}.id, {c}.domain, {c}.name, {c}.industry, {c}.employee_count, \
        {c}.revenue::text AS revenue, {c}.location, {c}.linkedin_url, {c}.website, {c}.created_at, \
        {c}.updated_at, {c}.enriched_at, {c}.status, {c}.pinned_fields, company.f_etag({c}) AS etag";
    COLUMNS.replace("{c}", row)
}
