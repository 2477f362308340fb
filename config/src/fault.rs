//! What is wrong with a configuration, said so that the operator can put it right without reading the manual.
//!
//! Invariant: a fault names its place, its key and the problem; it never shows the value of a secret.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::origin::Origin;

/// What kind of fault it is, with what is needed to say it.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// No setting has this name.
    #[error("there is no such setting")]
    UnknownKey,
    /// The value has another type, or lies outside the range of its type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What would be accepted.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The value has the right type and is refused.
    #[error("{reason}")]
    BadValue {
        /// Why it is refused.
        reason: String,
    },
    /// A setting without a default was not given.
    #[error("is required and not set")]
    Missing,
    /// The same key twice in one layer; neither wins.
    #[error("is set twice")]
    Duplicate,
    /// The text is not TOML.
    #[error("not valid TOML: {reason}")]
    Syntax {
        /// What the parser said.
        reason: String,
    },
    /// A file that was named explicitly does not exist.
    #[error("the file does not exist")]
    FileMissing,
    /// The file exists and cannot be read.
    #[error("the file cannot be read: {reason}")]
    FileUnreadable {
        /// What the operating system said.
        reason: String,
    },
    /// The file is larger than any configuration is.
    #[error("the file is larger than {limit_bytes} bytes")]
    FileTooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The file or variable is not UTF-8.
    #[error("not UTF-8 text")]
    NotText,
}

/// One fault, with its place and, where one is known, the way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where it stands.
    pub origin: Origin,
    /// The dotted path of the setting; empty when the fault concerns the whole source.
    pub key: String,
    /// What is wrong.
    #[serde(flatten)]
    pub problem: Problem,
    /// What to do about it, as a sentence without its full stop.
    pub suggestion: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A missing value has no place; "default:" in front of it would only puzzle.
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        write!(f, "{}", self.problem)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; {suggestion}")?;
        }
        Ok(())
    }
}

/// Every fault that could be found in one reading, in the order of the layers and of the lines.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl ConfigError {
    /// Orders `faults` by place and drops what was found twice.
    #[must_use]
    pub fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort_by(|a, b| (&a.origin, &a.key).cmp(&(&b.origin, &b.key)));
        faults.dedup();
        Self { faults }
    }

    /// The faults, in order.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The faults as JSON, for `--json`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let faults: Vec<_> = self
            .faults
            .iter()
            .map(|fault| {
                serde_json::json!({
                    "key": fault.key,
                    "origin": fault.origin,
                    "problem": fault.problem,
                    "message": fault.to_string(),
                    "suggestion": fault.suggestion,
                })
            })
            .collect();
        serde_json::json!({ "faults": faults })
    }
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [only] => write!(f, "fault in the configuration: {only}"),
            faults => {
                write!(f, "{} faults in the configuration:", faults.len())?;
                for fault in faults {
                    write!(f, "\n  {fault}")?;
                }
                Ok(())
            }
        }
    }
}
