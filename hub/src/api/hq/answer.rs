//! Answer: values as JSON, each moment also as people read it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use huitong_protocol::time::Instant;
use serde::Serialize;
use serde_json::Value;

use super::problem::{Code, Problem};

/// A value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Response, Problem> {
    json_with(StatusCode::OK, value)
}

/// A value as JSON, with a status.
pub(super) fn json_with<T: Serialize>(status: StatusCode, value: &T) -> Result<Response, Problem> {
    Ok(whole(status, "application/json", dated(value)?.to_string()))
}

/// A text of a type.
pub(super) fn whole(status: StatusCode, media_type: &'static str, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], text).into_response()
}

/// A value with each moment in RFC 3339 beside its milliseconds: `raised_at_ms` has `raised_at`.
pub(super) fn dated<T: Serialize>(value: &T) -> Result<Value, Problem> {
    let mut value = serde_json::to_value(value).map_err(|why| {
        tracing::error!("Could not write an answer: {why}");
        Problem::new(Code::Internal, "the hub's log has the reason under the request's id")
    })?;
    date(&mut value);
    Ok(value)
}

fn date(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(date),
        Value::Object(fields) => {
            let moments: Vec<(String, String)> = fields
                .iter()
                .filter_map(|(name, value)| {
                    Some((name.strip_suffix("_ms")?.to_owned(), Instant(value.as_i64()?).to_string()))
                })
                .collect();
            fields.values_mut().for_each(date);
            for (name, moment) in moments {
                fields.entry(name).or_insert(Value::String(moment));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_can_be_read_and_nothing_else_changes() {
        let value = serde_json::json!({
            "raised_at_ms": 1_800_000_000_000_i64, "gone_ms": null, "amount_minor": 5, "in": [{ "at_ms": 0 }],
        });
        let expected = serde_json::json!({
            "raised_at_ms": 1_800_000_000_000_i64, "raised_at": "2027-01-15T08:00:00Z", "gone_ms": null, "amount_minor": 5,
            "in": [{ "at_ms": 0, "at": "1970-01-01T00:00:00Z" }],
        });
        assert_eq!(dated(&value).unwrap(), expected);
    }
}
