//! Replay: drives real edges and a real hub through recorded days of a chain, as its tills would, and reads the results as its finance would.
//!
//! It enters only through what a shop has: imports, a published policy and agreement, enrolment, the tills' API, settlement runs. Business days are
//! barriers; within one, different cards run at the same time and the order of each card holds. Money is replayed from events ([`session`]), goods from
//! baskets ([`lines`]).

pub mod basket;
pub mod cards;
pub mod charged;
pub mod drive;
pub mod event;
pub mod finance;
pub mod golden;
mod holdings;
pub mod lines;
pub mod offline;
pub mod outcome;
pub mod planted;
pub mod session;
