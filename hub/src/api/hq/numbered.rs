//! Numbered: what has a number in its path, to be looked at or decided about.
//!
//! What may be done is asked first, then the number is read, so that who may not look learns nothing. Each decision says what should be so; the same again
//! changes nothing. Invariant: the clock is read here, before the transaction that may run again.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use huitong_protocol::time::Instant;
use serde::Serialize;

use super::answer;
use super::caller::Caller;
use super::problem::Problem;
use crate::actor::{Actor, Permission};
use crate::hub::Hub;
use crate::store::{StoreError, Tx};

/// Reads the number in a path.
pub(super) fn number(text: &str) -> Result<i64, Problem> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Problem::field("number", "is a whole number from 1"))
}

/// A request about something that has a number.
pub(super) struct Numbered {
    hub: Hub,
    number: String,
    caller: Caller,
}

impl FromRequestParts<Hub> for Numbered {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, Response> {
        let path = Path::from_request_parts(parts, hub).await;
        let Path(number) = path.map_err(IntoResponse::into_response)?;
        let caller = Caller::from_request_parts(parts, hub).await.map_err(IntoResponse::into_response)?;
        Ok(Self { hub: hub.clone(), number, caller })
    }
}

impl Numbered {
    /// Reads what it is and gives it.
    pub(super) async fn read<T, E>(
        self,
        permission: Permission,
        read: impl FnOnce(&mut Tx<'_>, i64) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: From<StoreError> + Into<Problem> + Send + 'static,
    {
        self.caller.allow(permission)?;
        let number = number(&self.number)?;
        self.hub.store.read(move |tx| read(tx, number)).await.map_err(Into::into)
    }

    /// As [`Numbered::read`], answered.
    pub(super) async fn look<T, E>(
        self,
        permission: Permission,
        read: impl FnOnce(&mut Tx<'_>, i64) -> Result<T, E> + Send + 'static,
    ) -> Result<Response, Problem>
    where
        T: Serialize + Send + 'static,
        E: From<StoreError> + Into<Problem> + Send + 'static,
    {
        answer::json(&self.read(permission, read).await?)
    }

    /// Decides about it, in the name of whoever asks, and gives what came of it.
    pub(super) async fn write<T, E>(
        self,
        permission: Permission,
        write: impl Fn(&mut Tx<'_>, &Actor, i64, Instant) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: From<StoreError> + Into<Problem> + Send + 'static,
    {
        let actor = self.caller.allow(permission)?;
        let (number, now) = (number(&self.number)?, self.hub.now());
        self.hub.store.write(move |tx| write(tx, &actor, number, now)).await.map_err(Into::into)
    }

    /// As [`Numbered::write`], answered.
    pub(super) async fn decide<T, E>(
        self,
        permission: Permission,
        write: impl Fn(&mut Tx<'_>, &Actor, i64, Instant) -> Result<T, E> + Send + 'static,
    ) -> Result<Response, Problem>
    where
        T: Serialize + Send + 'static,
        E: From<StoreError> + Into<Problem> + Send + 'static,
    {
        answer::json(&self.write(permission, write).await?)
    }
}
