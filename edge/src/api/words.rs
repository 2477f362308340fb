//! Words: the language of sentences for people. Codes, fields and figures are the same in every language; sentences are chosen by the code, here, when an
//! answer leaves.
//!
//! A problem's `detail` is for whoever writes the till's program and stays as it is; its title and what to do are the reader's. The same stored answer
//! is worded anew for each reader, so that a repeated request has one effect and each till its own language.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use huitong_config::{Kind, Language, meaning};
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::till::Outcome;

use super::{Api, Code, Problem};
use crate::ledger::Decided;

/// The language that a request asks for.
fn asked(headers: &HeaderMap, default: Language) -> Language {
    let said = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    said.and_then(Language::accepted).unwrap_or(default)
}

/// Gives the request its language, and words the problem that comes of it.
pub(super) async fn speak(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let language = asked(request.headers(), api.shared.language);
    request.extensions_mut().insert(language);
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let mut worded = problem.render(language);
        // What others have put on the answer stays: the witness, the methods that a path takes.
        for (name, value) in response.headers() {
            if !worded.headers().contains_key(name) && name != header::CONTENT_LENGTH {
                worded.headers_mut().insert(name.clone(), value.clone());
            }
        }
        response = worded;
    }
    let headers = response.headers_mut();
    if !headers.contains_key(header::CONTENT_LANGUAGE) {
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    }
    response
}

/// The sentence of a refusal.
pub(super) fn sentence(code: DeclineCode, language: Language) -> String {
    let name = serde_json::to_value(code).ok();
    let said = name.as_ref().and_then(|name| meaning(Kind::Decline, name.as_str()?, language));
    said.map_or_else(|| code.message().to_owned(), |said| said.what)
}

/// A stored answer in a language.
pub(super) fn worded(decided: Decided, language: Language) -> Result<Bytes, Problem> {
    let json = match decided {
        Decided::Approved(json) => return Ok(json),
        Decided::Declined(json) => json,
    };
    let unreadable = |error: serde_json::Error| {
        tracing::error!(error = &error as &dyn std::error::Error, "A stored answer cannot be read");
        Problem::new(Code::Internal, "the log has the reason; the operation was declined, and nothing moved")
    };
    let mut outcome: Outcome = serde_json::from_slice(&json).map_err(unreadable)?;
    if let Outcome::Declined { message, decline, .. } = &mut outcome {
        *message = sentence(decline.code, language);
        if decline.awaits_hub || !decline.awaited_tills.is_empty() {
            let (begin, between, end, hub) = match language {
                Language::English => (" (still awaited: ", ", ", ")", "head office"),
                Language::Chinese => ("（尚待：", "、", "）", "总部"),
            };
            let mut awaited: Vec<String> = decline.awaited_tills.iter().map(ToString::to_string).collect();
            awaited.extend(decline.awaits_hub.then(|| hub.to_owned()));
            *message = format!("{message}{begin}{}{end}", awaited.join(between));
        }
    }
    serde_json::to_vec(&outcome).map(Bytes::from).map_err(unreadable)
}
