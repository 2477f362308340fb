//! Proxy: the network between two processes, as bad as it gets. It stands on a port of its own and loses requests, loses answers after what they
//! answer was done, and sends requests twice, at once or much later, behind others.
//!
//! What it does to a request is drawn from a seed; which request comes when is the processes' affair. It ends with its last handle.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

const BODY_BYTES_MAX: usize = 64 << 20;
/// Copies kept to be sent later; older ones are forgotten.
const KEPT_MAX: usize = 16;

/// How often something goes wrong, in percent of the requests.
#[derive(Clone, Copy, Debug)]
pub struct Mischief {
    /// The request is lost: nobody hears of it.
    pub requests_lost: u32,
    /// The answer is lost: what was asked was done.
    pub answers_lost: u32,
    /// The request arrives twice at once.
    pub doubled: u32,
    /// The request arrives once more, later, behind another one.
    pub late: u32,
}

/// What a proxy did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Done {
    /// Requests that came.
    pub requests: u64,
    /// Requests lost.
    pub requests_lost: u64,
    /// Answers lost.
    pub answers_lost: u64,
    /// Requests that arrived twice at once.
    pub doubled: u64,
    /// Requests that arrived once more, later.
    pub late: u64,
}

/// A proxy under way.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    to: SocketAddr,
    mischief: Mischief,
    random: Mutex<StdRng>,
    kept: Mutex<Vec<Copy>>,
    client: reqwest::Client,
    counts: [AtomicU64; 5],
}

/// A request, to be sent again.
#[derive(Clone)]
struct Copy {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
struct Fate {
    is_lost: bool,
    answer_lost: bool,
    is_doubled: bool,
    comes_late: bool,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection breaks")]
struct Broken;

impl Proxy {
    /// Starts one before an address.
    ///
    /// # Errors
    /// No port, or no client.
    pub async fn start(to: SocketAddr, mischief: Mischief, seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port on loopback")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            to,
            mischief,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            kept: Mutex::default(),
            client: reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?,
            counts: Default::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, Arc::clone(&shared), stop.clone())));
        Ok(Self { address, shared, _stop: stop.drop_guard() })
    }

    /// What it did so far.
    #[must_use]
    pub fn done(&self) -> Done {
        let [requests, requests_lost, answers_lost, doubled, late] =
            [0, 1, 2, 3, 4].map(|at: usize| self.shared.counts[at].load(Ordering::SeqCst));
        Done { requests, requests_lost, answers_lost, doubled, late }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true); // Without it everything is only slower.
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(stream, Arc::clone(&shared))));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let carry = service_fn(move |request| carry(Arc::clone(&shared), request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), carry).await; // Broken connections are its work.
}

async fn carry(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), BODY_BYTES_MAX).await.map_err(|_| Broken)?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let mut headers = head.headers;
    for own in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING] {
        headers.remove(own);
    }
    let copy = Copy { method: head.method, path, headers, body };
    shared.count(0);
    let fate = shared.draw();
    if fate.is_lost {
        shared.count(1);
        return Err(Broken);
    }
    if fate.comes_late {
        shared.keep(copy.clone());
    } else if let Some(late) = shared.take_late() {
        shared.count(4);
        let _ = shared.send(&late).await; // Whoever asked has its answer, or asked again.
    }
    let answer = if fate.is_doubled {
        shared.count(3);
        let (first, second) = tokio::join!(shared.send(&copy), shared.send(&copy));
        second.or(first)
    } else {
        shared.send(&copy).await
    };
    if fate.answer_lost {
        shared.count(2);
        return Err(Broken);
    }
    answer
}

impl Shared {
    fn count(&self, what: usize) {
        self.counts[what].fetch_add(1, Ordering::SeqCst);
    }

    fn draw(&self) -> Fate {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let mut falls = |percent| random.random_range(0..100) < percent;
        let Mischief { requests_lost, answers_lost, doubled, late } = self.mischief;
        Fate {
            is_lost: falls(requests_lost),
            answer_lost: falls(answers_lost),
            is_doubled: falls(doubled),
            comes_late: falls(late),
        }
    }

    fn keep(&self, copy: Copy) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.remove(0);
        }
        kept.push(copy);
    }

    /// One of those kept, now and then.
    fn take_late(&self) -> Option<Copy> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() || random.random_range(0..4) > 0 {
            return None;
        }
        let at = random.random_range(0..kept.len());
        Some(kept.swap_remove(at))
    }

    async fn send(&self, copy: &Copy) -> Result<Response<Body>, Broken> {
        let Copy { method, path, headers, body } = copy.clone();
        let call = self.client.request(method, format!("http://{}{path}", self.to)).headers(headers).body(body);
        let answer = call.send().await.map_err(|_| Broken)?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if ![header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING].contains(name) {
                response = response.header(name, value);
            }
        }
        let body = answer.bytes().await.map_err(|_| Broken)?;
        response.body(Body::from(body)).map_err(|_| Broken)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;

    use super::*;

    const NEVER: Mischief = Mischief { requests_lost: 0, answers_lost: 0, doubled: 0, late: 0 };

    /// A server that counts what arrives, behind a proxy.
    async fn behind(mischief: Mischief) -> (Proxy, Arc<AtomicU64>) {
        let arrived = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&arrived);
        let count = post(move |body: Bytes| async move {
            counter.fetch_add(1, Ordering::SeqCst);
            body
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/echo", count)).await });
        (Proxy::start(address, mischief, 1).await.unwrap(), arrived)
    }

    async fn ask(proxy: &Proxy) -> Option<Vec<u8>> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let reply = client.post(format!("http://{}/echo", proxy.address)).body("hello").send().await.ok()?;
        Some(reply.bytes().await.ok()?.to_vec())
    }

    #[tokio::test]
    async fn each_mischief_is_what_it_says() {
        let (proxy, arrived) = behind(NEVER).await;
        assert_eq!((ask(&proxy).await.as_deref(), arrived.load(Ordering::SeqCst)), (Some(&b"hello"[..]), 1));
        let (proxy, arrived) = behind(Mischief { requests_lost: 100, ..NEVER }).await;
        assert_eq!((ask(&proxy).await, arrived.load(Ordering::SeqCst)), (None, 0));
        let (proxy, arrived) = behind(Mischief { answers_lost: 100, ..NEVER }).await;
        assert_eq!((ask(&proxy).await, arrived.load(Ordering::SeqCst)), (None, 1));
        let (proxy, arrived) = behind(Mischief { doubled: 100, ..NEVER }).await;
        assert_eq!((ask(&proxy).await.is_some(), arrived.load(Ordering::SeqCst)), (true, 2));
        let (proxy, arrived) = behind(Mischief { late: 50, ..NEVER }).await;
        for _ in 0..100 {
            assert!(ask(&proxy).await.is_some());
        }
        assert_eq!(arrived.load(Ordering::SeqCst), 100 + proxy.done().late);
        assert!(proxy.done().late > 3);
    }
}
