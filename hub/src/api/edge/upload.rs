//! Upload: a segment of the store's journal, answered when it is on disk.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{Answer, Request, Segment, SyncFault, Uploaded, path};

use super::{Body, answer, serve_proved, undelivered};
use crate::hub::Hub;
use crate::ingest;
use crate::inspect::Place;
use crate::refusal::Refusal;
use crate::report::{self, Taken};
use crate::session::Caller;

pub(in crate::api) async fn upload(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    serve_proved(&hub, path::UPLOAD, &headers, body, |caller, request| serve(&hub, caller, request)).await
}

async fn serve(hub: &Hub, caller: Caller, request: Request<Segment>) -> Result<Answer<Uploaded>, Refusal> {
    let segment = request.body;
    // A journal of an epoch before this one may still be brought in; one that was never minted may not.
    if segment.epoch > caller.epoch || segment.epoch.0 == 0 {
        let words = format!("body.epoch: is {}, the store is enrolled with {}", segment.epoch, caller.epoch);
        return Err(Refusal::new(SyncFault::Foreign, words));
    }
    let place = Place { group: hub.root.group, currency: hub.root.currency, store: caller.store, epoch: segment.epoch };
    // Hashing and unpacking some megabytes takes long enough to get out of the way of others.
    let (segment, unpacked) = tokio::task::spawn_blocking(move || {
        let unpacked = ingest::unpack(&place, &segment);
        (segment, unpacked)
    })
    .await
    .map_err(|_| Refusal::new(SyncFault::Internal, "the hub met a fault of its own; its log says which"))?;
    let unpacked = unpacked.map_err(Refusal::malformed)?;
    let ahead = match unpacked.has_seal() {
        true => hub.store.read(move |tx| ingest::count_ahead(tx, &place)).await?,
        false => ingest::CountedAhead::default(),
    };
    let work = Arc::new((request.report, segment, unpacked, ahead));
    let (shared, now) = (hub.clone(), hub.now());
    let (mut reported, grants, mut taken) = hub
        .store
        .write(move |tx| {
            let (report, segment, unpacked, ahead) = &*work;
            let reported = match report {
                Some(report) => report::take(tx, &shared.root, caller, report, now)?,
                None => report::admit(tx, caller).map(|_| Taken::default())?,
            };
            let grants = undelivered(tx, caller, &reported.accounts)?;
            let taken = ingest::take(tx, &place, segment, unpacked, ahead, now)?;
            Ok::<_, Refusal>((reported, grants, taken))
        })
        .await?;
    if let ingest::Taken::Uploaded { stopped, .. } = &mut taken {
        reported.stopped.join(std::mem::take(stopped));
    }
    hub.announce(&reported);
    match taken {
        ingest::Taken::Uploaded { uploaded, .. } => Ok(answer(hub, reported, grants, uploaded)),
        ingest::Taken::Forked(evidence) => Err(Refusal::new(SyncFault::Fork, evidence)),
        ingest::Taken::Full => {
            Err(Refusal::new(SyncFault::Busy, "too many segments wait for one that is missing; send that one first"))
        }
    }
}
