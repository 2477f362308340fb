//! Problems: the one place where an error becomes a status and a body (RFC 9457). A refusal by the rules is not one; it is an answer.
//!
//! What went wrong inside is logged, never sent.

use std::any::Any;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use huitong_protocol::till::Fault;
use serde::{Deserialize, Serialize};

use crate::ledger::LedgerError;
use crate::store::StoreError;

/// What a program may act on. The text form is stable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// The till has seen more of this store than the store remembers.
    WitnessUnknown,
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
    const fn text(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::Malformed => ("malformed", StatusCode::BAD_REQUEST, "The request cannot be read"),
            Self::FieldInvalid => {
                ("field_invalid", StatusCode::UNPROCESSABLE_ENTITY, "A field of the request is not right")
            }
            Self::IdempotencyKeyMissing => {
                ("idempotency_key_missing", StatusCode::BAD_REQUEST, "The idempotency key is missing")
            }
            Self::IdempotencyKeyReused => {
                ("idempotency_key_reused", StatusCode::UNPROCESSABLE_ENTITY, "The idempotency key was used before")
            }
            Self::InFlight => ("in_flight", StatusCode::CONFLICT, "The operation is being decided"),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "No till of this store has this token"),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "This till may not do this"),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "There is no such thing"),
            Self::ItemUnknown => ("item_unknown", StatusCode::NOT_FOUND, "The item is in no master"),
            Self::MemberUnknown => ("member_unknown", StatusCode::NOT_FOUND, "No such member is known at this store"),
            Self::UnknownCardOffline => (
                "unknown_card_offline",
                StatusCode::NOT_FOUND,
                "The card is not known here and the line to head office is down",
            ),
            Self::DayNotOpen => ("day_not_open", StatusCode::CONFLICT, "No business day is open"),
            Self::PriceAsTaken => ("price_as_taken", StatusCode::CONFLICT, "The till itself priced this receipt"),
            Self::PolicyNotHeld => {
                ("policy_not_held", StatusCode::CONFLICT, "The store no longer keeps the policy of this sale")
            }
            Self::PriceDiffers => {
                ("price_differs", StatusCode::CONFLICT, "The sale costs something else when it is priced again")
            }
            Self::MethodNotAllowed => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "The path does not take this method")
            }
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::UnsupportedMediaType => (
                "unsupported_media_type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body is not JSON by its content type",
            ),
            Self::WitnessUnknown => (
                "witness_unknown",
                StatusCode::CONFLICT,
                "The till has seen more of this store than the store remembers",
            ),
            Self::NotReady => ("not_ready", StatusCode::SERVICE_UNAVAILABLE, "The store cannot trade yet"),
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, "Too much at once; try again in a moment"),
            Self::Storage => ("storage", StatusCode::SERVICE_UNAVAILABLE, "Nothing was stored"),
            Self::Internal => {
                ("internal", StatusCode::INTERNAL_SERVER_ERROR, "The program made a mistake; nothing was stored")
            }
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

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
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

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (code, status, title) = self.code.text();
        let body = Body {
            r#type: format!("urn:huitong:problem:{code}"),
            title,
            status: status.as_u16(),
            code,
            detail: &self.detail,
            field: self.field.as_deref(),
            expected_minor: self.expected_minor,
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(self.code, Code::Busy | Code::InFlight | Code::Storage) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
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
