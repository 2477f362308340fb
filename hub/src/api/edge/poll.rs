//! Poll: held open until another store needs value, a dataset has changed, or the store's patience ends.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{Answer, Poll, Polled, Request, path};

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
    loop {
        let Published { versions: datasets, urgent_cards } = hub.datasets_since(since).await?;
        let (recalls, recalls_through) = open.recalls(request.body.recalls_through);
        let now = tokio::time::Instant::now();
        let over = now >= deadline || hub.stopping.is_cancelled();
        let news_at = open.news_at(&datasets, urgent_cards);
        let is_news = news_at.is_some_and(|at| at <= now);
        if over || is_news || !recalls.is_empty() {
            // A recall does not carry news before their time.
            let datasets = if over || is_news { datasets } else { open.told().unwrap_or(datasets) };
            if over || is_news {
                hub.recalls.told(caller.store, &datasets);
            }
            return Ok(answer(hub, taken, grants, Polled { recalls, recalls_through, datasets }));
        }
        let look_at = (now + LOOK_EVERY).min(deadline).min(news_at.unwrap_or(deadline));
        since = tokio::select! {
            () = open.woken() => tokio::time::Instant::now(),
            () = hub.stopping.cancelled() => since,
            () = tokio::time::sleep_until(look_at) => lately(),
        }
    }
}

/// The oldest look that a poll shares.
fn lately() -> tokio::time::Instant {
    let now = tokio::time::Instant::now();
    now.checked_sub(SHARED_READ).unwrap_or(now)
}
