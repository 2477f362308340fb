//! Look-ups (P1): a card with its balance, over HTTP, against an answer that needs no store at all.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::ensure;
use axum::Router;
use axum::http::{HeaderValue, Method, header};
use axum::routing::get;
use bytes::Bytes;
use huitong_protocol::card::CardNumber;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::load::{self, Load};
use super::shop::BenchShop;
use super::{Bar, Measured, Sizes, median, medians, place};

const CONNECTIONS: [usize; 2] = [16, 64];
const BAR: Bar = Bar::AtLeast(0.75);
const LIMIT: &str = "a handler that answers a constant of the same size, served by the same code in the same process: what HTTP itself costs here";

/// Measures look-ups of random cards.
///
/// # Errors
/// When the store cannot be built or an answer is wrong.
pub async fn run(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let folder = sizes.folder()?;
    let shop = BenchShop::open(folder.path(), sizes.members).await?;
    let tokens = shop.pair(1).await?;
    let first = shop.cards.first().copied().unwrap_or_else(|| crate::replay::cards::of_household(0));
    let sample = shop.shop.till.send(Method::GET, &format!("/v1/cards/{}", first.reveal()), None, Vec::new()).await?;
    ensure!(sample.status == 200, "a card was answered with {}", sample.status);
    let answer_bytes = sample.body.len();
    let stop = CancellationToken::new();
    let constant = serve_constant(sample.body, &stop).await?;
    let ask = Ask { cards: Arc::clone(&shop.cards), token: tokens[0].as_str().into() };

    let warm = (sizes.lookups / 4).max(64);
    ask.load(shop.address, 16, warm, 0).await?;
    ask.load(constant, 16, warm, 0).await?;
    let mut measured = Vec::new();
    for connections in CONNECTIONS {
        let (mut ratios, mut p99_us) = (Vec::new(), Vec::new());
        for round in 1..=sizes.rounds.max(1) as u64 {
            let ours = ask.load(shop.address, connections, sizes.lookups, round).await?;
            let theirs = ask.load(constant, connections, sizes.lookups, round).await?;
            ratios.push((ours.per_second(), theirs.per_second()));
            p99_us.push((f64::from(ours.latency_us(990)), f64::from(theirs.latency_us(990))));
        }
        let (ours, theirs, ratio) = medians(&ratios);
        let of = |pick: fn(&(f64, f64)) -> f64| median(p99_us.iter().map(pick).collect());
        measured.push(Measured {
            name: format!("P1 lookup, {connections} connections, {} cards", sizes.members),
            limit: LIMIT,
            ours,
            theirs,
            unit: "requests/s",
            ratio,
            bar: BAR,
            notes: vec![format!("p99 {:.0} µs against {:.0} µs; {answer_bytes} B a body", of(|p| p.0), of(|p| p.1))],
        });
    }
    stop.cancel();
    shop.close().await?;
    Ok(measured)
}

/// Asks for random cards.
struct Ask {
    cards: Arc<Vec<CardNumber>>,
    token: Arc<str>,
}

impl Ask {
    async fn load(&self, address: SocketAddr, connections: usize, requests: u64, round: u64) -> anyhow::Result<Load> {
        let (cards, token) = (Arc::clone(&self.cards), Arc::clone(&self.token));
        load::run(address, connections, requests, move |connection, n, request| {
            let card = cards[place((round << 16) | connection as u64, n, cards.len())];
            // Writing into memory does not fail.
            let _ = write!(
                request,
                "GET /v1/cards/{} HTTP/1.1\r\nhost: store\r\nauthorization: Bearer {token}\r\n\r\n",
                card.reveal()
            );
        })
        .await
    }
}

async fn serve_constant(body: Vec<u8>, stop: &CancellationToken) -> anyhow::Result<SocketAddr> {
    let body = Bytes::from(body);
    let json = HeaderValue::from_static("application/json");
    let answer = move || std::future::ready(([(header::CONTENT_TYPE, json.clone())], body.clone()));
    let router = Router::new().route("/v1/cards/{number}", get(answer));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(huitong_config::serve::serve(listener, router, huitong_config::serve::Patience::USUAL, stopped));
    Ok(address)
}
