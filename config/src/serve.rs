//! Serve: the connections under a daemon's API. HTTP/1 from one listener, each connection a task, and a bound on how long one may be silent.
//!
//! `axum::serve` has no such bound: whoever connects and sends nothing, or half a request, would hold a connection, and its file, until the daemon
//! stops, and longer. What is asked over a connection is the router's. Invariant: after the end no request is under way.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener as _, ListenerExt as _};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::timeout::RequestBodyTimeoutLayer;

/// How long the other end is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a client may take to send the head of a request, counted from the connection's begin or from the answer before. Longer than common
    /// clients keep an idle connection, so that it is they who close it and never while they send.
    pub head: Duration,
    /// How long a client may pause while it sends the body of a request.
    pub body: Duration,
    /// How long what is under way may still take once the daemon stops.
    pub stop: Duration,
}

impl Patience {
    /// What both daemons have.
    pub const USUAL: Self =
        Self { head: Duration::from_secs(100), body: Duration::from_secs(30), stop: Duration::from_secs(30) };
}

/// Serves until `shutdown`, then until the requests under way are answered or `patience` is over. Who got no answer asks again.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    patience: Patience,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut listener = listener.tap_io(|stream| {
        // An answer is one small packet, and somebody waits at a till: waiting to fill a larger one would only make it slower.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "Could not switch off delayed sending");
        }
    });
    // Makes the routes ready once, not with each request.
    let router: Router = router.layer(RequestBodyTimeoutLayer::new(patience.body)).with_state(());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.head);
    let (connections, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            (stream, _) = listener.accept() => stream,
            () = &mut shutdown => break,
        };
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let stopped = stop.clone().cancelled_owned();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stopped => {
                    connection.as_mut().graceful_shutdown();
                    // Dropped with its request when it takes too long: what was written stands, what was not is not.
                    tokio::time::timeout(patience.stop, connection).await.unwrap_or_else(|_| {
                        tracing::warn!("Cut off a connection that was not done when the daemon stopped");
                        Ok(())
                    })
                }
            };
            if let Err(error) = ended {
                tracing::debug!(error = &error as &dyn std::error::Error, "A connection broke off");
            }
        });
    }
    drop(listener);
    stop.cancel();
    connections.close();
    connections.wait().await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::extract::Request;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::{Notify, watch};

    use super::*;

    const LONG: Duration = Duration::from_secs(1_000);
    const SHORT: Patience = Patience { head: Duration::from_millis(50), body: LONG, stop: LONG };
    const HALF: &str = "POST /take HTTP/1.1\r\nhost: shop\r\ncontent-length: 10\r\n\r\nhalf";

    /// A route that reads a body whole, and tells when it has begun.
    fn taking(begun: &Arc<Notify>) -> Router {
        let begun = Arc::clone(begun);
        let take = post(move |request: Request| {
            begun.notify_one();
            async { axum::body::to_bytes(request.into_body(), 100).await.map_or("broke off", |_| "whole") }
        });
        Router::new().route("/take", take)
    }

    /// Sends, and gives all that comes until the other end closes.
    async fn said_to(mut stream: TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let all = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        all.expect("the connection is closed in time").unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_long_poll_is_held_and_a_silent_connection_is_not() {
        let (news, told) = watch::channel(0);
        let poll = get(move || {
            let mut told = told.clone();
            async move {
                told.changed().await.unwrap();
                "news"
            }
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/poll", poll);
        let serving = tokio::spawn(serve(listener, router, SHORT, stop.clone().cancelled_owned()));
        let connect = async || TcpStream::connect(address).await.unwrap();

        let polling = tokio::spawn(said_to(connect().await, "GET /poll HTTP/1.1\r\nhost: shop\r\n\r\n"));
        while news.receiver_count() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(said_to(connect().await, "").await, "");
        assert!(!said_to(connect().await, "GET /poll HT").await.contains("news"));
        assert!(!polling.is_finished());
        news.send_replace(1);
        assert!(polling.await.unwrap().ends_with("news"));
        stop.cancel();
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_under_way_when_the_daemon_stops_is_answered_and_nobody_else_is_served() {
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (began, gone) = (Arc::clone(&begun), Arc::clone(&go));
        let slow = get(async move || {
            began.notify_one();
            gone.notified().await;
            "done"
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/slow", slow);
        let serving = tokio::spawn(serve(listener, router, SHORT, stop.clone().cancelled_owned()));
        let ask = "GET /slow HTTP/1.1\r\nhost: shop\r\n\r\n";
        let last = tokio::spawn(said_to(TcpStream::connect(address).await.unwrap(), ask));
        begun.notified().await;
        stop.cancel();
        go.notify_one();
        assert!(last.await.unwrap().ends_with("done"));
        serving.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn who_stops_in_the_middle_of_a_body_is_left() {
        let begun = Arc::new(Notify::new());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let patience = Patience { head: LONG, body: Duration::from_millis(50), stop: LONG };
        let serving = tokio::spawn(serve(listener, taking(&begun), patience, stop.clone().cancelled_owned()));
        let answer = said_to(TcpStream::connect(address).await.unwrap(), HALF).await;
        assert!(answer.ends_with("broke off"), "{answer}");
        stop.cancel();
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn the_daemon_stops_also_while_somebody_stops_in_the_middle_of_a_body() {
        let begun = Arc::new(Notify::new());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let patience = Patience { head: LONG, body: LONG, stop: Duration::from_millis(50) };
        let serving = tokio::spawn(serve(listener, taking(&begun), patience, stop.clone().cancelled_owned()));
        let half = tokio::spawn(said_to(TcpStream::connect(address).await.unwrap(), HALF));
        begun.notified().await;
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), serving).await.expect("the daemon stops in time").unwrap();
        assert_eq!(half.await.unwrap(), "");
    }
}
