//! `status`: how the store is, and how it stands with the hub.

use serde_json::Value;

use super::api_client::ApiClient;
use super::{Done, Shell, render};

pub(super) async fn execute(shell: &mut Shell<'_>) -> Done {
    let api = ApiClient::of(shell)?;
    let (mut status, sync) = (api.get("/v1/status").await?, api.get("/v1/sync").await?);
    if let (Value::Object(fields), Value::Object(sync)) = (&mut status, sync) {
        // What both say is said once. Of the reports sync knows the latest, the tills' status what is written down.
        for (name, value) in sync {
            if name == "unreported_accounts" || !fields.contains_key(&name) {
                fields.insert(name, value);
            }
        }
    }
    shell.print(&status, render::lines)
}
