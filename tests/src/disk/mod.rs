//! Disk: the store's own database code on a disk that loses, tears and fails.
//!
//! Below it is a file system for the engine whose disk is an image in memory ([`image`], [`device`], [`file_system`]); on it stands the store with
//! its routes ([`shop`]); tills and sync do scripted days ([`script`]). [`sweep`] cuts the power at every sync of a day, [`storm`] lets any call
//! fail. The code under test is what is shipped: it is only told which file system to use.

pub mod device;
pub mod file_system;
pub mod image;
pub mod rows;
pub mod script;
mod shared_memory;
pub mod shop;
pub mod storm;
pub mod sweep;
