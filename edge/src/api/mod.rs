//! API: what tills of this store may ask over its LAN, as HTTP and JSON. The routes are a table of contents; a handler extracts, calls, answers.
//!
//! The handler reads the clock; nothing below it does. Every answer carries the witness of what is committed, so that a till can tell a store
//! that lost its memory. No rules and no SQL here.

mod auth;
mod cards;
mod days;
pub(crate) mod document;
mod explanation;
mod holds;
mod items;
mod members;
#[cfg(test)]
mod members_tests;
mod operations;
mod posted;
mod problem;
mod quotes;
mod routes;
mod sales;
mod status;
#[cfg(test)]
mod tests;
mod tills;
mod witness;
mod words;

use std::sync::Arc;

use axum::Router;
use huitong_config::{Language, Millis};
use huitong_protocol::item::ItemLook;
use huitong_protocol::member::{ChangeMember, EnrolMember, MembersFound};
use huitong_protocol::openapi::Operation;
use huitong_protocol::till::{
    AskQuote, CardState, CloseDay, DayReport, FreezeCard, Hold, LoadCard, OpenDay, OperationState, ParkedSale,
    PlaceHold, PostReturn, PostSale, PostUnreferencedReturn, RegisterInvoice, ReleaseHold, ResolvePayment, SalePrice,
    VoidOperation,
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::clock::Clock;
use crate::config::EdgeConfig;
use crate::ledger::Ledger;
use crate::line::Line;
use crate::store::Store;
use document::{ask, day_operation, look, operation, problems};

pub use auth::Till;
pub use document::{openapi, rows};
pub use posted::Posted;
pub use problem::{Code, Problem};
pub use routes::Routes;

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

/// The tills' routes.
pub(crate) fn table() -> Routes {
    use Code::{
        DayNotOpen, InFlight, ItemUnknown, MemberUnknown, NotFound, PolicyNotHeld, PriceAsTaken, PriceDiffers,
        UnknownCardOffline,
    };
    Routes::new()
        .get(
            "/v1/cards/{number}",
            cards::look,
            look::<CardState>("A card's state and balance.", &[NotFound, UnknownCardOffline])
                .query::<cards::LookQuery>(),
        )
        .post("/v1/cards/{number}/sell", cards::sell, operation::<LoadCard>("Sells a card with its first load."))
        .post("/v1/cards/{number}/reload", cards::reload, operation::<LoadCard>("Loads a card again."))
        .post("/v1/cards/{number}/freeze", cards::freeze, operation::<FreezeCard>("Freezes a card."))
        .get("/v1/items/{code}", items::look, look::<ItemLook>("What the item master says.", &[ItemUnknown]))
        .get(
            "/v1/members",
            members::look,
            look::<members::Found>(
                "A member, or a draft of one, by card, code, phone, number or draft: one of them.",
                &[MemberUnknown, Code::Malformed],
            )
            .query::<members::LookQuery>(),
        )
        .get(
            "/v1/members/search",
            members::search,
            look::<MembersFound>("Members by words, for the desk.", &[Code::Malformed]).query::<members::SearchQuery>(),
        )
        .post("/v1/members", members::enrol, operation::<EnrolMember>("Enrols somebody; head office makes the member."))
        .post(
            "/v1/members/{member}/changes",
            members::change,
            operation::<ChangeMember>("Asks head office to change a member.").problems(&problems(&[MemberUnknown])),
        )
        .post("/v1/quotes", quotes::quote, ask::<AskQuote, quotes::Answer>("What a basket costs, and why.", &[]))
        .post("/v1/sales", sales::post, operation::<PostSale>("Posts a sale."))
        .get("/v1/sales/parked", sales::parked, look::<Vec<ParkedSale>>("The sales whose payment is not known.", &[]))
        .get(
            "/v1/sales/{id}/explanation",
            explanation::explain,
            look::<SalePrice>(
                "Why a posted sale cost what it cost.",
                &[NotFound, PriceAsTaken, PolicyNotHeld, PriceDiffers],
            ),
        )
        .post("/v1/sales/{id}/void", operations::void, operation::<VoidOperation>("Undoes a sale of the open day."))
        .post(
            "/v1/sales/{id}/payment",
            sales::resolve_payment,
            operation::<ResolvePayment>("Says what became of the payment of a parked sale."),
        )
        .post(
            "/v1/sales/{id}/invoice",
            sales::register_invoice,
            operation::<RegisterInvoice>("Registers the tax invoice over a receipt."),
        )
        .post(
            "/v1/holds",
            holds::place,
            operation::<PlaceHold>("Sets value of a card aside in this store; a sale's tender captures it by its id."),
        )
        .get(
            "/v1/holds",
            holds::list,
            look::<Vec<Hold>>("The holds of a card's account, or every open one of the store.", &[NotFound])
                .query::<holds::ListQuery>(),
        )
        .get("/v1/holds/{id}", holds::look, look::<Hold>("A hold, and what became of it.", &[NotFound]))
        .post(
            "/v1/holds/{id}/release",
            holds::release,
            operation::<ReleaseHold>("Ends a hold; what it set aside is spendable again."),
        )
        .post("/v1/returns", sales::give_back, operation::<PostReturn>("Gives goods of a receipt back."))
        .post(
            "/v1/returns/unreferenced",
            sales::give_back_unreferenced,
            operation::<PostUnreferencedReturn>("Gives goods back without a receipt."),
        )
        .get(
            "/v1/operations/{id}",
            operations::look,
            look::<OperationState>("What became of an operation.", &[InFlight]),
        )
        .get(
            "/v1/operations/{id}/receipt",
            operations::receipt,
            Operation::new("The receipt as text.").gives_text("text/plain").query::<operations::SlipQuery>().problems(
                &problems(&[
                    Code::Unauthorized,
                    Code::FieldInvalid,
                    NotFound,
                    Code::NotReady,
                    Code::Storage,
                    Code::Internal,
                ]),
            ),
        )
        .post(
            "/v1/operations/{id}/void",
            operations::void,
            operation::<VoidOperation>("Undoes an operation of the open day."),
        )
        .post("/v1/day/open", days::open, day_operation::<OpenDay>("Opens a business day."))
        .post("/v1/day/close", days::close, day_operation::<CloseDay>("Closes the open day and seals it."))
        .get("/v1/day/x", days::x, look::<DayReport>("The running totals of the open day.", &[DayNotOpen]))
        .get(
            "/v1/day/z",
            days::z,
            look::<DayReport>("The sealed totals of a closed day.", &[NotFound]).query::<days::DayQuery>(),
        )
        .post(
            "/v1/tills/{terminal}/excuse",
            tills::excuse,
            ask::<tills::ExcuseTill, tills::TillExcused>(
                "Answers for a till that is gone, so that stored value does not wait for its witness.",
                &[NotFound, Code::Forbidden],
            ),
        )
        .get("/v1/status", status::status, look::<status::Status>("How the store is.", &[]))
        .get("/v1/openapi.json", document::serve, Operation::new("This document.").gives::<serde_json::Value>().open())
}

/// What supervisors of the process ask.
pub(crate) fn health() -> Routes {
    Routes::new()
        .get(
            "/healthz",
            status::healthz,
            Operation::new("Whether the process answers.").gives_text("text/plain").open(),
        )
        .get(
            "/readyz",
            status::readyz,
            Operation::new("Whether an operation would be decided.")
                .gives_text("text/plain")
                .problems(&problems(&[Code::NotReady, Code::Storage]))
                .open(),
        )
}

/// Every route of the till's API. `more` are routes of other modules with the same state.
pub fn router(api: Api, more: Router<Api>) -> Router {
    table()
        .into_router()
        .merge(more)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::no_such_path)
        .layer(CatchPanicLayer::custom(problem::broke_off))
        .layer(axum::middleware::map_response_with_state(api.clone(), witness::attach))
        .merge(health().into_router())
        .layer(axum::middleware::from_fn_with_state(api.clone(), words::speak))
        .with_state(api)
}
