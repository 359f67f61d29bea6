//! Between the messages about conversions and the values of the repository.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

use crate::{
    domain::{DealValue, MAX_INDEXED_TEXT_BYTES},
    marketing::{
        convert::{
            CONVERSION_TYPES, InvalidItem, check_text, from_name, id, optional_id, period,
            required_name, to_name,
        },
        repository::conversions::{Conversion, ConversionFilter, NewConversion},
    },
    proto::marketing::v1::{self as pb, record_conversions_request::Item},
    rpc::{Error, from_timestamp, to_decimal, to_timestamp},
};

/// An item whose fields are right.
pub(super) fn item(item: &Item) -> Result<NewConversion, InvalidItem> {
    let wrong = |field| move |detail| InvalidItem { field, detail };
    Ok(NewConversion {
        id: id(&item.conversion_id).map_err(wrong("conversion_id"))?,
        person_id: id(&item.person_id).map_err(wrong("person_id"))?,
        campaign_id: optional_id(&item.campaign_id).map_err(wrong("campaign_id"))?,
        conversion_type: required_name(item.conversion_type, &CONVERSION_TYPES)
            .map_err(wrong("conversion_type"))?,
        converted_at: time(item.conversion_time).map_err(wrong("conversion_time"))?,
        value: item
            .value
            .as_ref()
            .map(|value| DealValue::parse(&value.value))
            .transpose()
            .map_err(|error| wrong("value")(error.to_string()))?,
        source_touchpoint: touchpoint(&item.source_touchpoint)
            .map_err(wrong("source_touchpoint"))?,
        final_touchpoint: touchpoint(&item.final_touchpoint).map_err(wrong("final_touchpoint"))?,
    })
}

fn time(time: Option<Timestamp>) -> Result<DateTime<Utc>, String> {
    match from_timestamp("conversion_time", time) {
        Ok(time) => time.ok_or_else(|| "is required".to_owned()),
        Err(Error::InvalidField { description, .. }) => Err(description),
        Err(other) => Err(other.to_string()),
    }
}

fn touchpoint(text: &str) -> Result<Option<String>, String> {
    check_text(text, MAX_INDEXED_TEXT_BYTES)?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

pub(super) fn conversion(conversion: Conversion) -> pb::Conversion {
    let campaign_id = conversion.campaign_id.map(|id| id.to_string());
    pb::Conversion {
        conversion_id: conversion.id.to_string(),
        person_id: conversion.person_id.to_string(),
        campaign_id: campaign_id.unwrap_or_default(),
        conversion_type: from_name(&conversion.conversion_type, &CONVERSION_TYPES).into(),
        conversion_time: Some(to_timestamp(conversion.converted_at)),
        value: conversion.value.map(to_decimal),
        source_touchpoint: conversion.source_touchpoint.unwrap_or_default(),
        final_touchpoint: conversion.final_touchpoint.unwrap_or_default(),
    }
}

pub(super) fn filter(request: &pb::ListConversionsRequest) -> Result<ConversionFilter, Error> {
    use pb::ConversionOrder as Order;
    let wrong = |field: &'static str| move |error: String| Error::invalid(field, error);
    let order = Order::try_from(request.order_by).map_err(|_| {
        let description = format!("{} is not a value of its enum", request.order_by);
        Error::invalid("order_by", description)
    })?;
    let (converted_from, converted_before) = period(
        ["converted_from", "converted_before"],
        [request.converted_from, request.converted_before],
    )?;
    Ok(ConversionFilter {
        person_id: optional_id(&request.person_id).map_err(wrong("person_id"))?,
        campaign_id: optional_id(&request.campaign_id).map_err(wrong("campaign_id"))?,
        conversion_type: to_name(request.conversion_type, &CONVERSION_TYPES)
            .map_err(wrong("conversion_type"))?,
        converted_from,
        converted_before,
        newest_first: order == Order::ConvertedDesc,
    })
}
