//! `huitong-hub init | config`.

use std::path::Path;

use clap::{Args, Subcommand};
use huitong_protocol::bundle::KeyId;
use huitong_protocol::id::GroupId;
use huitong_protocol::member::PhoneKey;
use huitong_protocol::money::Currency;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::{Failure, Output, Place, READERS};
use crate::init;
use crate::policy_key::PolicyPair;
use crate::sealing::SealingPair;
use crate::store::engine::Store;
use crate::store::{policy, root};

/// Makes the hub's database and tells it its group.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The code of the retail group.
    #[arg(long)]
    group: GroupId,
    /// The currency that the group settles in (ISO 4217).
    #[arg(long)]
    currency: Currency,
}

impl Init {
    pub(crate) fn run(self, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let database = place.database()?;
        let folder = database.parent().unwrap_or_else(|| Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::Failed(
                anyhow::Error::new(error).context(format!("could not make the folder {}", folder.display())),
            )
        })?;
        let key_file = place.load()?.value.policy_key_file();
        let phone_key = make_phone_key()?;
        let store = Store::open(&database, READERS)?;
        let made = self.make(&store, &key_file, phone_key);
        store.close();
        let (made, key) = made?;
        let answer = json!({
            "group": self.group, "currency": self.currency, "database": database, "made": made,
            "policy_key": key, "policy_key_file": key_file,
        });
        out.show(&answer, |text| {
            let what = if made { "Made" } else { "Already there:" };
            writeln!(text, "{what} the hub of group {} in {} at {}", self.group, self.currency, database.display())?;
            writeln!(text, "Policies are signed with key {key} in {}; keep a copy apart", key_file.display())
        })?;
        Ok(())
    }
}

impl Init {
    /// Gives whether it was made now, and the key that signs its policies. A hub that is there keeps its keys, whatever the file holds.
    fn make(&self, store: &Store, key_file: &Path, phone_key: PhoneKey) -> Result<(bool, KeyId), Failure> {
        let known = store.read_blocking(root::hub_or_none)?.is_some();
        let public_key = if known {
            store.read_blocking(policy::current_key)?.public_key
        } else {
            PolicyPair::open_or_make(key_file)?.public_key()
        };
        let key = KeyId::of(&public_key);
        let sealing = SealingPair::generate();
        Ok((init::init(store, self.group, self.currency, public_key, phone_key, sealing)?, key))
    }
}

fn make_phone_key() -> Result<PhoneKey, Failure> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::Failed(anyhow::anyhow!("the operating system gave no random bytes")))?;
    Ok(PhoneKey::new(bytes))
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration.
    Check,
    /// Print every key and its value.
    Print {
        /// And where the value came from.
        #[arg(long)]
        origin: bool,
    },
}

impl ConfigCommand {
    pub(crate) fn run(self, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let loaded = place.load()?;
        match self {
            Self::Check => out.show(&json!({ "faults": [] }), |text| writeln!(text, "no faults"))?,
            Self::Print { origin: true } => {
                out.show(&loaded.origins_json(), |text| text.write_all(loaded.origins_text().as_bytes()))?
            }
            Self::Print { origin: false } => {
                // As a file, to be kept and read again.
                let file = huitong_config::file_text(&loaded.value).map_err(Failure::Config)?;
                out.show(&loaded.value, |text| text.write_all(file.as_bytes()))?;
            }
        }
        Ok(())
    }
}
