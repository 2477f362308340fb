//! The pure core of Huitong: the vocabulary and the rules that edge, hub, simulator and replay share.
//!
//! What is deliberately absent: input and output, clocks, randomness, threads, async, SQL, HTTP. Time, identities and rows come in as values and
//! decisions go out as values, so that a price, a balance or a debt has exactly one definition and can be tested without a machine.

pub mod allotment;
pub mod bundle;
pub mod card;
pub mod continuity;
pub mod debt;
pub mod decline;
pub mod entry;
pub mod funding;
pub mod grant;
pub mod holds;
pub mod id;
pub mod item;
pub mod journal;
pub mod ledger;
pub mod member;
pub mod money;
pub mod movement;
pub mod openapi;
pub mod organisation;
pub mod parking;
pub mod party;
pub mod points;
pub mod policy;
pub mod pricing;
pub mod quote;
pub mod reconcile;
pub mod rerate;
mod schema;
pub mod seal;
pub mod settlement;
pub mod statement;
pub mod tenure;
pub mod till;
pub mod time;
pub mod unit;
pub mod wire;
