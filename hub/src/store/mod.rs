//! Store: the hub's database. `engine` knows the engine; the other files hold plain functions over `&mut Tx`, one noun per file.

pub mod account;
pub mod adoption;
pub mod allotment;
pub mod audit;
pub mod card;
pub mod claim;
pub mod cursor;
pub mod dataset;
pub mod day;
pub mod deferred;
pub mod device;
pub mod engine;
pub mod exception;
pub mod funding;
pub mod hq_token;
pub mod item;
pub mod journal;
pub mod member;
pub mod member_request;
pub mod organisation;
pub mod parameters;
pub mod parking;
pub mod phone_key;
pub mod policy;
pub mod posting;
pub mod refused;
pub mod root;
pub mod schedule;
pub mod sealing_key;
pub mod settlement;
pub mod signature;
pub mod suspense;
pub mod tender_reference;
pub mod tenure;
pub mod token;

pub use engine::{Row, Store, StoreError, Tx, Value};
