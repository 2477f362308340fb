//! Proofs about policies: what stores are given is what head office signed.

use huitong_protocol::bundle::{Signed, Trust};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::Check;
use crate::store::engine::{StoreError, Tx};
use crate::store::{policy, root};

pub(super) fn checks(tx: &mut Tx<'_>) -> Result<Vec<Check>, StoreError> {
    let mut check = Check::new("signatures", "every policy and every key is signed by the key in force before it");
    let Some(hub) = root::hub_or_none(tx)? else { return Ok(vec![check]) };
    let keys = policy::keys(tx)?;
    let trust = Trust { group: hub.group, keys: &keys };
    let verify = |key: &[u8], message: &[u8], signature: &[u8]| {
        UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
    };
    tx.for_each("SELECT version, effective_from, bundle, signature FROM policy ORDER BY version", &[], |row| {
        let version = row.integer(0)?;
        check.looked_at += 1;
        let signed = Signed { bytes: row.bytes(2)?.to_vec(), signature: row.bytes(3)?.to_vec() };
        match trust.open_policy(&signed, u64::try_from(version).unwrap_or(0), &verify) {
            Err(refused) => check.find("policy", version, refused.detail),
            Ok(bundle) => {
                check.equal("policy", &version, "version", version, i64::try_from(bundle.version).unwrap_or(i64::MAX));
                let from = bundle.effective_from.to_string();
                check.equal("policy", &version, "effective_from", row.text(1)?, from.as_str());
            }
        }
        Ok::<(), StoreError>(())
    })?;
    for key in keys.iter().skip(1) {
        check.looked_at += 1;
        let version = i64::try_from(key.from_version).unwrap_or(i64::MAX);
        let opened = policy::announcement(tx, version)?
            .map(|word| trust.open_key(&word, key.from_version, &verify).as_ref() == Ok(key));
        match opened {
            Some(true) => {}
            Some(false) => check.find("policy_key", version, "is not announced by the key before it"),
            None => check.find("policy_key", version, "was never announced"),
        }
    }
    Ok(vec![check])
}
