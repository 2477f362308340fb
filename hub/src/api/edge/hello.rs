//! Hello: the start of a session. Signed with the store's key, without a session.
//!
//! The turn that a hello is given is on disk before it is answered. A hello may be overtaken by what its store sent before it: whether a journal has
//! forgotten anything is for the store to say, by the `heard` of the welcome.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::allotment::rule::Sound;
use huitong_protocol::id::{Epoch, Hash, StoreId};
use huitong_protocol::journal::Head;
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::tenure::{self as tenure_rules, Greeting, NotContinuous, Standing};
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{DatasetVersion, Hello, SyncFault, Welcome, from_msgpack, path};

use super::{Body, claim, whole};
use crate::api::problem::respond;
use crate::enrol::check_version;
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::session::{Arrival, Given, Signed};
use crate::stops::Stopped;
use crate::store::device::Device;
use crate::store::journal::Journal;
use crate::store::{StoreError, Tx, dataset, exception, journal, tenure};
use crate::{actor, fence, recovery, report};

pub(in crate::api) async fn hello(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    let outcome = serve(&hub, &headers, body).await;
    respond(&hub, path::HELLO, &headers, outcome).await
}

async fn serve(hub: &Hub, headers: &HeaderMap, body: Body) -> Result<Welcome, Refusal> {
    let body = whole(body)?;
    let claim = claim(headers)?;
    let signed = Signed { session: "", ..claim.signed(path::HELLO, &body) };
    let store = claim.store;
    let mut keys = hub.store.read(move |tx| tenure::keys(tx, store)).await?.into_iter();
    let newest = keys.next().ok_or_else(|| {
        Refusal::new(
            SyncFault::StoreUnknown,
            format!("store {store} is not enrolled here; enrol it with a one-time token"),
        )
    })?;
    let key = match signed.verify(&newest.public_key) {
        Ok(()) => newest,
        // An epoch that ended is told so, by the key that it had.
        Err(forged) => keys.find(|key| signed.verify(&key.public_key).is_ok()).ok_or(forged)?,
    };
    if key.standing == Standing::Fenced {
        // Its end may not have been written down outside the database: the disk was full then.
        remember_end(hub, store, key.epoch).await?;
        return Err(report::fenced(store, key.epoch).to_a_proved_store());
    }
    let device = Device { store, epoch: key.epoch, public_key: key.public_key };
    let arrival = hub.sessions.arrives(&signed);
    let welcome = greet(hub, device, &signed, &body, arrival).await;
    // What is repeated need not come from the store.
    welcome.map_err(|refusal| if arrival.is_news { refusal.to_a_proved_store() } else { refusal })
}

/// Before an epoch hears that it ended, a backup that is restored later must know it too.
async fn remember_end(hub: &Hub, store: StoreId, epoch: Epoch) -> Result<(), Refusal> {
    let is_remembered = hub.store.read(move |tx| tenure::end_is_remembered(tx, store, epoch)).await?;
    if !is_remembered {
        hub.remember().await?;
    }
    Ok(())
}

/// Greets a store whose hello is signed by it.
async fn greet(
    hub: &Hub,
    device: Device,
    signed: &Signed<'_>,
    body: &[u8],
    arrival: Arrival,
) -> Result<Welcome, Refusal> {
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
    if i64::try_from(hello.turn).is_err() {
        return Err(Refusal::malformed(format!("turn: {} is none that was ever given", hello.turn)));
    }
    let (journal, reported) = (hello.assured.journal, hello.assured.reported);
    for (field, found) in [("journal", journal), ("reported", reported)] {
        if found.seq > hello.head.seq || i64::try_from(found.seq.0).is_err() {
            let words = format!("assured.{field}.seq: is {}, after head.seq, {}", found.seq, hello.head.seq);
            return Err(Refusal::malformed(words));
        }
    }
    let now = hub.now();
    hub.heard(store, now);
    let (of, said_head) = (Hash::of(signed.signature), hello.head.seq);
    let shared = hub.clone();
    let judged = hub
        .store
        .write(move |tx| Ok::<_, Refusal>((judge(tx, (&hello, &of), arrival, now)?, shared.sessions.greeting())));
    let (greeted, greeting) = judged.await?;
    let Answered { turn, life, heard, tells_all, recovers, journal_head, datasets } = match greeted {
        Judged::Given(answered) => answered,
        Judged::Refused(refusal) => return Err(refusal),
        Judged::Ended(refusal, stopped) => {
            // Cards that only its journal had stopped.
            hub.stopped(&stopped);
            // Before the answer: a backup that is restored later must not welcome either copy again.
            hub.remember().await?;
            return Err(refusal);
        }
    };
    let given = Given { turn, life, greeting, head: said_head };
    let session = hub.sessions.open(device, given, signed)?;
    hub.recalls.told(store, &datasets);
    let hub_incarnation = u64::try_from(life).unwrap_or(0);
    Ok(Welcome {
        session,
        hub_incarnation,
        server_time_ms: now,
        journal_head,
        turn,
        heard,
        tells_all,
        recovers,
        datasets,
    })
}

/// What a store is answered.
struct Answered {
    turn: u64,
    life: i64,
    heard: Head,
    tells_all: bool,
    recovers: bool,
    journal_head: Head,
    datasets: Vec<DatasetVersion>,
}

/// What became of a hello. A refusal is one of these, since what was written because of it stays.
enum Judged {
    Given(Answered),
    Refused(Refusal),
    /// As refused, and the epoch was ended because of it; what became of cards then.
    Ended(Refusal, Stopped),
}

fn judge(
    tx: &mut Tx<'_>,
    (hello, of): (&Hello, &Hash),
    Arrival { is_news, is_repeated }: Arrival,
    now: Instant,
) -> Result<Judged, Refusal> {
    let (store, epoch) = (hello.store, hello.epoch);
    let held = journal::find(tx, store, epoch)?;
    if let Some(refusal) = behind(tx, hello, &held, is_news, now)? {
        return Ok(Judged::Refused(refusal));
    }
    let known = tenure::find(tx, store, epoch)?.zip(tenure::standpoint(tx, store, epoch)?);
    let (known, at) = known.ok_or_else(|| report::fenced(store, epoch))?;
    if at.standing == Standing::Living && held.forked {
        // Nothing more of it is heard, so that a restored hub would wait for it and not say why.
        if at.is_waited_for {
            let words =
                "its journal has forked: two copies of its database ran; end the epoch with huitong-hub store fence";
            tenure::refused(tx, store, epoch, words)?;
        }
        return Ok(Judged::Refused(report::forked(store, epoch)));
    }
    if at.standing == Standing::Living && hello.life > at.told.life {
        return forgotten(
            tx,
            hello,
            &format!("life {} of the hub has met it; this is life {}", hello.life, at.told.life),
            now,
        );
    }
    // A hub that waits has forgotten, and knows it. What another life had said is for its own time.
    if at.standing == Standing::Living && !at.is_waited_for && hello.life == at.told.life {
        let held = journal::hash_at(tx, store, epoch, hello.assured.journal.seq)?;
        if let Some(why) = tenure_rules::forgotten(&hello.assured, held, known.heard.seq) {
            return forgotten(tx, hello, &why.to_string(), now);
        }
    }
    let greeting = Greeting { epoch, turn: hello.turn, nonce: hello.turn_nonce };
    let next = match known.greet(&Sound, &greeting, at.is_waited_for) {
        Ok(next) => next,
        Err(NotContinuous::NotLiving { .. }) => return Err(report::fenced(store, epoch)),
        Err(why @ NotContinuous::Late { .. }) if !is_news => {
            return Err(Refusal::new(SyncFault::Replayed, why.to_string()));
        }
        Err(why @ NotContinuous::Late { .. }) => {
            // Who makes a new hello of an old turn is a copy of long ago. It is the one that is stopped: the network may have brought it late, after a start
            // of the hub, and the store that went on from that turn is not at fault.
            let done = "the epoch lives on, and the copy is told to stop";
            raise_copied(tx, hello, &why, done, now)?;
            let words = format!("{why}, and the store went on from there; stop this copy, and keep it");
            return Ok(Judged::Refused(Refusal::new(SyncFault::Copied, words)));
        }
        Err(why @ NotContinuous::Ahead { .. }) => return forgotten(tx, hello, &why.to_string(), now),
        Err(why @ NotContinuous::Copied { .. }) => {
            let stopped = copied(tx, hello, &why, at.is_waited_for, now)?;
            let words = format!("{why}; stop both copies, and enrol one of them again with a new token");
            let refusal = Refusal::new(SyncFault::Copied, words);
            return Ok(match stopped {
                Some(stopped) => Judged::Ended(refusal, stopped),
                None => Judged::Refused(refusal),
            });
        }
    };
    if next == known && at.hello != *of && is_repeated {
        // The store has said hello again since then, and goes on with that: no network, and nobody who recorded this, ends its session.
        let words = "an old hello: the store has said another one since";
        return Ok(Judged::Refused(Refusal::new(SyncFault::Replayed, words)));
    }
    if next != known || at.hello != *of {
        tenure::greet(tx, store, &next, of)?;
    }
    Ok(Judged::Given(Answered {
        turn: next.ratchet.turn,
        life: at.life,
        heard: next.heard,
        tells_all: at.is_waited_for,
        recovers: tenure::recovers(tx)?,
        journal_head: held.head,
        datasets: dataset::versions(tx)?,
    }))
}

/// The store proves that the hub was put back.
fn forgotten(tx: &mut Tx<'_>, hello: &Hello, why: &str, now: Instant) -> Result<Judged, Refusal> {
    let refusal = recovery::older(tx, hello.store, hello.epoch, why)?;
    if let Some(proof) = &refusal.proof {
        recovery::must_recover(tx, proof, now)?;
    }
    Ok(Judged::Refused(refusal))
}

/// Of two copies neither can be believed: the epoch ends at once. Only what a restored hub has not heard yet is a person's to answer for. Gives what
/// became of cards when it ended.
fn copied(
    tx: &mut Tx<'_>,
    hello: &Hello,
    why: &NotContinuous,
    is_waited_for: bool,
    now: Instant,
) -> Result<Option<Stopped>, StoreError> {
    let done = if is_waited_for {
        "the hub was restored and has not heard the epoch yet: `huitong-hub store fence` ends it"
    } else {
        "the epoch was ended; what it held waits in suspense"
    };
    raise_copied(tx, hello, why, done, now)?;
    if is_waited_for {
        return Ok(None);
    }
    let note = "two copies of the store's database have been running";
    let stopped = fence::end(tx, hello.store, hello.epoch, (actor::HUB, note), now)?;
    Ok(Some(stopped.unwrap_or_default()))
}

fn raise_copied(
    tx: &mut Tx<'_>,
    hello: &Hello,
    why: &NotContinuous,
    done: &str,
    now: Instant,
) -> Result<(), StoreError> {
    let (store, epoch) = (hello.store, hello.epoch);
    let finding = Finding {
        class: Class::Copied,
        store: Some(store),
        subject: format!("{store}-{epoch}"),
        evidence: Evidence::from("two copies of the store's database speak with its key".to_owned())
            .when(format!("{why}; {done}; its journal ended at entry {}", hello.head.seq)),
    };
    exception::raise(tx, &finding, now).map(drop)
}

/// A store that has less than it brought before is not the one that brought it; unless its hello was on the way all the time, or somebody else repeats it.
/// Only what is held proves that: a report may have overtaken the hello, and the store judges by `heard`.
fn behind(
    tx: &mut Tx<'_>,
    hello: &Hello,
    held: &Journal,
    is_news: bool,
    now: Instant,
) -> Result<Option<Refusal>, StoreError> {
    let same = hello.head.seq != held.head.seq || hello.head.hash == held.head.hash;
    if hello.head.seq >= held.head.seq && same {
        return Ok(None);
    }
    let evidence = format!(
        "the store's journal ends at entry {} with hash {}, the hub holds it up to {} with {}",
        hello.head.seq, hello.head.hash, held.head.seq, held.head.hash
    );
    if !is_news {
        return Ok(Some(Refusal::new(SyncFault::Replayed, format!("an old hello: {evidence}"))));
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
    exception::raise(tx, &finding, now)?;
    let words = format!("{evidence}; if the store was restored from a backup, enrol it again");
    Ok(Some(Refusal::new(SyncFault::Fork, words)))
}
