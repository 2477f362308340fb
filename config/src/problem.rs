//! Problem: how a request that has no answer is told, by both daemons alike (RFC 9457). Which codes there are, and what becomes one, is each daemon's own.
//!
//! Invariant: `code` is stable and says what to act on, `detail` says it in words, and nothing of either comes from inside the program.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The form of a problem.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form<'a> {
    /// What a program may act on.
    pub code: &'a str,
    /// The status.
    pub status: StatusCode,
    /// What the code means, the same for all problems of it.
    pub title: &'a str,
    /// What is wrong here and what to do.
    pub detail: &'a str,
    /// The field or parameter that is not right.
    pub field: Option<&'a str>,
    /// Whether the same request may be sent again in a moment.
    pub retryable: bool,
    /// How who asks can say who it is, when that is what is missing.
    pub challenge: Option<&'static str>,
    /// Under which the daemon's log has more.
    pub request_id: Option<&'a str>,
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
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl IntoResponse for Form<'_> {
    fn into_response(self) -> Response {
        let Self { code, status, title, detail, field, retryable, challenge, request_id } = self;
        let r#type = format!("urn:huitong:problem:{code}");
        let body = Body { r#type, title, status: status.as_u16(), code, detail, field, retryable, request_id };
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

    const FORM: Form<'_> = Form {
        code: "busy",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "Too much at once",
        detail: "send it again",
        field: None,
        retryable: true,
        challenge: None,
        request_id: None,
    };

    async fn told(form: Form<'_>) -> (Vec<(String, String)>, String) {
        let response = form.into_response();
        let headers = response.headers().iter();
        let mut headers: Vec<(String, String)> =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        headers.sort();
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        (headers, String::from_utf8(body.to_vec()).unwrap())
    }

    fn is(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[tokio::test]
    async fn what_is_not_said_is_left_out_and_who_may_ask_again_is_told_when() {
        let (headers, body) = told(FORM).await;
        assert_eq!(headers, is(&[("content-type", "application/problem+json"), ("retry-after", "1")]));
        assert_eq!(
            body,
            "{\"type\":\"urn:huitong:problem:busy\",\"title\":\"Too much at once\",\"status\":503,\"code\":\"busy\",\
             \"detail\":\"send it again\",\"retryable\":true}"
        );
        let form = Form {
            retryable: false,
            field: Some("note"),
            challenge: Some("Bearer"),
            request_id: Some("r1"),
            status: StatusCode::UNAUTHORIZED,
            ..FORM
        };
        let (headers, body) = told(form).await;
        assert_eq!(headers, is(&[("content-type", "application/problem+json"), ("www-authenticate", "Bearer")]));
        assert!(body.ends_with("\"field\":\"note\",\"retryable\":false,\"request_id\":\"r1\"}"), "{body}");
    }
}
