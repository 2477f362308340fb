//! Enrolment: a one-time token becomes a device with a key made at the store. An epoch is minted here and nowhere else.
//!
//! Invariant: a token makes at most one epoch, and only the one after that which there was when it was made; asking again with the same key, after a lost
//! answer, gives the same answer. The epoch before is fenced in the same transaction.

use huitong_protocol::id::Epoch;
use huitong_protocol::member::MemberKeys;
use huitong_protocol::organisation::Store;
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{Enrol, Enrolled, PROTOCOL_VERSION, SyncFault};
use ring::signature::ED25519_PUBLIC_KEY_LEN;

use crate::refusal::Refusal;
use crate::stops::Stopped;
use crate::store::{Tx, device, organisation, phone_key, policy, root, sealing_key, tenure};
use crate::{actor, fence};

/// Whether the hub serves a protocol version: its own minor version and the one before.
///
/// # Errors
/// [`SyncFault::Version`].
pub fn check_version(protocol: (u16, u16)) -> Result<(), Refusal> {
    let (major, minor) = PROTOCOL_VERSION;
    if protocol.0 == major && (protocol.1 == minor || protocol.1.checked_add(1) == Some(minor)) {
        return Ok(());
    }
    let words = format!(
        "the store speaks protocol {}.{}, the hub {major}.{minor}; update the older of the two",
        protocol.0, protocol.1
    );
    Err(Refusal::new(SyncFault::Version, words))
}

/// Whether an enrolment may be made, or was made and is asked for again. Changes nothing.
///
/// # Errors
/// [`SyncFault::Token`], [`SyncFault::Malformed`], [`SyncFault::Version`]; [`SyncFault::Forgotten`] while a restored hub waits for the epoch before.
pub fn check(tx: &mut Tx<'_>, request: &Enrol, now: Instant) -> Result<Checked, Refusal> {
    check_version(request.protocol)?;
    if request.public_key.len() != ED25519_PUBLIC_KEY_LEN {
        return Err(Refusal::malformed(format!(
            "public_key: has {} bytes; an Ed25519 key has 32",
            request.public_key.len()
        )));
    }
    let token = device::token(tx, &request.token)?.ok_or_else(|| refused("the enrolment token is not known"))?;
    let store = organisation::store(tx, token.store)?.ok_or_else(|| refused("the token's store does not exist"))?;
    let last = tenure::last(tx, token.store)?;
    let at = tenure::standpoint(tx, token.store, last)?;
    let enrolled = match device::find(tx, token.store)? {
        Some(device) if token.used && device.public_key == request.public_key => Some(device.epoch),
        _ if token.used => return Err(refused("the enrolment token was used before")),
        _ if token.expires_at_ms < now => return Err(refused("the enrolment token is out of date")),
        // Who has found an old token must not end the epoch that came after it.
        _ if token.after != last => {
            return Err(refused("the store was enrolled again since the enrolment token was made"));
        }
        // What the epoch was granted that this database has forgotten a person has to answer for; a technician with a token does not.
        _ if at.is_some_and(|at| at.is_waited_for) => {
            let words = format!(
                "head office was restored from a backup and waits to hear epoch {last} of store {0}; let that machine come online, or have the epoch ended \
                 first: huitong-hub store fence {0} --note TEXT",
                token.store
            );
            return Err(Refusal::new(SyncFault::Forgotten, words));
        }
        // The number of the new epoch may have been given before, to another key.
        _ if root::must_recover(tx)?.is_some() => {
            let words = "head office was restored from a backup and has forgotten what it told its stores; run huitong-hub recover there first";
            return Err(Refusal::new(SyncFault::Forgotten, words));
        }
        _ => None,
    };
    Ok(Checked { store, enrolled })
}

/// An enrolment that may be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The store.
    pub store: Store,
    /// The epoch, when it was made already.
    pub enrolled: Option<Epoch>,
}

fn refused(words: &str) -> Refusal {
    Refusal::new(SyncFault::Token, format!("{words}; make a new one with `huitong-hub store enrol-token`"))
}

/// Enrols a store. Gives what became of cards as well, of which other stores must hear at once: the epoch before ends.
///
/// # Errors
/// As [`check`]; nothing is changed then.
pub fn enrol(tx: &mut Tx<'_>, request: &Enrol, now: Instant) -> Result<(Enrolled, Stopped), Refusal> {
    let Checked { store, enrolled } = check(tx, request, now)?;
    let mut stopped = Stopped::default();
    let epoch = match enrolled {
        Some(epoch) => epoch,
        None => {
            if !device::use_token(tx, &request.token, now)? {
                return Err(refused("the enrolment token was used before"));
            }
            if let Some(before) = tenure::living(tx, store.id)? {
                let note = (actor::HUB, "the store was enrolled again");
                stopped = fence::end(tx, store.id, before, note, now)?.unwrap_or_default();
            }
            device::enrol(tx, store.id, &request.public_key, now)?
        }
    };
    let member_keys = MemberKeys { phone: phone_key::get(tx)?, sealing: sealing_key::get(tx)?.public() };
    let (group, policy_keys) = (root::hub(tx)?.group, policy::keys(tx)?);
    Ok((Enrolled { group, store, epoch, policy_keys, member_keys }, stopped))
}
