//! Enrol: a token becomes a device. Not signed by a session; the one-time token authorises it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{Enrol, Enrolled, from_msgpack, path};

use super::{Body, whole};
use crate::api::problem::respond;
use crate::enrol as rules;
use crate::hub::Hub;
use crate::refusal::Refusal;

pub(in crate::api) async fn enrol(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    let outcome = serve(&hub, body).await;
    respond(&hub, path::ENROL, &headers, outcome).await
}

async fn serve(hub: &Hub, body: Body) -> Result<Enrolled, Refusal> {
    let request: Enrol = from_msgpack(&whole(body)?).map_err(Refusal::malformed)?;
    let now = hub.now();
    // A guess is turned away by a look: it must not cost the one who writes a turn.
    let guess = Arc::new(request);
    let request = Arc::clone(&guess);
    hub.store.read(move |tx| rules::check(tx, &guess, now).map(drop)).await?;
    let (enrolled, stopped) = hub.store.write(move |tx| rules::enrol(tx, &request, now)).await?;
    hub.stopped(&stopped);
    // Before the answer: a backup that is restored later must not mint the same epoch again.
    hub.remember().await?;
    hub.sessions.minted(enrolled.store.id, enrolled.epoch);
    tracing::info!(store.id = %enrolled.store.id, epoch = enrolled.epoch.0, "Enrolled store {} with epoch {}", enrolled.store.id, enrolled.epoch);
    Ok(enrolled)
}
