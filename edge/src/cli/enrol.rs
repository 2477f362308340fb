//! `enrol`: makes this machine a store of the group.

use std::sync::Arc;

use clap::Args;
use huitong_protocol::bundle::{KeyId, PolicyKey};
use serde_json::{Value, json};

use super::{Done, Failure, Shell, render, toml_text};
use crate::config::{EdgeConfig, check};
use crate::enrol::EnrolError;
use crate::replace::{Replaced, replace_alone};
use crate::run::{EdgeError, enrol_alone, open_store};
use crate::store::policy;
use crate::sync::hub_client::{HttpHub, HubClient};
use crate::sync::session::CallError;

/// Enrols the store. Safe to repeat with the same token when the answer was lost.
#[derive(Args, Debug)]
pub(super) struct Enrol {
    /// The hub, instead of the configuration's `sync.hub_url`
    #[arg(long, value_name = "URL")]
    hub: Option<String>,
    /// The one-time token that head office gave for this store
    #[arg(long, env = "HUITONG_EDGE_TOKEN", hide_env_values = true)]
    token: String,
    /// Ends the epoch of a store that is in quarantine or was fenced and begins a new one; the daemon must stand still. Tills stay paired, and the old
    /// database and key are kept beside the new ones
    #[arg(long)]
    replace: bool,
}

impl Enrol {
    pub(super) async fn execute(self, shell: &mut Shell<'_>) -> Done {
        let mut loader = shell.loader();
        if let Some(hub) = &self.hub {
            loader = loader.flag("--hub", "sync.hub_url", toml_text(hub));
        }
        let loaded = loader.load::<EdgeConfig>()?;
        check(&loaded)?;
        let config = loaded.value;
        let hub: Arc<dyn HubClient> = Arc::new(HttpHub::new(&config.sync.hub_url)?);
        let done = if self.replace {
            replace_alone(&config, &hub, &self.token).await.map(|Replaced { identity, kept }| (identity, Some(kept)))
        } else {
            enrol_alone(&config, &hub, &self.token).await.map(|identity| (identity, None))
        };
        let (enrolled, kept) = match done {
            Ok(done) => done,
            Err(EdgeError::Replace(refused)) => return Err(Failure::Refused(refused.to_string(), None)),
            Err(EdgeError::Enrol(EnrolError::Call(CallError::Refused { fault, message }))) => {
                return Err(Failure::Refused(message, Some(json!({ "fault": fault }))));
            }
            Err(error) => return Err(error.into()),
        };
        // Compared with `huitong-hub policy key show`, it proves that the hub that answered is the group's.
        let key = policy_key(&config)?;
        let mut value =
            json!({ "group": enrolled.group, "epoch": enrolled.epoch, "policy_key": key, "store": enrolled.store });
        if let Some(kept) = kept {
            if let Some(name) = kept.file_name().filter(|_| kept.is_file()) {
                value["bring"] = json!(format!("huitong-edge journal bring {}", name.to_string_lossy()));
            }
            value["old_database"] = json!(kept);
        }
        let bring = value.get("bring").and_then(Value::as_str).map(|bring| {
            format!(
                "\nthe journal of the epoch before must still come to head office: when the store runs again, {bring}\n\
                 cash sales that a database put back from a backup took in quarantine cannot come so, as they contradict what head office has: it says so, and they \
                 are posted by hand"
            )
        });
        shell.print(&value, |value| {
            let (store, lines) = (&enrolled.store, render::lines(value));
            format!("enrolled store {} ({})\n{lines}{}", store.id, store.name, bring.unwrap_or_default())
        })
    }
}

/// The name of the key that signs the group's policies, as the store was told.
fn policy_key(config: &EdgeConfig) -> Result<Option<KeyId>, EdgeError> {
    let store = open_store(&config.data_dir, &config.store)?;
    let keys = store.read(policy::keys);
    store.close();
    Ok(keys?.last().map(PolicyKey::id))
}
