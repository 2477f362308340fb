//! Problems: the one place where an error becomes a status and a body (RFC 9457). What went wrong inside is logged, never sent.
//!
//! No problem names the path that was asked for: it may hold a card's number. The request's id leads to the log instead.

use std::any::Any;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use huitong_config::{Kind, Language, meaning};
use serde::{Deserialize, Serialize};

use crate::exception::WorkError;
use crate::settle::SettleError;
use crate::statement;
use crate::store::StoreError;

/// What a program may act on. The text form is stable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not readable as JSON, or as a query.
    Malformed,
    /// Readable, but a field or parameter is not right.
    FieldInvalid,
    /// No token, or one that opens nothing.
    Unauthorized,
    /// The token may not do this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The answer has no such form.
    NotAcceptable,
    /// The body is too large.
    BodyTooLarge,
    /// A rule says no; nothing changed.
    Refused,
    /// Too much at once.
    Busy,
    /// A mistake of this program, or its disk.
    Internal,
}

impl Code {
    /// Its text form and its HTTP status.
    #[must_use]
    pub const fn text(self) -> (&'static str, StatusCode) {
        match self {
            Self::Malformed => ("malformed", StatusCode::BAD_REQUEST),
            Self::FieldInvalid => ("field_invalid", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::NotAcceptable => ("not_acceptable", StatusCode::NOT_ACCEPTABLE),
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Refused => ("refused", StatusCode::CONFLICT),
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// A request that has no answer. It becomes a body in `frame`, which knows the request's id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    field: Option<String>,
}

/// A problem as it is sent (RFC 9457).
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Body {
    /// `urn:huitong:problem:CODE`.
    r#type: String,
    /// What happened, in the language of `Content-Language`.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What a program may act on.
    code: Code,
    /// What is wrong with this request, for whoever writes the program that asks.
    detail: String,
    /// What to do, in the language of `Content-Language`.
    #[serde(skip_serializing_if = "String::is_empty")]
    action: String,
    /// The field or parameter that is not right.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Whether the same request may succeed in a moment.
    retryable: bool,
    /// Under which the log has the request.
    request_id: String,
}

impl Problem {
    /// A problem in words: what is wrong and what to do.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None }
    }

    /// A field or parameter that is not right.
    pub(super) fn field(field: &str, fault: impl std::fmt::Display) -> Self {
        Self { code: Code::FieldInvalid, detail: format!("{field}: {fault}"), field: Some(field.to_owned()) }
    }

    /// The answer in full.
    pub(super) fn render(self, request_id: &str, language: Language) -> Response {
        let Self { code, detail, field } = self;
        let (name, status) = code.text();
        let (title, action) =
            meaning(Kind::Problem, name, language).map(|said| (said.what, said.action)).unwrap_or_default();
        let retryable = matches!(code, Code::Busy);
        let (r#type, request_id) = (format!("urn:huitong:problem:{name}"), request_id.to_owned());
        let status_no = status.as_u16();
        let body = Body { r#type, title, status: status_no, code, detail, action, field, retryable, request_id };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"huitong-hq\""));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.text().1.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The words of a refusal without the hint for people at the command line, which names commands.
fn without_hint(text: &str) -> &str {
    text.split_once("\n  hint:").map_or(text, |(fault, _)| fault)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::new(Code::Busy, "send the request again"),
            error => internal(&error),
        }
    }
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error, "Could not serve a request of head office");
    Problem::new(Code::Internal, "the hub's log has the reason under the request's id")
}

impl From<WorkError> for Problem {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Store(error) => error.into(),
            WorkError::Unknown(number) => Self::new(Code::NotFound, format!("there is no exception {number}")),
            WorkError::Note(fault) => Self::field("note", fault),
            WorkError::Name(fault) => Self::field("to", fault),
            WorkError::State { number, fault, hint } => {
                Self::new(Code::Refused, format!("exception {number} {fault}; {hint}"))
            }
        }
    }
}

impl From<SettleError> for Problem {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Store(error) => error.into(),
            SettleError::NoRun(run) => Self::new(Code::NotFound, format!("there is no run {run}")),
            SettleError::Refused { fault, .. } => Self::new(Code::Refused, fault),
            refused @ SettleError::NothingNew(_) => Self::new(Code::Refused, refused.to_string()),
            other => internal(&other),
        }
    }
}

impl From<statement::Error> for Problem {
    fn from(error: statement::Error) -> Self {
        match error {
            statement::Error::Store(error) => error.into(),
            missing @ (statement::Error::NoRun(_) | statement::Error::NoParty { .. }) => {
                Self::new(Code::NotFound, without_hint(&missing.to_string()))
            }
            other => internal(&other),
        }
    }
}

impl From<crate::account::AccountError> for Problem {
    fn from(error: crate::account::AccountError) -> Self {
        match error {
            crate::account::AccountError::Store(error) => error.into(),
            other => internal(&other),
        }
    }
}

/// Answers a path that is not there.
pub(super) async fn no_such_path() -> Problem {
    Problem::new(Code::NotFound, "there is no such path under /v1/hq")
}

/// Answers a method that the path does not take.
pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "look-ups are GET, what changes something is POST")
}

/// Answers when a handler broke off.
pub(super) fn broke_off(panic: Box<dyn Any + Send>) -> Response {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!("A handler panicked: {}", words.unwrap_or("without words"));
    Problem::new(Code::Internal, "the hub's log has the reason under the request's id").into_response()
}
