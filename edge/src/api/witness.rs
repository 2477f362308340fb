//! Witness: tills carry the highest position that they have seen of this store back to it. A journal that does not contain it is not the one that
//! answered them: a restored backup, a clone, a lost disk. Then no value moves any more, and people are told; the request itself is served, as cash
//! still buys goods.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use huitong_protocol::till::{Fault, WITNESS, WITNESS_NONE, Witness};
use huitong_protocol::time::Instant;

use super::{Api, Problem, Till};
use crate::continuity::Prover;

/// Puts the witness of what is committed onto an answer. Every answer is given after its commit, so that the witness covers it.
pub(super) async fn attach(State(api): State<Api>, mut response: Response) -> Response {
    let committed = api.store().committed();
    if let Some(witness) = committed.witness().and_then(|text| HeaderValue::from_maybe_shared(text.clone()).ok()) {
        response.headers_mut().insert(HeaderName::from_static(WITNESS), witness);
    }
    response
}

/// Takes what a till shows. One that shows nothing has neither proved nor broken anything.
pub(super) async fn take(api: &Api, now: Instant, till: &Till, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(WITNESS) else { return Ok(()) };
    let text = value.to_str().map_err(|_| Problem::field(Fault::new(WITNESS, "is not text")))?;
    let (keeper, prover) = (api.store().continuity(), Prover::Till(till.terminal));
    if text == WITNESS_NONE {
        keeper.proved(prover);
        return Ok(());
    }
    let witness: Witness = text.parse().map_err(Problem::field)?;
    let who = format!("till {}", till.terminal);
    Ok(keeper.shown(api.store(), prover, &witness, now, &who).await?)
}
