//! `huitong-hub policy key`.

use clap::Subcommand;
use huitong_protocol::bundle::PolicyKey;
use serde_json::json;

use super::output::table;
use super::{Failure, Output, Place};
use crate::policy_key::PolicyPair;
use crate::store::policy;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Show the keys that sign and signed, to compare with what a store says at its enrolment and in its status.
    Show,
    /// Make a new key, announced to all stores with the old one's signature. The old one is gone afterwards.
    Rotate,
}

impl KeyCommand {
    pub(super) fn run(self, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let store = place.open()?;
        let ran = match self {
            Self::Show => store.read_blocking(policy::keys).map_err(Failure::from),
            Self::Rotate => {
                let rotate = || {
                    let key_file = place.load()?.value.policy_key_file();
                    Ok(vec![PolicyPair::open_trusted(&store, &key_file)?.rotate(&store)?])
                };
                rotate()
            }
        };
        store.close();
        show(&ran?, out)
    }
}

fn show(keys: &[PolicyKey], out: &mut Output<'_>) -> Result<(), Failure> {
    let hex = |key: &PolicyKey| data_encoding::HEXLOWER.encode(&key.public_key);
    let value: Vec<_> = keys
        .iter()
        .map(|key| json!({ "key": key.id(), "from_version": key.from_version, "public_key": hex(key) }))
        .collect();
    out.show(&value, |text| {
        let rows: Vec<Vec<String>> =
            keys.iter().map(|key| vec![key.id().to_string(), key.from_version.to_string(), hex(key)]).collect();
        table(text, &["key", ">from version", "public key"], &rows)
    })?;
    Ok(())
}
