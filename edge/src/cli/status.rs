//! `status`: how the store is, and how it stands with the hub.

use serde_json::{Value, json};

use super::api_client::ApiClient;
use super::{Done, Shell, render};

pub(super) async fn execute(shell: &mut Shell<'_>) -> Done {
    let api = ApiClient::of(shell)?;
    let (mut status, sync) = (api.get("/v1/status").await?, api.get("/v1/sync").await?);
    if let Value::Object(fields) = &mut status {
        fields.insert("sync".to_owned(), sync);
    }
    shell.print(&json!(status), render::lines)
}
