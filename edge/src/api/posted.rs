//! Posted: what every request that changes something has in common: a till, an idempotency key, a bounded JSON body.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use huitong_config::Language;
use huitong_protocol::id::{Hash, OperationId};
use huitong_protocol::till::{Fault, IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED};
use huitong_protocol::wire::from_json;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Api, BODY_BYTES_MAX, Code, Problem, Till, words};
use crate::ledger::{Answer, Call, Order};

/// A request that changes something, read in full.
pub struct Posted {
    /// Who asks, for what operation, when.
    pub call: Call,
    /// The till.
    pub till: Till,
    /// The body.
    pub body: Bytes,
    /// The language of sentences in the answer.
    pub language: Language,
}

impl FromRequest<Api> for Posted {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let till = Till::from_request_parts(&mut parts, api).await?;
        let operation = key(&parts.headers)?;
        let too_large = || {
            Problem::new(
                Code::BodyTooLarge,
                format!("at most {BODY_BYTES_MAX} bytes are allowed; send a smaller basket"),
            )
        };
        let said = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if said.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        // The limit is the only way in which this fails for somebody who still listens.
        let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| too_large())?;
        if !body.is_empty() && !is_json(&parts.headers) {
            return Err(Problem::new(Code::UnsupportedMediaType, "send `Content-Type: application/json`"));
        }
        let mut hasher = blake3::Hasher::new();
        for part in [parts.method.as_str(), "\n", parts.uri.path(), "\n"] {
            hasher.update(part.as_bytes());
        }
        let body_hash = Hash(*hasher.update(&body).finalize().as_bytes());
        let now = api.clock().now();
        let cards_age_ms = api.shared.line.cards.age_ms(now);
        let call =
            Call { operation, body_hash, terminal: till.terminal, permissions: till.permissions, now, cards_age_ms };
        let language = parts.extensions.get().copied().unwrap_or(api.shared.language);
        Ok(Self { call, till, body, language })
    }
}

impl Posted {
    /// The body as JSON.
    ///
    /// # Errors
    /// A problem that names the field.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        from_json(&self.body).map_err(|fault| json_problem(&self.body, fault))
    }

    /// The body as JSON, for what is somebody's: a problem names the field and repeats nothing that was sent.
    ///
    /// # Errors
    /// A problem that names the field.
    pub fn json_private<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        from_json(&self.body).map_err(|fault| {
            let is_missing = fault.fault.starts_with("missing field");
            let quiet =
                Fault::new(fault.field.clone(), "cannot be read: look at its name, and at whether it is a text");
            json_problem(&self.body, if is_missing { fault } else { quiet })
        })
    }

    /// The body as JSON; no body at all is one with every field left out.
    ///
    /// # Errors
    /// As [`Posted::json`].
    pub fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.is_empty() { Ok(T::default()) } else { self.json() }
    }

    /// Has the order done and makes the answer.
    ///
    /// # Errors
    /// The problem to answer.
    pub async fn execute(&self, api: &Api, order: Order) -> Result<Response, Problem> {
        answered(api.ledger().execute(self.call, order).await?, self.language)
    }
}

/// The answer of an operation as a response, in the till's language.
pub(super) fn answered(Answer { decided, replayed }: Answer, language: Language) -> Result<Response, Problem> {
    let mut response = json_response(words::worded(decided, language)?);
    if replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A body as JSON, for requests that change nothing.
pub(super) fn json_of<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    if !is_json(headers) {
        return Err(Problem::new(Code::UnsupportedMediaType, "send `Content-Type: application/json`"));
    }
    from_json(body).map_err(|fault| json_problem(body, fault))
}

/// Bytes that are JSON already.
pub(super) fn json_response(json: Bytes) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}

/// The one variable part of a path, unread: who may not ask is told so before what is wrong with it.
pub(super) type PathPart = Result<Path<String>, PathRejection>;

/// Reads the part of the path.
pub(super) fn path_part<T: std::str::FromStr>(name: &str, part: PathPart) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    let Path(text) = part.map_err(|rejection| Problem::field(Fault::new(name, rejection.body_text())))?;
    text.parse().map_err(|error: T::Err| Problem::field(Fault::new(name, error.to_string())))
}

fn key(headers: &HeaderMap) -> Result<OperationId, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = keys.next() else {
        return Err(Problem::new(
            Code::IdempotencyKeyMissing,
            "make a UUID, save it, and send it as `Idempotency-Key`, so that the request can be repeated",
        ));
    };
    let fault = |what: String| Problem::field(Fault::new(IDEMPOTENCY_KEY, what));
    if keys.next().is_some() {
        return Err(fault("is there twice; send one".to_owned()));
    }
    let text = value.to_str().map_err(|_| fault("is not text".to_owned()))?;
    text.parse().map_err(|error: huitong_protocol::id::IdError| fault(error.to_string()))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Tells JSON that cannot be read from JSON with a field that is not right, and names the field.
fn json_problem(body: &[u8], fault: Fault) -> Problem {
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return Problem::new(Code::Malformed, fault.to_string());
    }
    Problem::field(named(fault))
}

/// serde names a missing, unknown or doubled field in its text and gives the path of what contains it.
fn named(fault: Fault) -> Fault {
    let inner = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|begin| fault.fault.strip_prefix(begin)?.split_once('`').map(|(name, _)| name.to_owned()));
    let Some(name) = inner else { return fault };
    let field = match fault.field.as_str() {
        "body" => name,
        path if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        path => format!("{path}.{name}"),
    };
    Fault::new(field, fault.fault)
}
