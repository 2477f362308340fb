//! Serve: the connections under the tills' API. HTTP/1 from one listener, each connection a task, and a bound on how long one may be silent.
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
}

impl Patience {
    /// What the daemon has.
    pub const USUAL: Self = Self { head: Duration::from_secs(100), body: Duration::from_secs(30) };
}

/// Serves until `shutdown`, then until the requests under way are answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    patience: Patience,
    shutdown: impl Future<Output = ()> + Send,
) {
    // An answer is one small packet: waiting to fill a larger one would only make the cashier wait.
    let mut listener = listener.tap_io(|stream| {
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
                    connection.await
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

    use axum::extract::rejection::StringRejection;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;

    use super::*;

    /// Sends, and gives all that comes until the other end closes.
    async fn said_to(mut stream: TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let all = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        all.expect("the connection is closed in time").unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn who_says_nothing_is_left_and_who_waits_for_an_answer_gets_it() {
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
        let take = post(async |body: Result<String, StringRejection>| body.map_or("broke off", |_| "whole"));
        let router = Router::new().route("/slow", slow).route("/take", take);
        let patience = Patience { head: Duration::from_millis(50), body: Duration::from_millis(50) };
        let serving = tokio::spawn(serve(listener, router, patience, stop.clone().cancelled_owned()));
        let connect = async || TcpStream::connect(address).await.unwrap();
        let ask = "GET /slow HTTP/1.1\r\nhost: shop\r\n\r\n";

        let waiting = tokio::spawn(said_to(connect().await, ask));
        begun.notified().await;
        // These are cut off while the other one, which came before them, still waits.
        assert_eq!(said_to(connect().await, "").await, "");
        assert!(!said_to(connect().await, "GET /slow HT").await.contains("done"));
        let half = "POST /take HTTP/1.1\r\nhost: shop\r\ncontent-length: 10\r\n\r\nhalf";
        assert!(said_to(connect().await, half).await.ends_with("broke off"));
        assert!(!waiting.is_finished());
        go.notify_one();
        assert!(waiting.await.unwrap().ends_with("done"));

        // What is under way when the daemon stops is answered, and nobody else is served.
        let last = tokio::spawn(said_to(connect().await, ask));
        begun.notified().await;
        stop.cancel();
        go.notify_one();
        assert!(last.await.unwrap().ends_with("done"));
        serving.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
