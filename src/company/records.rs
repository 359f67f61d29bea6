//! Reading companies: one, many, lists, slots and histories.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{
    KIND, convert,
    repository::{
        list::{self as repository_list, PageKey},
        point::{self as repository, CompanyKey},
    },
};
use crate::{
    domain::WebDomain,
    golden::{
        fields,
        history::{self, HistoryQuery},
        slots::{self, SlotQuery},
    },
    proto::company::v1 as pb,
    room::Room,
    rpc::{Error, PageRequest, from_timestamp},
};

pub(super) async fn get(
    room: &Room,
    request: pb::GetCompanyRequest,
) -> Result<pb::GetCompanyResponse, Error> {
    let key = convert::key("key", request.key.as_ref())?;
    let as_of = from_timestamp("as_of", request.as_of)?;
    let mut connection = room.connection().await?;
    let mut found = repository::get(&mut connection, &key).await?;
    if let (Some(company), Some(at)) = (&found, as_of) {
        found = repository::get_as_of(&mut connection, company.id, at).await?;
        if let Some(company) = &mut found {
            company.etag.clear();
        }
    }
    let company = found.ok_or_else(|| convert::not_found(&key))?;
    Ok(pb::GetCompanyResponse {
        company: Some(convert::company(company)),
    })
}

pub(super) async fn batch_get(
    room: &Room,
    request: pb::BatchGetCompaniesRequest,
) -> Result<pb::BatchGetCompaniesResponse, Error> {
    if request.keys.is_empty() {
        return Err(Error::invalid("keys", "give at least one"));
    }
    let limit = room.limits.max_ingest_rows;
    fields::within("keys", request.keys.len(), limit, "max-ingest-rows")?;
    let keys = request.keys.iter();
    let keys = keys.map(|key| convert::key("keys", Some(key)));
    let keys = keys.collect::<Result<Vec<CompanyKey>, Error>>()?;
    let mut connection = room.connection().await?;
    let found = repository::find(&mut connection, &keys).await?;
    drop(connection);

    let by_domain: HashMap<String, Uuid> = found
        .iter()
        .map(|company| (company.domain.clone(), company.id))
        .collect();
    let mut by_id: HashMap<Uuid, pb::Company> = found
        .into_iter()
        .map(|company| (company.id, convert::company(company)))
        .collect();
    let mut response = pb::BatchGetCompaniesResponse::default();
    let mut answered = HashSet::new();
    for (key, sent) in keys.iter().zip(request.keys) {
        let id = match key {
            CompanyKey::Id(id) => Some(*id),
            CompanyKey::Domain(domain) => by_domain.get(domain.as_str()).copied(),
        };
        match id.and_then(|id| Some((id, by_id.remove(&id)?))) {
            Some((id, company)) => {
                answered.insert(id);
                response.companies.push(company);
            }
            // Named twice, it is there once.
            None if id.is_some_and(|id| answered.contains(&id)) => {}
            None => response.not_found.push(sent),
        }
    }
    Ok(response)
}

pub(super) async fn list(
    room: &Room,
    mut request: pb::ListCompaniesRequest,
) -> Result<pb::ListCompaniesResponse, Error> {
    let paging = PageRequest::<PageKey>::of("ListCompanies", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(room.limits.max_page_bytes);
    let order = convert::order(request.order_by)?;
    let filter = convert::filter(request.filter.unwrap_or_default())?;
    let mut connection = room.connection().await?;
    let page = repository_list::list(&mut connection, &filter, order, &paging).await?;
    let next_page_token = match page.items.last().filter(|_| page.more) {
        Some(last) => paging.token(&PageKey::of(&last.company, order))?,
        None => String::new(),
    };
    let companies = page.items.into_iter();
    Ok(pb::ListCompaniesResponse {
        companies: companies.map(|row| convert::company(row.company)).collect(),
        next_page_token,
    })
}

pub(super) async fn list_slots(
    room: &Room,
    mut request: pb::ListCompanySlotsRequest,
) -> Result<pb::ListCompanySlotsResponse, Error> {
    let paging = PageRequest::<i64>::of("ListCompanySlots", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?;
    let query = SlotQuery {
        status: request.status,
        key: slot_domain(&request.domain)?,
        source: request.source,
        batch_id: request.batch_id,
        created_from: request.created_from,
        created_before: request.created_before,
        rejection_reason: request.rejection_reason,
        order_by: request.order_by,
    };
    let (slots, next_page_token) = slots::list(room, &KIND, query, paging).await?;
    let slots = slots.into_iter().map(|(domain, slot)| pb::CompanySlot {
        domain,
        slot: Some(slot),
    });
    Ok(pb::ListCompanySlotsResponse {
        slots: slots.collect(),
        next_page_token,
    })
}

fn slot_domain(text: &str) -> Result<Option<String>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    WebDomain::parse(text)
        .map(|domain| Some(domain.as_str().to_owned()))
        .map_err(|error| Error::invalid("domain", format!("no domain: {error}")))
}

pub(super) async fn list_history(
    room: &Room,
    mut request: pb::ListCompanyHistoryRequest,
) -> Result<pb::ListCompanyHistoryResponse, Error> {
    let paging = PageRequest::<i64>::of("ListCompanyHistory", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?;
    let key = convert::key("key", request.key.as_ref())?;
    let mut connection = room.connection().await?;
    let company = repository::get(&mut connection, &key).await?;
    drop(connection);
    let query = HistoryQuery {
        id: company.ok_or_else(|| convert::not_found(&key))?.id,
        changed_from: request.changed_from,
        changed_before: request.changed_before,
        order_by: request.order_by,
    };
    let (entries, next_page_token) = history::list(room, &KIND, query, paging).await?;
    Ok(pb::ListCompanyHistoryResponse {
        entries,
        next_page_token,
    })
}
