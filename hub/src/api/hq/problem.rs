//! Problems: the one place where an error becomes a status and a body (RFC 9457). What went wrong inside is logged, never sent.
//!
//! No problem names the path that was asked for: it may hold a card's number. The request's id leads to the log instead.

use std::any::Any;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use huitong_config::Language;
use huitong_config::problem::Form;
use serde::{Deserialize, Serialize};

use crate::claim::WaiveError;
use crate::exception::WorkError;
use crate::fence::FenceError;
use crate::member_request::ReviewError;
use crate::parameters::ParameterError;
use crate::risk::RiskError;
use crate::settle::SettleError;
use crate::statement;
use crate::store::StoreError;
use crate::suspense::SuspenseError;

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
    /// Another run is being computed.
    RunUnderWay,
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
            Self::RunUnderWay => ("run_under_way", StatusCode::CONFLICT),
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
        let form = Form {
            code,
            name,
            status,
            detail,
            field,
            expected_minor: None,
            retryable: matches!(code, Code::Busy | Code::RunUnderWay),
            challenge: (code == Code::Unauthorized).then_some("Bearer realm=\"huitong-hq\""),
            request_id: Some(request_id.to_owned()),
        };
        form.respond(language)
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

impl From<FenceError> for Problem {
    fn from(error: FenceError) -> Self {
        match error {
            FenceError::Store(error) => error.into(),
            FenceError::Note(fault) => Self::field("note", fault),
            missing => Self::new(Code::NotFound, without_hint(&missing.to_string())),
        }
    }
}

impl From<SuspenseError> for Problem {
    fn from(error: SuspenseError) -> Self {
        match error {
            SuspenseError::Store(error) => error.into(),
            SuspenseError::Note(fault) => Self::field("note", fault),
            SuspenseError::Receipts(fault) => Self::field("receipts", without_hint(&fault.to_string())),
            SuspenseError::State { store, epoch, fault, hint } => {
                Self::new(Code::Refused, format!("{store}-{epoch}: {fault}; {hint}"))
            }
            missing @ SuspenseError::Unknown { .. } => Self::new(Code::NotFound, without_hint(&missing.to_string())),
        }
    }
}

impl From<RiskError> for Problem {
    fn from(error: RiskError) -> Self {
        match error {
            RiskError::Store(error) => error.into(),
            RiskError::Note(fault) => Self::field("note", fault),
            RiskError::Amount(amount_minor) => {
                let most = huitong_protocol::till::AMOUNT_MINOR_MAX;
                Self::field("amount_minor", format!("is {amount_minor}; from 0 to {most} is allowed"))
            }
            RiskError::State { fault, hint } => Self::new(Code::Refused, format!("{fault}; {hint}")),
        }
    }
}

impl From<WaiveError> for Problem {
    fn from(error: WaiveError) -> Self {
        match error {
            WaiveError::Store(error) => error.into(),
            WaiveError::Unknown(number) => Self::new(Code::NotFound, format!("there is no claim {number}")),
            WaiveError::Note(fault) => Self::field("note", fault),
            WaiveError::State { number, fault } => Self::new(Code::Refused, format!("claim {number} {fault}")),
        }
    }
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Self {
        match error {
            ReviewError::Store(error) => error.into(),
            ReviewError::Unknown(number) => Self::new(Code::NotFound, format!("there is no request {number}")),
            ReviewError::Note(fault) => Self::field("note", fault),
            ReviewError::State { number, fault, hint } => {
                Self::new(Code::Refused, format!("request {number} {fault}; {hint}"))
            }
        }
    }
}

impl From<SettleError> for Problem {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Store(error) => error.into(),
            SettleError::NoRun(run) => Self::new(Code::NotFound, format!("there is no run {run}")),
            SettleError::Note(fault) => Self::field("note", fault),
            SettleError::Refused { fault, .. } => Self::new(Code::Refused, fault),
            SettleError::UnderWay => Self::new(Code::RunUnderWay, "a run is being computed; ask again when it is done"),
            refused @ (SettleError::NothingNew(_) | SettleError::Overtaken(_)) => {
                Self::new(Code::Refused, without_hint(&refused.to_string()))
            }
            other => internal(&other),
        }
    }
}

impl From<ParameterError> for Problem {
    fn from(error: ParameterError) -> Self {
        match error {
            ParameterError::Store(error) => error.into(),
            ParameterError::Unknown(number) => Self::new(Code::NotFound, format!("there is no proposal {number}")),
            ParameterError::Note(fault) => Self::field("note", fault),
            ParameterError::Refused { fault, hint } => Self::new(Code::Refused, format!("{fault}; {hint}")),
            ParameterError::Faults(faults) => {
                let words: Vec<String> = faults.iter().map(ToString::to_string).collect();
                Self { code: Code::FieldInvalid, detail: words.join("\n"), field: Some("document".to_owned()) }
            }
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
