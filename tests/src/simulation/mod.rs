//! Simulation: a hub, stores, tills and a bad network in one thread, over the shipping core, with a seed for everything that happens.
//!
//! Each step does one thing: a till asks, a message arrives, a node talks, a clock jumps, or something breaks. Nodes decide with `protocol::{allotment, continuity,
//! tenure}`, the functions that ship; what stands here is only where a node keeps its state and what the wire does to its messages.
//! After each step the books of the accounts that were touched are checked (`audit`). Invariant: the same seed and settings give the same run.

pub mod audit;
pub mod hub;
pub mod message;
pub mod mutant;
pub mod run;
pub mod store;
pub mod till;
pub mod world;

#[cfg(test)]
mod tests;

pub use audit::{Kind, Violation};
pub use mutant::Mutant;
pub use run::{Report, Settings, live, run};
pub use world::Outcome;
