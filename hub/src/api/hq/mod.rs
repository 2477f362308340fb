//! HQ: what head office's people and programs may ask, as HTTP and JSON under `/v1/hq`. The routes are a table of contents; a handler extracts, asks
//! for the permission, calls what the command line calls, and answers.
//!
//! Amounts are integer minor units with their currency; every `…_ms` has the same moment beside it in RFC 3339, without the `_ms`. Writes need no
//! `Idempotency-Key`: each says what should be so, and asking again for what is so already changes nothing. Card numbers are in no answer, problem or
//! log. The handler reads the clock; nothing below it does.

mod accounts;
mod answer;
mod audit;
mod caller;
mod claims;
mod days;
pub(super) mod document;
mod exceptions;
mod frame;
mod member_requests;
mod members;
mod numbered;
mod page;
mod parameters;
mod policies;
mod problem;
mod refused;
mod risk;
mod routes;
mod settlements;
mod statements;
mod status;
mod stores;
mod suspense;
mod verify;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler as _;
use huitong_config::Language;
use huitong_protocol::statement::Statement;
use huitong_protocol::wire::Proposal;
use tower_http::catch_panic::CatchPanicLayer;

use crate::approval::{RunSheet, SignedRun};
use crate::calendar::CalendarDay;
use crate::desk::{Found, MemberView};
use crate::exception::Dossier;
use crate::fence::Ended;
use crate::hot::HotCard;
use crate::hub::Hub;
use crate::member_request::RequestView;
use crate::overview::Overview;
use crate::parameters::ProposalSheet;
use crate::publish::{PolicyDocument, Published};
use crate::receipt::ReceiptSheet;
use crate::risk::RiskSheet;
use crate::settle::RunReport;
use crate::store::audit::Deed;
use crate::store::claim::Claim;
use crate::store::exception::Exception;
use crate::store::refused::Refused;
use crate::suspense::{Suspended, SuspendedSheet};
use crate::verification;
use document::{look, started, text, write};
use page::{Page, Plain};
use routes::Routes;

pub use problem::Code;

/// The largest body of a request: a note and a name are far below it.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The largest proposal of parameters: JSON text is at most twice as long as what it holds, but for control characters.
const PROPOSAL_BODY_BYTES_MAX: usize = 2 * huitong_protocol::wire::PROPOSAL_BYTES_MAX;

/// The largest file of receipts: a line break is two characters in JSON, and a quote too.
const RECEIPTS_BODY_BYTES_MAX: usize = 2 * crate::receipt::FILE_BYTES_MAX;

/// Where the routes are mounted.
pub(super) const AT: &str = "/v1/hq";

/// Head office's routes, below [`AT`].
fn table() -> Routes {
    use Code::{NotAcceptable, NotFound};
    Routes::new()
        .get("/status", status::look, look::<Overview>("How things stand.", &[]))
        .get("/stores", stores::list, look::<Page<stores::Row>>("Stores.", &[]).query::<Plain>())
        .post("/stores/{store}/fence", stores::fence, write::<stores::Fence, Ended>("Ends the epoch of a store."))
        .get(
            "/suspense",
            suspense::list,
            look::<Page<Suspended>>("What epochs held when they ended.", &[]).query::<suspense::List>(),
        )
        .get("/suspense/{epoch}", suspense::show, look::<SuspendedSheet>("An ended epoch, line by line.", &[NotFound]))
        .post(
            "/suspense/{epoch}/repay",
            suspense::repay,
            write::<suspense::Repay, SuspendedSheet>("Asks that what waits be paid back; as a second person, pays it."),
        )
        .post(
            "/suspense/{epoch}/receipts",
            suspense::bring.layer(DefaultBodyLimit::max(RECEIPTS_BODY_BYTES_MAX)),
            write::<suspense::Bring, ReceiptSheet>(
                "Asks that receipts of an ended epoch count; as a second person with the same receipts, lets them count.",
            ),
        )
        .get("/risk", risk::show, look::<RiskSheet>("What the group puts behind overdrafts, and where it is.", &[]))
        .post(
            "/risk/budget",
            risk::budget,
            write::<risk::Budget, RiskSheet>("Asks that the budget be so large; as a second person, sets it."),
        )
        .post(
            "/risk/write-off",
            risk::write_off,
            write::<risk::WriteOff, RiskSheet>(
                "Asks that what an account owes be given up; as a second person, gives it up.",
            ),
        )
        .get("/days", days::list, look::<Page<CalendarDay>>("Business days, store by day.", &[]).query::<days::List>())
        .get(
            "/exceptions",
            exceptions::list,
            look::<Page<Exception>>("What somebody should look at.", &[]).query::<exceptions::List>(),
        )
        .get("/exceptions/{number}", exceptions::show, look::<Dossier>("An exception with its history.", &[NotFound]))
        .post(
            "/exceptions/{number}/assign",
            exceptions::assign,
            write::<exceptions::Assign, Dossier>("Gives an exception to somebody."),
        )
        .post(
            "/exceptions/{number}/resolve",
            exceptions::resolve,
            write::<exceptions::Resolve, Dossier>("Closes an exception."),
        )
        .post(
            "/exceptions/{number}/reopen",
            exceptions::reopen,
            write::<exceptions::Reopen, Dossier>("Opens an exception again."),
        )
        .get("/settlements", settlements::list, look::<Page<SignedRun>>("Settlement runs.", &[]).query::<Plain>())
        .post(
            "/settlements",
            settlements::run,
            write::<settlements::Run, settlements::NothingNew>(
                "Settles what has arrived; when nothing has, names the last run.",
            )
            .gives_with::<RunReport>(201)
            .problems(&document::problems(&[Code::RunUnderWay])),
        )
        .get(
            "/settlements/{run}",
            settlements::show,
            look::<RunSheet>("A run with its netting.", &[NotFound]).query::<settlements::Show>(),
        )
        .post(
            "/settlements/{run}/approve",
            settlements::approve,
            write::<settlements::Approve, SignedRun>("Approves a run, as a second person."),
        )
        .get("/settlements/{run}/export", settlements::export, text("A run's lines.", "text/csv"))
        .get(
            "/settlements/{run}/statement",
            statements::show,
            look::<Vec<Statement>>(
                "Statements of a run, in the form that `Accept` or `format` asks for.",
                &[NotFound, NotAcceptable],
            )
            .gives_text("text/csv")
            .gives_text("text/plain")
            .query::<statements::Show>(),
        )
        .get(
            "/accounts/{account}",
            accounts::account,
            look::<accounts::Answer>("Where every cent of an account is.", &[NotFound]),
        )
        .get(
            "/cards/hot",
            accounts::hot,
            look::<Page<HotCard>>("Cards that are frozen or lost, and what can still be taken with them.", &[])
                .query::<accounts::Hot>(),
        )
        .get("/cards/{number}", accounts::card, look::<accounts::CardSheet>("A card.", &[NotFound]))
        .get("/members", members::find, look::<Found>("Members by words.", &[Code::Refused]).query::<members::Find>())
        .get("/members/{number}", members::show, look::<MemberView>("A member, masked.", &[NotFound]))
        .get("/claims", claims::list, look::<Page<Claim>>("Points to be claimed back.", &[]).query::<claims::List>())
        .post("/claims/{number}/waive", claims::waive, write::<claims::Waive, Claim>("Gives up the rest of a claim."))
        .get(
            "/member-requests",
            member_requests::list,
            look::<Page<RequestView>>("What stores ask for about members.", &[]).query::<member_requests::List>(),
        )
        .get(
            "/member-requests/{number}",
            member_requests::show,
            look::<RequestView>("A request with what it would change.", &[NotFound]),
        )
        .post(
            "/member-requests/{number}/approve",
            member_requests::approve,
            write::<member_requests::Approve, RequestView>("Passes a request on; as a second person, does it."),
        )
        .post(
            "/member-requests/{number}/refuse",
            member_requests::refuse,
            write::<member_requests::Refuse, RequestView>("Refuses a request."),
        )
        .get(
            "/parameters",
            parameters::list,
            look::<Page<Proposal>>("What stores would set for themselves.", &[]).query::<parameters::List>(),
        )
        .post(
            "/parameters",
            parameters::propose.layer(DefaultBodyLimit::max(PROPOSAL_BODY_BYTES_MAX)),
            document::any("Proposes parameters for a store.")
                .reads::<parameters::Propose>()
                .gives_with::<ProposalSheet>(201)
                .problems(&document::problems(&[NotFound, Code::Refused, Code::BodyTooLarge])),
        )
        .get("/parameters/{number}", parameters::show, look::<ProposalSheet>("A proposal in full.", &[NotFound]))
        .post(
            "/parameters/{number}/approve",
            parameters::approve,
            write::<parameters::Decide, ProposalSheet>("Approves a proposal, as a second person."),
        )
        .post(
            "/parameters/{number}/refuse",
            parameters::refuse,
            write::<parameters::Decide, ProposalSheet>("Refuses a proposal."),
        )
        .get("/policies", policies::list, look::<Page<Published>>("Published policies.", &[]).query::<Plain>())
        .get("/policies/{version}", policies::show, look::<PolicyDocument>("A policy with its document.", &[NotFound]))
        .get("/verify", verify::look, look::<verification::Status>("Where the proof is.", &[]))
        .post(
            "/verify",
            verify::start,
            started::<verification::Status>("Starts to prove that everything follows from the journals."),
        )
        .get(
            "/refused",
            refused::list,
            look::<Page<Refused>>("Sync requests that were refused, and why.", &[]).query::<refused::List>(),
        )
        .get("/audit", audit::list, look::<Page<Deed>>("Who did what.", &[]).query::<Plain>())
}

/// Every route under [`AT`].
pub(super) fn router(language: Language) -> Router<Hub> {
    table()
        .into_router()
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::no_such_path)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(problem::broke_off))
        .layer(axum::middleware::from_fn_with_state(language, frame::frame))
}
