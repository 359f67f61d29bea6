//! Pages of companies.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{StoredCompany, columns};
use crate::rpc::{Error, Page, PageRequest};

/// Which companies.
#[derive(Clone, Debug, Default)]
pub(in crate::company) struct CompanyFilter {
    pub(in crate::company) status: Option<&'static str>,
    pub(in crate::company) industry: Option<String>,
    pub(in crate::company) name_prefix: Option<String>,
    pub(in crate::company) location_prefix: Option<String>,
    pub(in crate::company) employee_count_from: Option<i32>,
    pub(in crate::company) employee_count_to: Option<i32>,
    pub(in crate::company) enriched_before: Option<DateTime<Utc>>,
}

/// What a list is sorted by; companies that are equal in it come by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::company) enum SortBy {
    /// Their creation, which never changes.
    Created,
    /// Their last change.
    Updated,
    /// Their number of employees.
    EmployeeCount,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::company) struct CompanyOrder {
    pub(in crate::company) by: SortBy,
    pub(in crate::company) descending: bool,
}

/// Where a page ended.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::company) struct PageKey {
    time: Option<DateTime<Utc>>,
    employee_count: Option<i32>,
    id: String,
}

impl PageKey {
    /// The key of a company in an order.
    pub(in crate::company) fn of(company: &StoredCompany, order: CompanyOrder) -> Self {
        let (time, employee_count) = match order.by {
            SortBy::Created => (Some(company.created_at), None),
            SortBy::Updated => (Some(company.updated_at), None),
            SortBy::EmployeeCount => (None, company.employee_count),
        };
        Self {
            time,
            employee_count,
            id: company.id.to_string(),
        }
    }
}

/// A company of a page.
#[derive(Debug, QueryableByName)]
pub(in crate::company) struct ListedCompany {
    /// The company.
    #[diesel(embed)]
    pub(in crate::company) company: StoredCompany,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// The condition of a filter. The statement is planned with its values each time, so that what is not asked for
/// costs nothing and what is finds its index. The patterns of a prefix are made here, since the database's
/// idea of lower case is the one that its index has.
const FILTER: &str = "
    ($1 IS NULL OR c.status = $1)
    AND ($2 IS NULL OR c.industry {is} $2)
    AND ($3 IS NULL OR lower(c.name) LIKE regexp_replace(lower($3), '([\\\\%_])', '\\\\\\1', 'g') || '%')
    AND ($4 IS NULL OR lower(c.location) LIKE regexp_replace(lower($4), '([\\\\%_])', '\\\\\\1', 'g') || '%')
    AND ($5 IS NULL OR c.employee_count >= $5)
    AND ($6 IS NULL OR c.employee_count <= $6)
    AND ($7 IS NULL OR coalesce(c.enriched_at, '-infinity'::timestamptz) < $7)";

/// First the keys alone, so that a page is cut by its bytes before its rows are made.
const LIST: &str = "
    WITH page AS MATERIALIZED (
        SELECT c.*
        FROM company.master AS c
        WHERE {filter} AND {present}
          AND ($9 IS NULL OR ({prefix}c.{key}, c.id) {after} ({start}$8, $9))
        ORDER BY {first}c.{key} {direction}, c.id {direction}
        LIMIT $10
    ), measured AS (
        SELECT id, row_number() OVER in_order AS nth, count(*) OVER () AS found,
               sum(300 + octet_length(concat(domain, name, industry, revenue::text, location, linkedin_url, website)))
                   OVER in_order AS bytes
        FROM page
        WINDOW in_order AS (ORDER BY {key} {direction}, id {direction})
    )
    SELECT {columns}, m.found
    FROM measured AS m
    JOIN page AS p USING (id)
    CROSS JOIN LATERAL (SELECT ROW(p.*)::company.master AS c) AS r
    WHERE m.nth = 1 OR m.bytes <= $11
    ORDER BY m.nth";

/// Fills the statement. The list of one industry in the order of creation is written so that only the index
/// which begins with the industry gives that order: with `=` the planner counts on the industry's companies
/// being spread evenly, and walks those of all.
fn statement(filter: &CompanyFilter, order: CompanyOrder) -> String {
    let (key, present) = match order.by {
        SortBy::Created => ("created_at", "true"),
        SortBy::Updated => ("updated_at", "true"),
        SortBy::EmployeeCount => ("employee_count", "c.employee_count IS NOT NULL"),
    };
    let (after, direction) = if order.descending {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let by_industry = filter.industry.is_some() && order.by == SortBy::Created;
    let (is, prefix, start, first) = if by_industry {
        (
            "BETWEEN $2 AND",
            "c.industry, ",
            "$2, ",
            "c.industry {direction}, ",
        )
    } else {
        ("=", "", "", "")
    };
    LIST.replace("{filter}", FILTER)
        .replace("{is}", is)
        .replace("{prefix}", prefix)
        .replace("{start}", start)
        .replace("{first}", first)
        .replace("{present}", present)
        .replace("{key}", key)
        .replace("{after}", after)
        .replace("{direction}", direction)
        .replace("{columns}", &columns("(r.c)"))
}

/// A page of companies that ends at its size or at the request's bytes.
pub(in crate::company) async fn list(
    connection: &mut AsyncPgConnection,
    filter: &CompanyFilter,
    order: CompanyOrder,
    request: &PageRequest<PageKey>,
) -> Result<Page<ListedCompany>, Error> {
    let last = request.after.as_ref();
    let id = last.map(|last| Uuid::parse_str(&last.id)).transpose();
    let id = id.map_err(|_| Error::InvalidPageToken("holds no id"))?;
    let query = sql_query(statement(filter, order))
        .into_boxed()
        .bind::<Nullable<Text>, _>(filter.status)
        .bind::<Nullable<Text>, _>(filter.industry.as_deref())
        .bind::<Nullable<Text>, _>(filter.name_prefix.as_deref())
        .bind::<Nullable<Text>, _>(filter.location_prefix.as_deref())
        .bind::<Nullable<Integer>, _>(filter.employee_count_from)
        .bind::<Nullable<Integer>, _>(filter.employee_count_to)
        .bind::<Nullable<Timestamptz>, _>(filter.enriched_before);
    let query = match order.by {
        SortBy::Created | SortBy::Updated => {
            query.bind::<Nullable<Timestamptz>, _>(last.and_then(|last| last.time))
        }
        SortBy::EmployeeCount => {
            query.bind::<Nullable<Integer>, _>(last.and_then(|last| last.employee_count))
        }
    };
    let companies: Vec<ListedCompany> = query
        .bind::<Nullable<SqlUuid>, _>(id)
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(companies, |row| row.found, request.size))
}
