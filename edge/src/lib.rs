//! The store daemon of Huitong: what runs beside the tills and trades whether or not head office can be reached.
//!
//! Sales flow up: `api → ledger → store (journal) → sync`. Rules flow down: `sync → store (replica) → ledger`. What may be done is decided in
//! `huitong_protocol`; here it is read, asked for, stored and answered.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod continuity;
pub mod enrol;
pub mod identity;
pub mod ledger;
pub mod line;
pub mod reminder;
pub mod replace;
pub mod run;
pub mod schedule;
mod sealing;
pub mod slip;
pub mod store;
pub mod sync;
pub mod till;
