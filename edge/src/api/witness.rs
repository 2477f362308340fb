//! Witness: tills carry the highest position that they have seen of this store back to it. A journal that does not contain it is not the one that
//! answered them: a restored backup, a clone, a lost disk. Then no value moves, and people are told.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use huitong_protocol::till::{Fault, WITNESS, Witness};
use huitong_protocol::time::Instant;

use super::{Api, Code, Problem, Till};
use crate::store::{StoreError, journal, setting};

/// Puts the witness of what is committed onto an answer. Every answer is given after its commit, so that the witness covers it.
pub(super) async fn attach(State(api): State<Api>, mut response: Response) -> Response {
    let committed = api.store().committed();
    if let Some(witness) = committed.witness().and_then(|text| HeaderValue::from_maybe_shared(text.clone()).ok()) {
        response.headers_mut().insert(HeaderName::from_static(WITNESS), witness);
    }
    response
}

/// Refuses a request whose witness this journal does not contain, and raises the alarm.
pub(super) async fn check(api: &Api, now: Instant, till: &Till, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(WITNESS) else { return Ok(()) };
    let text = value.to_str().map_err(|_| Problem::field(Fault::new(WITNESS, "is not text")))?;
    let witness: Witness = text.parse().map_err(Problem::field)?;
    if holds(api, witness)? {
        return Ok(());
    }
    tracing::error!(
        terminal = %till.terminal,
        witness = %witness,
        head.seq = api.store().head().seq.0,
        "Till {} has seen what this journal does not contain: was an old copy of the database put back?",
        till.terminal
    );
    let note = format!(
        "till {} showed {witness} at {now}, which this journal does not contain; was an old copy of the database put back?",
        till.terminal
    );
    api.store()
        .write(move |tx| {
            // The first alarm stays: it is nearest to the cause, and a till that repeats itself writes nothing.
            match setting::get(tx, setting::WITNESS_ALARM)? {
                Some(_) => Ok::<_, StoreError>(()),
                None => setting::put(tx, setting::WITNESS_ALARM, &note),
            }
        })
        .await?;
    Err(Problem::new(
        Code::WitnessUnknown,
        "nothing is done for this till until head office has looked at this store's database",
    ))
}

fn holds(api: &Api, witness: Witness) -> Result<bool, StoreError> {
    let committed = api.store().committed();
    let Some(identity) = &committed.identity else { return Ok(false) };
    // Only head office mints epochs, so a higher one says that this database is an old copy; a lower one is from before and cannot be compared.
    if witness.epoch != identity.epoch {
        return Ok(witness.epoch < identity.epoch);
    }
    if witness.head.seq >= committed.head.seq {
        return Ok(witness.head == committed.head);
    }
    api.store().read(|tx| journal::contains(tx, witness.head))
}
