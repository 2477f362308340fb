//! Where one value came from. Nothing here reads anything.
//!
//! Invariant: the order of the variants is the order of the layers, so that sorting by origin sorts by precedence
//! and, within a file, by place.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// The place that set a value, or that holds a fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// Nobody set it: the value is the program's own.
    Default,
    /// A place in a file; line and column count from 1, the column in characters. Line 0 means the file as a whole.
    File {
        /// The path as it was given.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Env {
        /// The name of the variable as it stands in the environment.
        name: String,
    },
    /// A flag on the command line.
    Flag {
        /// The flag as one would type it, without its value.
        name: String,
    },
}

impl Origin {
    /// The place inside a file down to the line: what a reader of a list needs; errors use the full form.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Self::File { path, line, .. } => format!("file {}:{line}", path.display()),
            Self::Env { name } => format!("env {name}"),
            Self::Flag { name } => format!("flag {name}"),
            Self::Default => "default".to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Env { name } => write!(f, "environment variable {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
        }
    }
}
