//! Hello: the start of a session. Signed with the store's key, without a session.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::wire::{Hello, SyncFault, Welcome, from_msgpack, path};

use super::{Body, claim, whole};
use crate::api::problem::respond;
use crate::enrol::check_version;
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::session::Signed;
use crate::store::device::Device;
use crate::store::journal::Journal;
use crate::store::{StoreError, dataset, device, exception, journal};

pub(in crate::api) async fn hello(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    let outcome = serve(&hub, &headers, body).await;
    respond(&hub, path::HELLO, &headers, outcome).await
}

async fn serve(hub: &Hub, headers: &HeaderMap, body: Body) -> Result<Welcome, Refusal> {
    let body = whole(body)?;
    let claim = claim(headers)?;
    let signed = Signed { session: "", ..claim.signed(path::HELLO, &body) };
    let store = claim.store;
    let device = hub.store.read(move |tx| device::find(tx, store)).await?.ok_or_else(|| {
        Refusal::new(
            SyncFault::StoreUnknown,
            format!("store {store} is not enrolled here; enrol it with a one-time token"),
        )
    })?;
    signed.verify(&device.public_key)?;
    let is_news = hub.sessions.is_news(&signed);
    let welcome = greet(hub, device, &signed, &body, is_news).await;
    // What is repeated need not come from the store.
    welcome.map_err(|refusal| if is_news { refusal.to_a_proved_store() } else { refusal })
}

/// Greets a store whose hello is signed by it.
async fn greet(hub: &Hub, device: Device, signed: &Signed<'_>, body: &[u8], is_news: bool) -> Result<Welcome, Refusal> {
    let store = signed.store;
    let hello: Hello = from_msgpack(body).map_err(Refusal::malformed)?;
    check_version(hello.protocol)?;
    let foreign = |field: &str, found: &dyn std::fmt::Display, expected: &dyn std::fmt::Display| {
        Refusal::new(SyncFault::Foreign, format!("{field}: is {found}; here it is {expected}"))
    };
    if hello.group != hub.root.group {
        return Err(foreign("group", &hello.group, &hub.root.group));
    }
    if hello.store != store {
        return Err(foreign("store", &hello.store, &store));
    }
    if hello.epoch != device.epoch {
        return Err(foreign("epoch", &hello.epoch, &device.epoch));
    }
    let now = hub.now();
    hub.heard(store, now);
    let epoch = device.epoch;
    let read_at = tokio::time::Instant::now();
    let (held, datasets) = hub
        .store
        .read(move |tx| Ok::<_, StoreError>((journal::find(tx, store, epoch)?, dataset::versions(tx)?)))
        .await?;
    compare(hub, &hello, &held, is_news).await?;
    let session = hub.sessions.open(device, signed)?;
    hub.recalls.told(store, &datasets, read_at);
    Ok(Welcome {
        session,
        hub_incarnation: u64::try_from(hub.root.incarnation).unwrap_or(0),
        server_time_ms: now,
        journal_head: held.head,
        datasets,
    })
}

/// A store that has less than it gave before is not the one that gave it; unless its hello was on the way all the time, or somebody else repeats it.
async fn compare(hub: &Hub, hello: &Hello, held: &Journal, is_news: bool) -> Result<(), Refusal> {
    let same = hello.head.seq != held.head.seq || hello.head.hash == held.head.hash;
    if hello.head.seq >= held.head.seq && same {
        return Ok(());
    }
    let evidence = format!(
        "the store's journal ends at entry {} with hash {}, the hub holds it up to {} with {}",
        hello.head.seq, hello.head.hash, held.head.seq, held.head.hash
    );
    if !is_news {
        return Err(Refusal::new(SyncFault::Replayed, format!("an old hello: {evidence}")));
    }
    let finding = Finding {
        class: Class::StoreBehind,
        store: Some(hello.store),
        subject: format!("{}-{}", hello.store, hello.epoch),
        evidence: Evidence::from(format!(
            "the hub holds the journal up to entry {} with hash {}, and the store does not",
            held.head.seq, held.head.hash
        ))
        .when(format!("the store's ends at entry {} with hash {}", hello.head.seq, hello.head.hash)),
    };
    let now = hub.now();
    hub.store.write(move |tx| exception::raise(tx, &finding, now)).await?;
    Err(Refusal::new(SyncFault::Fork, format!("{evidence}; if the store was restored from a backup, enrol it again")))
}
