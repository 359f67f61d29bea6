//! Between the messages about companies and the values of the domain and the repository.

use super::repository::{
    StoredCompany,
    list::{CompanyFilter, CompanyOrder, SortBy},
    point::CompanyKey,
    write::WriteOutcome,
};
use crate::{
    domain::WebDomain,
    golden::fields,
    proto::company::v1 as pb,
    rpc::{Error, from_timestamp, to_decimal, to_timestamp},
};

/// The fields that `UpdateCompany` changes; their columns are called alike.
pub(super) const EDITABLE: [&str; 7] = [
    "name",
    "industry",
    "employee_count",
    "revenue",
    "location",
    "linkedin_url",
    "website",
];

/// The fields that nobody changes.
pub(super) const IMMUTABLE: [&str; 8] = [
    "company_id",
    "domain",
    "create_time",
    "update_time",
    "enrich_time",
    "status",
    "pinned_fields",
    "etag",
];

/// A company's key; `field` is where it stands in the request.
pub(super) fn key(field: &'static str, key: Option<&pb::CompanyKey>) -> Result<CompanyKey, Error> {
    match key.and_then(|key| key.key.as_ref()) {
        Some(pb::company_key::Key::CompanyId(id)) => fields::id(field, id).map(CompanyKey::Id),
        Some(pb::company_key::Key::Domain(domain)) => domain_key(field, domain),
        None => Err(Error::invalid(field, "give either company_id or domain")),
    }
}

fn domain_key(field: &'static str, text: &str) -> Result<CompanyKey, Error> {
    WebDomain::parse(text)
        .map(CompanyKey::Domain)
        .map_err(|error| Error::invalid(field, format!("no domain: {error}")))
}

pub(super) fn not_found(key: &CompanyKey) -> Error {
    Error::NotFound {
        resource: "company",
        key: match key {
            CompanyKey::Id(id) => id.to_string(),
            CompanyKey::Domain(domain) => domain.to_string(),
        },
    }
}

/// The company after a write, unless the write found another one than the caller had read.
pub(super) fn written(id: uuid::Uuid, outcome: Option<WriteOutcome>) -> Result<pb::Company, Error> {
    let written = outcome.ok_or_else(|| not_found(&CompanyKey::Id(id)))?;
    if written.outcome == "etag_mismatch" {
        return Err(Error::EtagMismatch {
            resource: "company",
            key: id.to_string(),
            current: written.company.etag,
        });
    }
    Ok(company(written.company))
}

pub(super) fn filter(filter: pb::CompanyFilter) -> Result<CompanyFilter, Error> {
    let status = match fields::known("filter.status", filter.status)? {
        pb::CompanyStatus::Unspecified => None,
        pb::CompanyStatus::Active => Some("active"),
        pb::CompanyStatus::Inactive => Some("inactive"),
        pb::CompanyStatus::Archived => Some("archived"),
    };
    Ok(CompanyFilter {
        status,
        industry: fields::indexed("filter.industry", filter.industry)?,
        name_prefix: fields::indexed("filter.name_prefix", filter.name_prefix)?,
        location_prefix: fields::indexed("filter.location_prefix", filter.location_prefix)?,
        employee_count_from: filter.employee_count_from,
        employee_count_to: filter.employee_count_to,
        enriched_before: from_timestamp("filter.enriched_before", filter.enriched_before)?,
    })
}

pub(super) fn order(number: i32) -> Result<CompanyOrder, Error> {
    use pb::CompanyOrder as Pb;
    let order: Pb = fields::known("order_by", number)?;
    let by = match order {
        Pb::Unspecified | Pb::CreatedAsc | Pb::CreatedDesc => SortBy::Created,
        Pb::UpdatedAsc | Pb::UpdatedDesc => SortBy::Updated,
        Pb::EmployeeCountAsc | Pb::EmployeeCountDesc => SortBy::EmployeeCount,
    };
    let descending = matches!(
        order,
        Pb::CreatedDesc | Pb::UpdatedDesc | Pb::EmployeeCountDesc
    );
    Ok(CompanyOrder { by, descending })
}

pub(super) fn company(company: StoredCompany) -> pb::Company {
    let status = match company.status.as_str() {
        "active" => pb::CompanyStatus::Active,
        "inactive" => pb::CompanyStatus::Inactive,
        "archived" => pb::CompanyStatus::Archived,
        _ => pb::CompanyStatus::Unspecified,
    };
    pb::Company {
        company_id: company.id.to_string(),
        domain: company.domain,
        name: company.name.unwrap_or_default(),
        industry: company.industry.unwrap_or_default(),
        employee_count: company.employee_count,
        revenue: company.revenue.map(to_decimal),
        location: company.location.unwrap_or_default(),
        linkedin_url: company.linkedin_url.unwrap_or_default(),
        website: company.website.unwrap_or_default(),
        create_time: Some(to_timestamp(company.created_at)),
        update_time: Some(to_timestamp(company.updated_at)),
        enrich_time: company.enriched_at.map(to_timestamp),
        status: status.into(),
        pinned_fields: company.pinned_fields,
        etag: company.etag,
    }
}
