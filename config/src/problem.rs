//! Problem: how a request that has no answer is told, by both daemons alike (RFC 9457), in the reader's language. Which codes there are, and what becomes
//! one, is each daemon's own.
//!
//! Invariant: `code` is stable and says what to act on, `title` and `action` say it in words that the messages keep, `detail` says what is wrong with
//! this request, and nothing of any comes from inside the program.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::{Kind, Language, meaning};

/// A problem, before it has a language. `C` is the daemon's codes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Form<C> {
    /// What a program may act on.
    pub code: C,
    /// Its text form.
    pub name: &'static str,
    /// The status.
    pub status: StatusCode,
    /// What is wrong here and what to do, for whoever writes the program that asks.
    pub detail: String,
    /// The field or parameter that is not right.
    pub field: Option<String>,
    /// The amount that would have been right there, in minor units.
    pub expected_minor: Option<i64>,
    /// Whether the same request may be sent again in a moment.
    pub retryable: bool,
    /// How who asks can say who it is, when that is what is missing.
    pub challenge: Option<&'static str>,
    /// Under which the daemon's log has more.
    pub request_id: Option<String>,
}

/// A problem as it is sent (RFC 9457).
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Body<C> {
    /// `urn:huitong:problem:CODE`.
    r#type: String,
    /// What happened, in the language of `Content-Language`.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What a program may act on.
    code: C,
    /// What is wrong with this request, for whoever writes the program that asks.
    detail: String,
    /// What to do, in the language of `Content-Language`.
    #[serde(skip_serializing_if = "String::is_empty")]
    action: String,
    /// The field or parameter that is not right: `lines[2].net_minor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The amount that would have been right, where there is one: what the basket costs, what a line comes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_minor: Option<i64>,
    /// Whether the same request may succeed in a moment.
    retryable: bool,
    /// Under which the log has the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl<C: Serialize> Form<C> {
    /// The answer in full.
    #[must_use]
    pub fn respond(self, language: Language) -> Response {
        let Self { code, name, status, detail, field, expected_minor, retryable, challenge, request_id } = self;
        let (title, action) =
            meaning(Kind::Problem, name, language).map(|said| (said.what, said.action)).unwrap_or_default();
        let body = Body {
            r#type: format!("urn:huitong:problem:{name}"),
            title,
            status: status.as_u16(),
            code,
            detail,
            action,
            field,
            expected_minor,
            retryable,
            request_id,
        };
        // Texts and numbers: there is nothing that JSON cannot hold.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Form<&'static str> {
        Form {
            code: "not_found",
            name: "not_found",
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail: "send it again".to_owned(),
            field: None,
            expected_minor: None,
            retryable: true,
            challenge: None,
            request_id: None,
        }
    }

    async fn told(form: Form<&'static str>, language: Language) -> (Vec<(String, String)>, serde_json::Value) {
        let response = form.respond(language);
        let headers = response.headers().iter();
        let mut headers: Vec<(String, String)> =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        headers.sort();
        let body = axum::body::to_bytes(response.into_body(), 2_000).await.unwrap();
        (headers, serde_json::from_slice(&body).unwrap())
    }

    fn is(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[tokio::test]
    async fn what_is_not_said_is_left_out_and_who_may_ask_again_is_told_when() {
        let (headers, body) = told(form(), Language::English).await;
        assert_eq!(headers, is(&[("content-type", "application/problem+json"), ("retry-after", "1")]));
        let said = meaning(Kind::Problem, "not_found", Language::English).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:huitong:problem:not_found", "title": said.what, "status": 503, "code": "not_found",
                "detail": "send it again", "action": said.action, "retryable": true,
            })
        );
        let whole = Form {
            retryable: false,
            field: Some("note".to_owned()),
            expected_minor: Some(7),
            challenge: Some("Bearer"),
            request_id: Some("r1".to_owned()),
            status: StatusCode::UNAUTHORIZED,
            ..form()
        };
        let (headers, body) = told(whole, Language::Chinese).await;
        assert_eq!(headers, is(&[("content-type", "application/problem+json"), ("www-authenticate", "Bearer")]));
        assert_eq!((&body["field"], &body["expected_minor"]), (&"note".into(), &7.into()));
        assert_eq!((&body["request_id"], &body["retryable"]), (&"r1".into(), &false.into()));
        assert_eq!(body["title"], meaning(Kind::Problem, "not_found", Language::Chinese).unwrap().what);
    }
}
