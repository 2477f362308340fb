//! The books, from journals to statements: what settles, what is late, what is proved, and that a planted change is found.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it needs")]

mod allot;
mod funding;
mod hq;
mod settle;
mod shop;
mod verify;
