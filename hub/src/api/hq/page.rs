//! Page: lists by cursor. A cursor names the last row that was given, so that rows which come in between neither repeat nor hide others.
//!
//! What only grows (exceptions, runs, policies, the audit) is asked of the database page by page. Stores, and days that are computed anyway, are read whole
//! and cut by [`rest`].

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::answer;
use super::caller::Caller;
use super::problem::Problem;
use crate::actor::Permission;
use crate::hub::Hub;
use crate::store::{StoreError, Tx};

/// Rows of a page when nobody says how many.
const LIMIT: usize = 50;
/// The most rows of a page.
const LIMIT_MAX: usize = 200;

/// The query of a list that is always given whole.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Plain {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// A request for a list.
pub(super) struct Listing {
    hub: Hub,
    uri: Uri,
    caller: Caller,
}

impl FromRequestParts<Hub> for Listing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, Problem> {
        let Ok(OriginalUri(uri)) = OriginalUri::from_request_parts(parts, hub).await;
        Ok(Self { hub: hub.clone(), uri, caller: Caller::from_request_parts(parts, hub).await? })
    }
}

impl Listing {
    /// The part of the list that is asked for, when whoever asks may see it.
    pub(super) fn allow<K: FromStr>(
        self,
        permission: Permission,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<Part<K>, Problem> {
        let Self { hub, uri, caller } = self;
        caller.allow(permission)?;
        let limit = limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::field("limit", format_args!("is {limit}; 1 to {LIMIT_MAX} rows are allowed")));
        }
        Ok(Part { hub, uri, after: cursor.as_deref().map(key).transpose()?, limit })
    }

    /// As [`Listing::allow`], of a list that is always given whole.
    pub(super) fn allow_plain<K: FromStr>(self, permission: Permission, asked: Plain) -> Result<Part<K>, Problem> {
        self.allow(permission, asked.cursor, asked.limit)
    }
}

/// The key in a cursor.
fn key<K: FromStr>(cursor: &str) -> Result<K, Problem> {
    let key = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok().and_then(|key| String::from_utf8(key).ok());
    let key = key.and_then(|key| key.parse().ok());
    key.ok_or_else(|| Problem::field("cursor", "is none of this list; send `next` of the page before as it is"))
}

/// The part of a list that is asked for.
pub(super) struct Part<K> {
    /// Who has the list.
    pub(super) hub: Hub,
    uri: Uri,
    /// The key of the last row that was given.
    after: Option<K>,
    limit: usize,
}

impl<K: Display + Send + 'static> Part<K> {
    /// The page. The rows are read after a key, so many at most as is said: one more than are given, to know whether there are more.
    pub(super) async fn page<T, E>(
        self,
        read: impl FnOnce(&mut Tx<'_>, Option<K>, usize) -> Result<Vec<T>, E> + Send + 'static,
        key: impl Fn(&T) -> K,
    ) -> Result<Response, Problem>
    where
        T: Serialize + Send + 'static,
        E: From<StoreError> + Into<Problem> + Send + 'static,
    {
        let Self { hub, uri, after, limit } = self;
        let mut rows = hub.store.read(move |tx| read(tx, after, limit + 1)).await.map_err(Into::into)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| BASE64URL_NOPAD.encode(key(row).to_string().as_bytes()));
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

/// The rows after a key, so many at most, of a list that is short enough to be read whole.
pub(super) fn rest<T, K: PartialOrd>(rows: Vec<T>, after: Option<&K>, limit: usize, key: impl Fn(&T) -> K) -> Vec<T> {
    rows.into_iter().filter(|row| after.is_none_or(|after| key(row) > *after)).take(limit).collect()
}
