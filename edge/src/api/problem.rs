//! Problems: the one place where an error becomes a status and a body (RFC 9457). A refusal by the rules is not one; it is an answer.
//!
//! What went wrong inside is logged, never sent.

use std::any::Any;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use huitong_config::Language;
use huitong_config::problem::Form;
use huitong_protocol::till::Fault;
use serde::{Deserialize, Serialize};

use crate::ledger::LedgerError;
use crate::store::StoreError;

/// What a program may act on. The text form is stable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not readable as JSON.
    Malformed,
    /// Readable, but a field is not right.
    FieldInvalid,
    /// A request that changes something needs an idempotency key.
    IdempotencyKeyMissing,
    /// The key was used for another request or by another till.
    IdempotencyKeyReused,
    /// The same operation is being decided.
    InFlight,
    /// No till has this token.
    Unauthorized,
    /// The till may not do this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// No item has this SKU or barcode.
    ItemUnknown,
    /// No member has this card, code, phone or number.
    MemberUnknown,
    /// The card is in no replica, and the hub could not be asked.
    UnknownCardOffline,
    /// No business day is open.
    DayNotOpen,
    /// The till itself priced the receipt.
    PriceAsTaken,
    /// The store no longer keeps the policy of the sale.
    PolicyNotHeld,
    /// The sale costs something else when it is priced again.
    PriceDiffers,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The body is too large.
    BodyTooLarge,
    /// The body is not JSON by its content type.
    UnsupportedMediaType,
    /// The store is not enrolled or has no policy.
    NotReady,
    /// Too much at once.
    Busy,
    /// The database could not do it.
    Storage,
    /// A mistake of this program.
    Internal,
}

impl Code {
    /// Its text form and its HTTP status.
    #[must_use]
    pub const fn text(self) -> (&'static str, StatusCode) {
        match self {
            Self::Malformed => ("malformed", StatusCode::BAD_REQUEST),
            Self::FieldInvalid => ("field_invalid", StatusCode::UNPROCESSABLE_ENTITY),
            Self::IdempotencyKeyMissing => ("idempotency_key_missing", StatusCode::BAD_REQUEST),
            Self::IdempotencyKeyReused => ("idempotency_key_reused", StatusCode::UNPROCESSABLE_ENTITY),
            Self::InFlight => ("in_flight", StatusCode::CONFLICT),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::ItemUnknown => ("item_unknown", StatusCode::NOT_FOUND),
            Self::MemberUnknown => ("member_unknown", StatusCode::NOT_FOUND),
            Self::UnknownCardOffline => ("unknown_card_offline", StatusCode::NOT_FOUND),
            Self::DayNotOpen => ("day_not_open", StatusCode::CONFLICT),
            Self::PriceAsTaken => ("price_as_taken", StatusCode::CONFLICT),
            Self::PolicyNotHeld => ("policy_not_held", StatusCode::CONFLICT),
            Self::PriceDiffers => ("price_differs", StatusCode::CONFLICT),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::NotReady => ("not_ready", StatusCode::SERVICE_UNAVAILABLE),
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE),
            Self::Storage => ("storage", StatusCode::SERVICE_UNAVAILABLE),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// A request that has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    field: Option<String>,
    expected_minor: Option<i64>,
}

impl Problem {
    /// A problem in words: what is wrong and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None, expected_minor: None }
    }

    /// A field that is not right.
    #[must_use]
    pub fn field(fault: Fault) -> Self {
        let (detail, expected_minor) = (fault.to_string(), fault.expected_minor);
        Self { code: Code::FieldInvalid, detail, field: Some(fault.field), expected_minor }
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }
}

impl Problem {
    /// The answer in full.
    pub(super) fn render(self, language: Language) -> Response {
        let Self { code, detail, field, expected_minor } = self;
        let (name, status) = code.text();
        let form = Form {
            code,
            name,
            status,
            detail,
            field,
            expected_minor,
            retryable: matches!(code, Code::Busy | Code::InFlight | Code::Storage),
            challenge: (code == Code::Unauthorized).then_some("Bearer"),
            request_id: None,
        };
        form.respond(language)
    }
}

/// A status and what it is about: the words are put in by `words`, which knows the reader's language.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.text().1.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Fault(fault) => Self::field(fault),
            LedgerError::KeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "take a new key for each operation, and the same one only to repeat it unchanged",
            ),
            LedgerError::InFlight => Self::new(Code::InFlight, "ask again with the same key"),
            LedgerError::NoPolicy => Self::new(Code::NotReady, LedgerError::NoPolicy.to_string()),
            LedgerError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::new(Code::Busy, "repeat the request with the same key"),
            StoreError::NotEnrolled => Self::new(Code::NotReady, error.to_string()),
            StoreError::TooLarge { .. } => {
                Self::new(Code::BodyTooLarge, format!("{error}; split the basket and use a new key for each part"))
            }
            StoreError::Panicked => Self::new(
                Code::Internal,
                "repeat the request with the same key; if it fails again, the log has the place",
            ),
            StoreError::NotDurable | StoreError::Stopped => Self::new(
                Code::Storage,
                "the store's disk failed; repeat the request with the same key when the daemon is back",
            ),
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "A request could not be stored");
                Self::new(Code::Storage, "repeat the request with the same key; the store's log has the reason")
            }
        }
    }
}

/// Answers a path that is not there.
pub(super) async fn no_such_path() -> Problem {
    Problem::new(Code::NotFound, "there is no such path; the API is under /v1")
}

/// Answers a method that the path does not take.
pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "operations are POST, look-ups are GET")
}

/// Answers when a handler broke off.
pub(super) fn broke_off(_: Box<dyn Any + Send>) -> Response {
    Problem::new(Code::Internal, "repeat the request with the same key; if it fails again, the log has the place")
        .into_response()
}
