//! What both daemons are told before they start: default < file < environment < flag, in that order; and what they share around their work.
//!
//! Lives here: reading the layers, merging them, naming every fault with its place and a way out, and showing
//! where each value came from. Further, as both daemons do it alike and `protocol` does no I/O: what every code means ([`explain`]), the connections
//! under their APIs ([`serve`]), and the form of a request's failure ([`problem`]). Does not live here: what the keys mean (each daemon's own
//! `config.rs`), routes and codes (each daemon's own `api`), and policies, which are published by the hub and read by `protocol`.
//!
//! Invariant: a value is used only when the whole configuration is free of faults, and every value that is used can
//! name the line, variable or flag that set it.
//!
//! ```
//! use huitong_config::{Loader, Millis};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! #[serde(deny_unknown_fields, default)]
//! struct Settings {
//!     poll: Millis,
//! }
//!
//! impl Default for Settings {
//!     fn default() -> Self {
//!         Self { poll: Millis::seconds(25) }
//!     }
//! }
//!
//! let loaded = Loader::new("HUITONG_EDGE")
//!     .environment([("HUITONG_EDGE_POLL", "2m")])
//!     .load::<Settings>()?;
//! assert_eq!(loaded.value.poll, Millis::minutes(2));
//! # Ok::<(), huitong_config::ConfigError>(())
//! ```

mod decode;
mod explain;
mod fault;
mod loader;
mod millis;
mod origin;
pub mod problem;
mod secret;
pub mod serve;
mod settings;
mod size;
mod suggest;
mod tree;

pub use explain::{Explanation, Kind, Language, UnknownCode, codes, explain, explain_all, meaning};
pub use fault::{ConfigError, Fault, Problem};
pub use loader::{Loader, assignment, file_text};
pub use millis::{Millis, MillisError};
pub use origin::Origin;
pub use secret::{MASK, is_secret};
pub use settings::{Loaded, Setting};
pub use size::{ByteSize, ByteSizeError};

/// Exit code of a process that will not start because of its configuration: `EX_CONFIG` of `sysexits.h`.
pub const EXIT_CONFIG: u8 = 78;
