//! Policies as they were published. Publishing needs the signing key, which is not the API's.

use axum::response::Response;

use super::caller::Asked;
use super::numbered::Numbered;
use super::page::{Listing, Plain};
use super::problem::{Code, Problem};
use crate::actor::Permission;
use crate::publish;
use crate::store::{Tx, policy};

pub(super) async fn list(listing: Listing, Asked(asked): Asked<Plain>) -> Result<Response, Problem> {
    let part = listing.allow_plain(Permission::Read, asked)?;
    part.page(|tx, after, limit| publish::policies(tx, after.unwrap_or(0), limit), |policy| policy.version).await
}

pub(super) async fn show(policy: Numbered) -> Result<Response, Problem> {
    let read = |tx: &mut Tx<'_>, no: i64| {
        let version = no.unsigned_abs();
        let kept = policy::find(tx, version)?;
        let kept = kept.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no policy {version}")))?;
        Ok::<_, Problem>(publish::shown(&kept))
    };
    policy.look(Permission::Read, read).await
}
