//! Caller: who asks, proved by a bearer token; and how a query and a body are read.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use huitong_protocol::id::Hash;
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};
use crate::actor::{Actor, Permission, Via};
use crate::hub::Hub;
use crate::store::hq_token;

/// Who asks.
pub(super) struct Caller(Actor);

impl Caller {
    /// The name, when it may do this.
    pub(super) fn allow(self, permission: Permission) -> Result<Actor, Problem> {
        if self.0.may(permission) {
            return Ok(self.0);
        }
        Err(Problem::new(Code::Forbidden, format!("{} may not do this", self.0.name())))
    }
}

impl FromRequestParts<Hub> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, Problem> {
        // Unknown, revoked and expired are one answer: it helps nobody but a guesser to tell them apart.
        let refused = || {
            let words = "send `Authorization: Bearer TOKEN` with a token of `huitong-hub token create NAME`";
            Problem::new(Code::Unauthorized, words)
        };
        let hash = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Hash::of(token.trim().as_bytes()))
            .ok_or_else(refused)?;
        let now = hub.now();
        let token = hub.store.read(move |tx| hq_token::find(tx, &hash)).await?;
        let token = token.filter(|token| token.is_good(now)).ok_or_else(refused)?;
        if token.is_use_news(now) {
            hub.note_used(hash, now);
        }
        Actor::new(&token.name, Via::Api).map(Self).map_err(|_| refused())
    }
}

/// The parameters of a query; unknown ones are refused.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Hub> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Hub) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(Problem::new(Code::Malformed, format!("query: {}", rejection.body_text()))),
        }
    }
}

/// A JSON body; unknown fields are refused.
pub(super) struct Said<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Hub> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, hub: &Hub) -> Result<Self, Problem> {
        let body: Result<Bytes, BytesRejection> = Bytes::from_request(request, hub).await;
        let body = body.map_err(|rejection| {
            let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            let code = if too_large { Code::BodyTooLarge } else { Code::Malformed };
            Problem::new(code, format!("body: {}", rejection.body_text()))
        })?;
        let mut json = serde_json::Deserializer::from_slice(&body);
        let said = serde_path_to_error::deserialize(&mut json).map_err(|fault| {
            let path = fault.path().to_string();
            match fault.inner().classify() {
                serde_json::error::Category::Data if path != "." => Problem::field(&path, fault.inner()),
                serde_json::error::Category::Data => Problem::field("body", fault.inner()),
                _ => Problem::new(Code::Malformed, format!("body: {}", fault.inner())),
            }
        })?;
        json.end().map_err(|fault| Problem::new(Code::Malformed, format!("body: {fault}")))?;
        Ok(Self(said))
    }
}
