//! Small free-form JSON, between `google.protobuf.Struct` and JSON text.

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::{Map, Number, Value as Json};

/// The largest double below which every whole number is exact.
const MAX_EXACT_WHOLE: f64 = 9_007_199_254_740_992.0;

/// A Struct as JSON, and whether JSON can hold all of its numbers. NaN and the infinities become strings, as
/// in the JSON form of protobuf.
pub(crate) fn struct_json(object: Struct) -> (Json, bool) {
    let mut finite = true;
    let json = fields_json(object, &mut finite);
    (json, finite)
}

fn fields_json(object: Struct, finite: &mut bool) -> Json {
    let fields = object.fields.into_iter();
    Json::Object(
        fields
            .map(|(key, value)| (key, value_json(value, finite)))
            .collect::<Map<_, _>>(),
    )
}

fn value_json(value: Value, finite: &mut bool) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(bool)) => Json::Bool(bool),
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::NumberValue(number)) => json_number(number).map_or_else(
            || {
                *finite = false;
                Json::String(number.to_string())
            },
            Json::Number,
        ),
        Some(Kind::StructValue(object)) => fields_json(object, finite),
        Some(Kind::ListValue(list)) => {
            let items = list.values.into_iter();
            Json::Array(items.map(|item| value_json(item, finite)).collect())
        }
    }
}

/// Whole numbers are written as such: a person who typed 5 means 5, not 5.0.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the number is whole and below 2^53"
)]
fn json_number(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() < MAX_EXACT_WHOLE {
        Some(Number::from(number as i64))
    } else {
        Number::from_f64(number)
    }
}

/// JSON as a Struct; `None` for anything but an object.
pub(crate) fn json_struct(json: Json) -> Option<Struct> {
    let Json::Object(fields) = json else {
        return None;
    };
    Some(Struct {
        fields: fields
            .into_iter()
            .map(|(key, value)| (key, json_value(value)))
            .collect(),
    })
}

fn json_value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(bool) => Kind::BoolValue(bool),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => Kind::ListValue(ListValue {
            values: items.into_iter().map(json_value).collect(),
        }),
        Json::Object(_) => json_struct(json).map_or(Kind::NullValue(0), Kind::StructValue),
    };
    Value { kind: Some(kind) }
}
