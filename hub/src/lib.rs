//! The hub: the central server of Huitong. Stores report, ask and upload; head office imports, publishes and settles.
//!
//! `api` is what stores call; `session`, `enrol`, `report`, `grant`, `recall` and `ingest` are what it calls; `store` keeps everything. Nothing below the
//! handlers reads a clock. Invariant: an answer is given only after what it says is on disk.

pub mod account;
pub mod cli;
pub mod clock;
pub mod config;
pub mod import;
pub mod init;
pub mod make;
pub mod publish;
pub mod refold;
pub mod store;
