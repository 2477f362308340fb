//! Store: the hub's database. `engine` knows the engine; the other files hold plain functions over `&mut Tx`, one noun per file.

pub mod dataset;
pub mod engine;
pub mod exception;

pub use engine::{Row, Store, StoreError, Tx, Value};
