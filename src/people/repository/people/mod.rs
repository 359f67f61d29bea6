//! People: the row and its columns.

mod history;
mod list;
mod point;
mod write;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

pub(in crate::people) use history::get_person_as_of;
pub(in crate::people) use list::{PageKey, PersonFilter, PersonOrder, SortBy, list_people};
pub(in crate::people) use point::{
    PersonKey, UniqueKey, find_by_linkedin, find_people, get_person, person_exists,
};
pub(in crate::people) use write::{Changes, WriteOutcome, archive_person, update_person};

/// A person.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::people) struct Person {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::people) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(in crate::people) email: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) first_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) last_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) title: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::people) company_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) linkedin_url: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) phone: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) location: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) seniority: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) department: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::people) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::people) updated_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::people) enriched_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    pub(in crate::people) status: String,
    #[diesel(sql_type = Array<Text>)]
    pub(in crate::people) pinned_fields: Vec<String>,
    #[diesel(sql_type = Text)]
    pub(in crate::people) etag: String,
}

/// The columns of [`Person`] but its etag, of a row called `{p}`.
const COLUMNS: &str = "{p}.id, {p}.email, {p}.name, {p}.first_name, {p}.last_name, {p}.title, \
    {p}.company_id, {p}.linkedin_url, {p}.phone, {p}.location, {p}.seniority, {p}.department, \
    {p}.created_at, {p}.updated_at, {p}.enriched_at, {p}.status, {p}.pinned_fields, ";

/// The columns of [`Person`], of the row that `row` names.
pub(in crate::people) fn columns(row: &str) -> String {
    format!("{COLUMNS}people.f_etag({{p}}) AS etag").replace("{p}", row)
}

/// The same of a row that tells of the past, which has no etag: it does not change.
fn past_columns(row: &str) -> String {
    format!("{COLUMNS}'' AS etag").replace("{p}", row)
}

impl Person {
    /// About how many bytes it has on the wire.
    fn size(&self) -> usize {
        /// Ids, times, status and etag.
        const FIXED: usize = 200;
        let texts = [
            &self.name,
            &self.first_name,
            &self.last_name,
            &self.title,
            &self.linkedin_url,
            &self.phone,
            &self.location,
            &self.seniority,
            &self.department,
        ];
        FIXED + self.email.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}
