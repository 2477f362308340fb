//! Page: lists by cursor. A cursor names the last row that was given, so that rows which come in between neither repeat nor hide others.
//!
//! What only grows (exceptions, runs, policies, the audit) is asked of the database page by page. Stores, and days that are computed anyway, are read whole
//! and cut by [`rest`].

use std::str::FromStr;

use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;

use super::answer;
use super::problem::Problem;

/// Rows of a page when nobody says how many.
const LIMIT: usize = 50;
/// The most rows of a page.
const LIMIT_MAX: usize = 200;

/// How many rows are asked for.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(LIMIT);
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::field("limit", format_args!("is {limit}; 1 to {LIMIT_MAX} rows are allowed")))
}

/// The key of the last row that was given.
pub(super) fn after<K: FromStr>(cursor: Option<&str>) -> Result<Option<K>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let key = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok().and_then(|key| String::from_utf8(key).ok());
    let key = key.and_then(|key| key.parse().ok());
    key.map(Some)
        .ok_or_else(|| Problem::field("cursor", "is none of this list; send `next` of the page before as it is"))
}

/// A page as it is answered.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(super) struct Page<T> {
    /// The rows.
    items: Vec<T>,
    /// What to send as `cursor` for the page after this; null on the last.
    next: Option<String>,
}

/// A page of rows, of which one more than the limit may be given to say that there are more.
pub(super) fn page<T: Serialize>(
    uri: &Uri,
    mut rows: Vec<T>,
    limit: usize,
    key: impl Fn(&T) -> String,
) -> Result<Response, Problem> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| BASE64URL_NOPAD.encode(key(row).as_bytes()));
    let mut response = answer::json(&Page { items: rows, next: next.clone() })?;
    if let Some(next) = next {
        let others = uri.query().unwrap_or_default().split('&');
        let others: String = others
            .filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="))
            .map(|pair| format!("{pair}&"))
            .collect();
        let link = format!("<{}?{others}cursor={next}>; rel=\"next\"", uri.path());
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}

/// The rows after a key, of a list that is short enough to be read whole; one more than the limit.
pub(super) fn rest<T, K: PartialOrd>(rows: Vec<T>, after: Option<&K>, limit: usize, key: impl Fn(&T) -> K) -> Vec<T> {
    rows.into_iter().filter(|row| after.is_none_or(|after| key(row) > *after)).take(limit + 1).collect()
}
