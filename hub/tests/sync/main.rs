//! The sync API as a store meets it, through the real router and a real database: who is let in, how value moves, how a journal arrives.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it needs")]

mod access;
mod deferred;
mod ended;
mod exceptions;
mod fake;
mod faults;
mod holds;
mod hot;
mod journal;
mod member_cards;
mod members;
mod overdraft;
mod parked;
mod policy;
mod receipts;
mod recovery;
mod rerate;
mod stops;
mod tenure;
mod upkeep;
mod value;
