//! The promises we keep, one module each, in one test program.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it needs")]

mod claims;
mod conformity;
mod crash;
mod demo;
mod disk;
mod enrolment;
mod explain;
mod fork;
mod kill;
mod lines;
mod openapi;
mod operations;
mod overdraft;
mod parameters;
mod parking;
mod people;
mod policy;
mod replay;
mod rerate;
mod round_trips;
mod scenarios;
