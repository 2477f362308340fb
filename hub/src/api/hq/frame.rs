//! Frame: what every answer has: the request's id, in the header and in each problem, its language, and that nobody keeps it.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use huitong_config::Language;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::Instrument as _;

use super::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a caller.
const ID_BYTES_MAX: usize = 64;

/// Gives the request an id, the caller's when it is plain, and writes it on the answer.
pub(super) async fn frame(State(default): State<Language>, request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
        })
        .map_or_else(make, str::to_owned);
    let accepted = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let language = accepted.and_then(Language::accepted).unwrap_or(default);
    let span = tracing::info_span!("hq", request.id = id);
    let mut response = next.run(request).instrument(span).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = problem.render(&id, language);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

fn make() -> String {
    let mut bytes = [0; 10];
    // Without random bytes all such requests share an id, which is no reason to refuse them.
    let _ = SystemRandom::new().fill(&mut bytes);
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}
