//! Poll: held open until another store needs value, a dataset has changed, or the store's patience ends.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{Answer, DatasetKind, DatasetVersion, Poll, Polled, Request, path};

use super::{Body, answer, serve_proved, take_report};
use crate::hub::{Hub, Published};
use crate::refusal::Refusal;
use crate::session::Caller;

/// The longest that a poll is held: below the half minute after which many proxies hang up.
const WAIT_MS_MAX: u64 = 25_000;
/// How often a waiting poll looks at the datasets itself: a command line beside the daemon changes them without a word.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How old a look may be that a poll shares with others.
const SHARED_READ: Duration = Duration::from_millis(250);

pub(in crate::api) async fn poll(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    serve_proved(&hub, path::POLL, &headers, body, |caller, request| serve(&hub, caller, request)).await
}

async fn serve(hub: &Hub, caller: Caller, request: Request<Poll>) -> Result<Answer<Polled>, Refusal> {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(request.body.wait_ms.min(WAIT_MS_MAX));
    let open = hub.recalls.poll(caller.store);
    let (taken, grants) = take_report(hub, caller, request.report).await?;
    hub.take_cards_version(caller, request.body.cards_version).await?;
    let mut since = lately();
    let mut recovered = None;
    loop {
        let Published { versions: datasets, urgent_cards, recovers } = hub.datasets_since(since).await?;
        // From here on the store may take its cards for the newest: it should not limit what they pay for longer than it must.
        let is_known_again = *recovered.get_or_insert(recovers) && !recovers;
        let (recalls, recalls_through) = open.recalls(request.body.recalls_through);
        let now = tokio::time::Instant::now();
        let over = now >= deadline || hub.stopping.is_cancelled();
        let news_at = open.news_at(&datasets, urgent_cards);
        let is_news = news_at.is_some_and(|at| at <= now);
        let tells_news = over || is_news || is_known_again;
        if tells_news || !recalls.is_empty() {
            // A recall does not carry news before their time; only nobody is to take cards for the newest while a stop is on its way.
            let told = if tells_news { None } else { open.told().filter(|told| cards_version(told) >= urgent_cards) };
            let datasets = told.unwrap_or_else(|| {
                hub.recalls.told(caller.store, &datasets);
                datasets
            });
            return Ok(answer(hub, taken, grants, Polled { recalls, recalls_through, recovers, datasets }));
        }
        let look_at = (now + LOOK_EVERY).min(deadline).min(news_at.unwrap_or(deadline));
        since = tokio::select! {
            () = open.woken() => tokio::time::Instant::now(),
            () = hub.stopping.cancelled() => since,
            () = tokio::time::sleep_until(look_at) => lately(),
        }
    }
}

fn cards_version(datasets: &[DatasetVersion]) -> u64 {
    datasets.iter().find(|version| version.dataset == DatasetKind::Cards).map_or(0, |version| version.version)
}

/// The oldest look that a poll shares.
fn lately() -> tokio::time::Instant {
    let now = tokio::time::Instant::now();
    now.checked_sub(SHARED_READ).unwrap_or(now)
}
