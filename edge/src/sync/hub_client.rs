//! The line to the hub: one POST and its reply, nothing else. What is said over it, and who signs it, is the session's.
//!
//! [`HubClient`] is the seam where tests cut, hold and double messages. Two lines are real: HTTP, and a hub in the same process.
//! Invariant: a reply that was not received whole is [`HubDown`]; nobody above may take that as "it did not happen".

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use huitong_protocol::wire::BODY_BYTES_MAX;
use tower::ServiceExt as _;

/// How long a connection may take to stand, apart from the time that the call itself has.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// One long poll, one grant, one report and a window of segments share the pool; more would only sit idle.
const IDLE_CONNECTIONS_MAX: usize = 4;
/// Idle connections are closed before the NAT tables of small routers forget them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(55);

/// A request to the hub.
#[derive(Clone, Debug)]
pub struct HttpPost {
    /// One of `protocol::wire::path`.
    pub path: &'static str,
    /// Name and value; names are in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Packed.
    pub body: Bytes,
}

/// The hub's reply, received whole.
#[derive(Clone, Debug)]
pub struct HttpReply {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After` in seconds, when the hub said so.
    pub retry_after_s: Option<u64>,
    /// Packed.
    pub body: Bytes,
}

/// The hub did not answer. Whether it did what was asked is not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HubDown {
    /// No connection, or it broke.
    #[error("no line to the hub: {0}")]
    Line(String),
    /// No answer within the time that the call has.
    #[error("the hub did not answer within {timeout_ms} ms")]
    Silent {
        /// How long was waited, in milliseconds.
        timeout_ms: u128,
    },
    /// More than [`BODY_BYTES_MAX`] came.
    #[error("the hub's answer is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
}

/// Carries a request to the hub and brings the reply.
#[async_trait]
pub trait HubClient: Send + Sync + 'static {
    /// Sends and waits. The caller limits the time.
    async fn post(&self, request: HttpPost) -> Result<HttpReply, HubDown>;
}

/// The line over HTTP.
#[derive(Debug, Clone)]
pub struct HttpHub {
    client: reqwest::Client,
    base: String,
}

impl HttpHub {
    /// A line to the hub at this URL, such as `http://10.0.0.1:7070`. Nothing is connected before the first call.
    ///
    /// # Errors
    /// The HTTP client cannot be made, in words.
    pub fn new(hub_url: &str) -> Result<Self, HubDown> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            // A proxy of the desktop's environment must not stand between a store and its hub.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("huitong-edge/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| HubDown::Line(in_words(&error)))?;
        Ok(Self { client, base: hub_url.trim_end_matches('/').to_owned() })
    }
}

#[async_trait]
impl HubClient for HttpHub {
    async fn post(&self, request: HttpPost) -> Result<HttpReply, HubDown> {
        let line = |error: reqwest::Error| HubDown::Line(in_words(&error));
        let mut call = self.client.post(format!("{}{}", self.base, request.path)).body(request.body);
        for (name, value) in request.headers {
            call = call.header(name, value);
        }
        let mut reply = call.send().await.map_err(line)?;
        let status = reply.status().as_u16();
        let retry_after_s =
            reply.headers().get("retry-after").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let mut body = BytesMut::new();
        while let Some(chunk) = reply.chunk().await.map_err(line)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(HubDown::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpReply { status, retry_after_s, body: body.freeze() })
    }
}

/// The innermost cause is what an operator can act on ("connection refused"); the layers above it only repeat the URL.
fn in_words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// A hub in the same process: its routes are called without a socket. For whole towns in one test, and for demonstrations.
#[derive(Clone, Debug)]
pub struct InProcessHub(pub axum::Router);

#[async_trait]
impl HubClient for InProcessHub {
    async fn post(&self, request: HttpPost) -> Result<HttpReply, HubDown> {
        let line = |error: String| HubDown::Line(error);
        let mut call = axum::http::Request::post(request.path);
        for (name, value) in request.headers {
            call = call.header(name, value);
        }
        let call = call.body(axum::body::Body::from(request.body)).map_err(|error| line(error.to_string()))?;
        // A task of its own: a caller that gives up does not stop the hub in the middle, as on a real line.
        let router = self.0.clone();
        let answered = tokio::spawn(async move { router.oneshot(call).await });
        let reply = answered.await.map_err(|error| line(error.to_string()))?;
        let reply = reply.map_err(|never| match never {})?;
        let status = reply.status().as_u16();
        let retry_after_s =
            reply.headers().get("retry-after").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let body = axum::body::to_bytes(reply.into_body(), BODY_BYTES_MAX).await.map_err(|_| HubDown::TooLarge)?;
        Ok(HttpReply { status, retry_after_s, body })
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use huitong_protocol::wire::{SyncFault, path};

    use super::*;
    use crate::sync::session::{CallError, unpack};

    /// A hub that echoes, is busy, says too much, or answers like somebody else's web server.
    fn routes() -> Router {
        Router::new()
            .route(path::REPORT, post(|headers: HeaderMap, body: Bytes| async move { (headers, body) }))
            .route(path::GRANT, post(|| async { (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")], "full") }))
            .route(path::DATASET, post(|| async { vec![0_u8; BODY_BYTES_MAX + 1] }))
            .route(path::POLL, post(|| async { (StatusCode::NOT_FOUND, "<html>") }))
    }

    async fn over_http() -> HttpHub {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes()).await });
        HttpHub::new(&format!("http://{address}/")).unwrap()
    }

    fn request(path: &'static str) -> HttpPost {
        HttpPost { path, headers: vec![("huitong-nonce", "5".to_owned())], body: Bytes::from_static(b"\x80") }
    }

    async fn behaves(hub: &dyn HubClient) {
        let echoed = hub.post(request(path::REPORT)).await.unwrap();
        assert_eq!((echoed.status, &echoed.body[..]), (200, &b"\x80"[..]));
        let busy = hub.post(request(path::GRANT)).await.unwrap();
        assert_eq!((busy.status, busy.retry_after_s), (503, Some(7)));
        let busy = unpack::<()>(path::GRANT, busy).unwrap_err();
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)), "{busy}");
        assert!(matches!(hub.post(request(path::DATASET)).await, Err(HubDown::TooLarge)));
        let stranger = unpack::<()>(path::POLL, hub.post(request(path::POLL)).await.unwrap()).unwrap_err();
        assert!(matches!(stranger, CallError::Garbled { status: 404, .. }), "{stranger}");
    }

    #[tokio::test]
    async fn both_lines_bring_the_same_replies() {
        behaves(&over_http().await).await;
        behaves(&InProcessHub(routes())).await;
    }

    #[tokio::test]
    async fn a_hub_that_is_not_there_is_down() {
        // Port 1 is nobody's.
        let down = HttpHub::new("http://127.0.0.1:1").unwrap().post(request(path::REPORT)).await.unwrap_err();
        assert!(matches!(down, HubDown::Line(_)), "{down}");
    }

    #[test]
    fn a_refusal_keeps_its_fault_and_words() {
        let refused =
            huitong_protocol::wire::Refused { fault: SyncFault::Foreign, message: "another group".to_owned() };
        let body = Bytes::from(huitong_protocol::wire::to_msgpack(&refused));
        let error = unpack::<()>(path::HELLO, HttpReply { status: 403, retry_after_s: None, body }).unwrap_err();
        assert!(
            matches!(&error, CallError::Refused { fault: SyncFault::Foreign, message } if message == "another group")
        );
    }
}
