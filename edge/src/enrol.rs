//! Enrolment: how a machine becomes a store. The one-time token proves that head office expects it; the key is made here and stays here.
//!
//! May be repeated: an answer that was lost leaves the key in place, and the hub answers the same token with the same key in the same way.
//! The answer also names the keys that sign the group's policies. It is believed because only the hub could answer to the token, so the line must be
//! one that nobody else can write on: this machine, a tunnel, TLS. `enrol` prints the key's name, and `huitong-hub policy key show` the same one.
//!
//! Invariant: the database names the store only after the hub did.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use huitong_protocol::wire::{Enrol, Enrolled, PROTOCOL_VERSION, path, to_msgpack};

use crate::identity::{KeyError, StoreKey};
use crate::store::identity::{self, Identity};
use crate::store::{Store, StoreError, WriteTx, member, policy};
use crate::sync::hub_client::{HttpPost, HubClient, HubDown};
use crate::sync::session::{CallError, MSGPACK, unpack};

/// How long the hub may take: it writes a row.
const ENROL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a store was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There is no key to enrol with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The hub gave no answer, or refused. It is safe to try again.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What the hub said could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Enrols the store that lives in this data directory, and gives what head office calls it.
///
/// # Errors
/// [`EnrolError`]; it is safe to try again with the same token.
pub async fn enrol(
    store: &Store,
    data_dir: &std::path::Path,
    hub: &Arc<dyn HubClient>,
    token: &str,
) -> Result<Enrolled, EnrolError> {
    let key = StoreKey::open_or_make(data_dir)?;
    let message = Enrol { protocol: PROTOCOL_VERSION, token: token.to_owned(), public_key: key.public_key() };
    let request = HttpPost {
        path: path::ENROL,
        headers: vec![(MSGPACK.0, MSGPACK.1.to_owned())],
        body: Bytes::from(to_msgpack(&message)),
    };
    let reply = tokio::time::timeout(ENROL_TIMEOUT, hub.post(request))
        .await
        .unwrap_or(Err(HubDown::Silent { timeout_ms: ENROL_TIMEOUT.as_millis() }))
        .map_err(CallError::Down)?;
    let enrolled: Enrolled = unpack(path::ENROL, reply)?;
    let named = Identity::new(enrolled.group, enrolled.epoch, enrolled.store.clone())?;
    let (keys, member_keys) = (enrolled.policy_keys.clone(), enrolled.member_keys.clone());
    let keep = move |tx: &mut WriteTx<'_>| {
        identity::put(tx, named)?;
        policy::pin(tx, &keys)?;
        member::put_keys(tx, &member_keys)
    };
    store.write(keep).await?;
    Ok(enrolled)
}
