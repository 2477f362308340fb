//! The promises we keep, one module each, in one test program.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it needs")]

mod crash;
mod demo;
mod explain;
mod lines;
mod people;
mod policy;
mod replay;
mod rerate;
mod scenarios;
