//! The books, from journals to statements: what settles, what is late, what is proved, and that a planted change is found.

mod settle;
mod shop;
mod verify;
