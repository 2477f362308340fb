//! Calls the running store over its own API, as the machine's local terminal: address and token are files that the daemon left in its data
//! directory, readable by its user alone.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use huitong_protocol::till::IDEMPOTENCY_KEY;
use serde_json::Value;

use super::{Failure, Shell};
use crate::clock::Clock as _;
use crate::identity::random_bytes;
use crate::run::{ADDRESS_FILE, LOCAL_TOKEN_FILE};

/// A download of everything is the longest call.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The API of the running store.
pub(super) struct ApiClient {
    client: reqwest::Client,
    base: String,
    token: String,
    operation: String,
}

impl ApiClient {
    /// Finds the running store.
    pub(super) fn of(shell: &Shell<'_>) -> Result<Self, Failure> {
        let data_dir = shell.load()?.value.data_dir;
        let read = |name: &str| {
            std::fs::read_to_string(data_dir.join(name)).map(|text| text.trim().to_owned()).with_context(|| {
                format!(
                    "no store daemon has run on {} that this user may use (no {name}); start it with: huitong-edge run",
                    data_dir.display()
                )
            })
        };
        let (address, token) = (read(ADDRESS_FILE)?, read(LOCAL_TOKEN_FILE)?);
        let mut address: std::net::SocketAddr =
            address.parse().with_context(|| format!("{ADDRESS_FILE} holds no address"))?;
        if address.ip().is_unspecified() {
            // It listens everywhere: also here.
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        let random: [u8; 10] = random_bytes()?;
        let now_ms = shell.clock.now().ms().unsigned_abs();
        let operation = uuid::Builder::from_unix_timestamp_millis(now_ms, &random).into_uuid();
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self { client, base: format!("http://{address}"), token, operation: operation.to_string() })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.answer(self.client.get(format!("{}{path}", self.base))).await
    }

    /// Posts; the idempotency key is this command's.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.answer(
            self.client.post(format!("{}{path}", self.base)).header(IDEMPOTENCY_KEY, &self.operation).json(body),
        )
        .await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let reply = request.bearer_auth(&self.token).send().await.map_err(|error| {
            if error.is_connect() {
                anyhow!("the store daemon at {} does not answer; start it with: huitong-edge run", self.base)
            } else {
                broke_off(error)
            }
        })?;
        let status = reply.status();
        let bytes = reply.bytes().await.map_err(broke_off)?;
        let answer: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("the answer of {} (status {status}) is not JSON", self.base))?;
        let text = |field: &str| answer.get(field).and_then(Value::as_str).map(str::to_owned);
        if answer.get("decision").and_then(Value::as_str) == Some("declined") {
            let code = text("code").unwrap_or_default();
            let message = text("message").unwrap_or_default();
            return Err(Failure::Refused(format!("{message} ({code})"), Some(answer)));
        }
        if status.is_success() {
            return Ok(answer);
        }
        let detail = text("detail").or_else(|| text("title")).unwrap_or_else(|| status.to_string());
        if status.is_client_error() {
            return Err(Failure::Refused(detail, Some(answer)));
        }
        Err(Failure::Other(anyhow!(detail)))
    }
}

/// A path may have a card's number in it, which no error repeats.
fn broke_off(error: reqwest::Error) -> anyhow::Error {
    error.without_url().into()
}
