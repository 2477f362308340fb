//! Witness: tills carry the highest position that they have seen of this store back to it. A journal that does not contain it is not the one that
//! answered them: a restored backup, a clone, a lost disk. Then no value moves any more, and people are told; the request itself is served, as cash
//! still buys goods.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use huitong_protocol::id::TerminalId;
use huitong_protocol::till::{Fault, StoreWitness, WITNESS, WITNESS_NONE};
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
    let StoreWitness { store, witness } = text.parse().map_err(Problem::field)?;
    let own = api.store().committed().identity.as_ref().map(|identity| identity.store.id);
    if own != Some(store) {
        let fault =
            format!("is of store {store}, which this is not; a till that is paired here anew begins with `none`");
        return Err(Problem::field(Fault::new(WITNESS, fault)));
    }
    let who = format!("till {}", till.terminal);
    Ok(keeper.shown(api.store(), prover, &witness, now, &who).await?)
}

/// Takes what a till shows whose token this store made, although the database knows of no such pairing: it may be older than the pairing. The till is
/// refused, and what it shows can prove nothing; but it can prove that something is forgotten.
pub(super) async fn take_unknown(
    api: &Api,
    now: Instant,
    terminal: TerminalId,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let text = headers.get(WITNESS).and_then(|value| value.to_str().ok());
    let shown: Option<StoreWitness> = text.and_then(|text| text.parse().ok());
    let own = api.store().committed().identity.as_ref().map(|identity| identity.store.id);
    if let Some(StoreWitness { witness, .. }) = shown.filter(|shown| Some(shown.store) == own) {
        let who = format!("till {terminal}, of whose pairing this database knows nothing,");
        api.store().continuity().seen_at(api.store(), &witness, now, &who).await?;
    }
    Ok(())
}
