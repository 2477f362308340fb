//! Enrolment: a one-time token becomes a device with a key made at the store. An epoch is minted here and nowhere else.
//!
//! Invariant: a token makes at most one epoch; asking again with the same key, after a lost answer, gives the same answer.

use huitong_protocol::time::Instant;
use huitong_protocol::wire::{Enrol, Enrolled, PROTOCOL_VERSION, SyncFault};
use ring::signature::ED25519_PUBLIC_KEY_LEN;

use crate::refusal::Refusal;
use crate::store::{Tx, device, organisation, root};

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

/// Enrols a store.
///
/// # Errors
/// [`SyncFault::Token`], [`SyncFault::Malformed`], [`SyncFault::Version`]; nothing is changed then.
pub fn enrol(tx: &mut Tx<'_>, request: &Enrol, now: Instant) -> Result<Enrolled, Refusal> {
    check_version(request.protocol)?;
    if request.public_key.len() != ED25519_PUBLIC_KEY_LEN {
        return Err(Refusal::malformed(format!(
            "public_key: has {} bytes; an Ed25519 key has 32",
            request.public_key.len()
        )));
    }
    let refused = |words: &str| {
        Refusal::new(SyncFault::Token, format!("{words}; make a new one with `huitong-hub store enrol-token`"))
    };
    let token = device::token(tx, &request.token)?.ok_or_else(|| refused("the enrolment token is not known"))?;
    let store = organisation::store(tx, token.store)?.ok_or_else(|| refused("the token's store does not exist"))?;
    let epoch = match device::find(tx, token.store)? {
        Some(device) if token.used && device.public_key == request.public_key => device.epoch,
        _ if token.used => return Err(refused("the enrolment token was used before")),
        _ if token.expires_at_ms < now => return Err(refused("the enrolment token is out of date")),
        _ => {
            if !device::use_token(tx, &request.token, now)? {
                return Err(refused("the enrolment token was used before"));
            }
            device::enrol(tx, token.store, &request.public_key, now)?
        }
    };
    Ok(Enrolled { group: root::hub(tx)?.group, store, epoch })
}
