//! The till's API: what tills send and what they get back, as JSON (R: architecture of the till's API).
//!
//! Amounts are integer minor units. A request that is not well-formed is a [`Fault`] that names the field; a request that is well-formed and
//! refused by the rules is a decline. Paths and headers are here too, so that client and server cannot disagree. What a request and what an answer
//! of a noun look like stands in one file; who stood at the till is said in every request in one shape ([`Said`]).

mod card;
mod check;
mod day;
mod hold;
mod line;
mod outcome;
mod said;
mod sale;
mod status;
mod undo;

pub use card::{BalanceHere, CardState, FreezeCard, LoadCard, TotalBalance};
pub use day::{CloseDay, DayReport, OpenDay};
pub use hold::{HOLD_SECONDS_MAX, Hold, HoldState, PlaceHold, ReleaseHold};
pub use line::TillLine;
pub use outcome::{Approved, OperationState, Outcome};
pub use said::{FromTill, Said};
pub use sale::{AskQuote, ParkedSale, PaymentOutcome, PostSale, Quote, RegisterInvoice, ResolvePayment, SalePrice};
pub use status::{EdgeStatus, StoreWitness, Witness};
pub use undo::{PostReturn, PostUnreferencedReturn, ReturnItem, VoidOperation};

/// Header of the operation id, made and saved by the till before it sends.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Header that marks a stored answer.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";

/// Header of the witness, in both directions: the highest (store, epoch, seq, head) seen of this store.
pub const WITNESS: &str = "huitong-witness";

/// What a till without a witness says in its header: it was never answered, or has forgotten nothing because it never knew anything.
pub const WITNESS_NONE: &str = "none";

/// The most lines of a basket.
pub const LINES_MAX: usize = 1_000;

/// The most tenders of a basket.
pub const TENDERS_MAX: usize = 20;

/// The most coupons of a basket.
pub const COUPONS_MAX: usize = 50;
/// The most markdowns of a basket as a whole: more coupons than anybody brings to a till.
pub const MARKDOWNS_MAX: usize = 50;

/// The longest free text in bytes.
pub const TEXT_BYTES_MAX: usize = 500;

/// The largest amount of one operation in minor units: a thousand million of the major unit with two places. Everything summed stays far from 64 bits.
pub const AMOUNT_MINOR_MAX: i64 = 100_000_000_000;

/// The largest quantity in thousandths.
pub const QUANTITY_THOUSANDTHS_MAX: i64 = 1_000_000_000;

/// A request that is not well-formed: where and what.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} {fault}")]
pub struct Fault {
    /// The path in the request: `lines[2].net_minor`.
    pub field: String,
    /// What is wrong and what to do.
    pub fault: String,
    /// The amount that would have been right, where there is one: what the basket costs, what a line comes to.
    pub expected_minor: Option<i64>,
}

impl Fault {
    /// Names a fault.
    pub fn new(field: impl Into<String>, fault: impl Into<String>) -> Self {
        Self { field: field.into(), fault: fault.into(), expected_minor: None }
    }

    /// The same, with the amount that would have been right.
    #[must_use]
    pub fn expecting(self, expected_minor: i64) -> Self {
        Self { expected_minor: Some(expected_minor), ..self }
    }
}
