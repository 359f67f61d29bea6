//! `UpdateCompany`, `ArchiveCompany`.

use super::{
    convert::{self, EDITABLE, IMMUTABLE},
    repository::write::{self as repository, Changes, Update},
};
use crate::{
    domain::{Actor, LinkedInKind, LinkedInUrl, WebDomain},
    golden::fields,
    proto::company::v1 as pb,
    room::Room,
    rpc::{Error, from_decimal},
};

pub(super) async fn update(
    room: &Room,
    request: pb::UpdateCompanyRequest,
    actor: Actor,
) -> Result<pb::UpdateCompanyResponse, Error> {
    let update = parse(request)?;
    let id = update.id;
    let mut connection = room.connection().await?;
    let outcome = room
        .uncut(async move { repository::update(&mut connection, &update, &actor).await })
        .await?;
    Ok(pb::UpdateCompanyResponse {
        company: Some(convert::written(id, outcome)?),
    })
}

pub(super) async fn archive(
    room: &Room,
    request: pb::ArchiveCompanyRequest,
    actor: Actor,
) -> Result<pb::ArchiveCompanyResponse, Error> {
    let id = fields::id("company_id", &request.company_id)?;
    let etag = fields::etag("etag", &request.etag)?;
    let mut connection = room.connection().await?;
    let outcome = room
        .uncut(async move { repository::archive(&mut connection, id, &etag, &actor).await })
        .await?;
    Ok(pb::ArchiveCompanyResponse {
        company: Some(convert::written(id, outcome)?),
    })
}

fn parse(request: pb::UpdateCompanyRequest) -> Result<Update, Error> {
    let company = request
        .company
        .ok_or_else(|| Error::invalid("company", "is missing"))?;
    let mask = request.update_mask.unwrap_or_default().paths;
    let mask = fields::columns("update_mask", &mask, &EDITABLE, &IMMUTABLE)?;
    let unpin = fields::columns("unpin", &request.unpin, &EDITABLE, &IMMUTABLE)?;
    if request.enrichment && !unpin.is_empty() {
        return Err(Error::invalid("unpin", "an enrichment leaves pins alone"));
    }
    fields::check_mask(&mask, &unpin, request.enrichment)?;
    let mut changes = Changes::new();
    for column in mask {
        let value = value(&company, column)?;
        // An enrichment that found nothing does not say that there is nothing.
        if value.is_some() || !request.enrichment {
            changes.insert(column, value);
        }
    }
    Ok(Update {
        id: fields::id("company.company_id", &company.company_id)?,
        etag: fields::etag("company.etag", &company.etag)?,
        changes,
        unpin,
        enrichment: request.enrichment,
    })
}

/// The new value of a column, checked; `None` clears it.
fn value(company: &pb::Company, column: &'static str) -> Result<Option<String>, Error> {
    match column {
        "name" => text("company.name", &company.name),
        "industry" => text("company.industry", &company.industry),
        "location" => text("company.location", &company.location),
        "employee_count" => match company.employee_count {
            Some(..0) => Err(Error::invalid(
                "company.employee_count",
                "must not be negative",
            )),
            count => Ok(count.map(|count| count.to_string())),
        },
        "revenue" => revenue(company),
        "linkedin_url" => linkedin_url(&company.linkedin_url),
        _ => website(&company.website),
    }
}

fn text(field: &'static str, text: &str) -> Result<Option<String>, Error> {
    fields::indexed(field, text.trim().to_owned())
}

fn revenue(company: &pb::Company) -> Result<Option<String>, Error> {
    const FIELD: &str = "company.revenue";
    let Some(revenue) = &company.revenue else {
        return Ok(None);
    };
    let revenue = from_decimal(FIELD, revenue)?;
    if revenue.is_negative() {
        return Err(Error::invalid(FIELD, "must not be negative"));
    }
    Ok(Some(revenue.to_string()))
}

fn linkedin_url(sent: &str) -> Result<Option<String>, Error> {
    const FIELD: &str = "company.linkedin_url";
    let Some(sent) = text(FIELD, sent)? else {
        return Ok(None);
    };
    LinkedInUrl::parse(LinkedInKind::Company, &sent)
        .map(|url| Some(url.as_str().to_owned()))
        .map_err(|error| Error::invalid(FIELD, error))
}

fn website(sent: &str) -> Result<Option<String>, Error> {
    const FIELD: &str = "company.website";
    let Some(sent) = text(FIELD, sent)? else {
        return Ok(None);
    };
    match WebDomain::parse(&sent) {
        Ok(_) => Ok(Some(sent)),
        Err(error) => Err(Error::invalid(FIELD, format!("no website: {error}"))),
    }
}
