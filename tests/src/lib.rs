//! The whole system: towns, scenarios, replay, benchmarks, and what the binaries `demo`, `replay` and `bench` are made of.

pub mod bench;
pub mod clock;
pub mod command;
pub mod demo;
pub mod disk;
pub mod documents;
pub mod memory;
pub mod process;
pub mod proxy;
pub mod replay;
pub mod scenario;
pub mod shopkeeper;
pub mod simulation;
pub mod till;
pub mod town;
pub mod wire;
