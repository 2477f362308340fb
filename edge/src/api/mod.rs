//! API: what tills of this store may ask over its LAN, as HTTP and JSON. The routes are a table of contents; a handler extracts, calls, answers.
//!
//! The handler reads the clock; nothing below it does. Every answer carries the witness of what is committed, so that a till can tell a store
//! that lost its memory. No rules and no SQL here.

mod auth;
mod cards;
mod days;
mod explanation;
mod items;
mod members;
#[cfg(test)]
mod members_tests;
mod operations;
mod posted;
mod problem;
mod quotes;
mod sales;
mod status;
#[cfg(test)]
mod tests;
mod witness;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use huitong_config::{Language, Millis};
use tower_http::catch_panic::CatchPanicLayer;

use crate::clock::Clock;
use crate::config::EdgeConfig;
use crate::ledger::Ledger;
use crate::line::Line;
use crate::store::Store;

pub use auth::Till;
pub use posted::Posted;
pub use problem::{Code, Problem};

/// The largest body of a request: a basket of a thousand lines is under half of it.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
    line: Arc<Line>,
    insecure_http: bool,
    policy_stale_after: Millis,
    language: Language,
    tills: auth::TillCache,
}

impl Api {
    /// Puts the parts together.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, clock: Arc<dyn Clock>, line: Arc<Line>, config: &EdgeConfig) -> Self {
        let (insecure_http, policy_stale_after) = (config.insecure_http, config.sync.policy_stale_after);
        let language = config.api.language;
        let tills = auth::TillCache::default();
        Self { shared: Arc::new(Shared { ledger, clock, line, insecure_http, policy_stale_after, language, tills }) }
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.shared.ledger.store()
    }

    /// The clock, for handlers.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }
}

/// Every route of the till's API. `more` are routes of other modules with the same state.
pub fn router(api: Api, more: Router<Api>) -> Router {
    Router::new()
        .route("/v1/cards/{number}", get(cards::look))
        .route("/v1/cards/{number}/sell", post(cards::sell))
        .route("/v1/cards/{number}/reload", post(cards::reload))
        .route("/v1/cards/{number}/freeze", post(cards::freeze))
        .route("/v1/items/{code}", get(items::look))
        .route("/v1/members", get(members::look))
        .route("/v1/members/search", get(members::search))
        .route("/v1/quotes", post(quotes::quote))
        .route("/v1/sales", post(sales::post))
        .route("/v1/sales/parked", get(sales::parked))
        .route("/v1/sales/{id}/explanation", get(explanation::explain))
        .route("/v1/sales/{id}/void", post(operations::void))
        .route("/v1/sales/{id}/payment", post(sales::resolve_payment))
        .route("/v1/sales/{id}/invoice", post(sales::register_invoice))
        .route("/v1/returns", post(sales::give_back))
        .route("/v1/returns/unreferenced", post(sales::give_back_unreferenced))
        .route("/v1/operations/{id}", get(operations::look))
        .route("/v1/operations/{id}/receipt", get(operations::receipt))
        .route("/v1/operations/{id}/void", post(operations::void))
        .route("/v1/day/open", post(days::open))
        .route("/v1/day/close", post(days::close))
        .route("/v1/day/x", get(days::x))
        .route("/v1/day/z", get(days::z))
        .route("/v1/status", get(status::status))
        .merge(more)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::no_such_path)
        .layer(CatchPanicLayer::custom(problem::broke_off))
        .layer(axum::middleware::map_response_with_state(api.clone(), witness::attach))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .layer(axum::middleware::from_fn_with_state(api.clone(), words::speak))
        .with_state(api)
}
