//! Makes a hub out of an empty database: its group and currency, once and for ever, and the keys that it lives by.

use huitong_protocol::bundle::PolicyKey;
use huitong_protocol::id::GroupId;
use huitong_protocol::member::PhoneKey;
use huitong_protocol::money::Currency;

use crate::sealing::SealingPair;
use crate::store::engine::{Store, StoreError};
use crate::store::root::{self, Hub};
use crate::store::{phone_key, policy, sealing_key};

/// Why a hub was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It is there already, as something else.
    #[error("this database already belongs to group {} in {}; a hub never changes its group or currency\n  hint: name another --data folder for another group", .0.group, .0.currency)]
    Other(Hub),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the hub; doing it again with the same words changes nothing, and keeps the keys of the first time. Gives whether it was made now.
/// `policy_key` is the public half of the pair that signs policies; `phone_key` and `sealing` are random and come from outside.
///
/// # Errors
/// [`InitError`].
pub fn init(
    store: &Store,
    group: GroupId,
    currency: Currency,
    policy_key: Vec<u8>,
    phone_key: PhoneKey,
    sealing: SealingPair,
) -> Result<bool, InitError> {
    store.write_blocking(move |tx| match root::hub_or_none(tx)? {
        None => {
            root::insert(tx, group, currency)?;
            policy::put_key(tx, &PolicyKey { from_version: 0, public_key: policy_key.clone() }, None)?;
            phone_key::insert(tx, &phone_key)?;
            sealing_key::insert(tx, &sealing)?;
            Ok(true)
        }
        Some(hub) if hub.group == group && hub.currency == currency => Ok(false),
        Some(hub) => Err(InitError::Other(hub)),
    })
}
