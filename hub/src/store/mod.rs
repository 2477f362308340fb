//! Store: the hub's database. `engine` knows the engine; the other files hold plain functions over `&mut Tx`, one noun per file.

pub mod account;
pub mod dataset;
pub mod engine;
pub mod exception;
pub mod organisation;
pub mod posting;
pub mod root;
pub mod token;

pub use engine::{Row, Store, StoreError, Tx, Value};
