//! Reads the layers, merges them and hands out the result: default < file < environment < flag.
//!
//! Invariant: reading has no effect beyond reading. All layers are looked at before anything is refused, so that one
//! start shows everything there is to mend.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::decode::{Extent, Known, decode, env_name};
use crate::fault::{ConfigError, Fault, Problem};
use crate::origin::Origin;
use crate::settings::{self, Loaded};
use crate::suggest;
use crate::tree::{self, Lines, Node};

/// A complete, commented sample has some 20 KiB; a file of this size was named by mistake.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Collects where to read from. Nothing is read before [`Loader::load`].
#[derive(Debug, Clone)]
pub struct Loader {
    env_prefix: String,
    file: Option<(PathBuf, Presence)>,
    environment: Option<Vec<(OsString, OsString)>>,
    env_reserved: Vec<String>,
    flags: Vec<(String, String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

impl Loader {
    /// A loader of nothing but defaults and the process's environment variables that begin with `env_prefix` and `_`:
    /// with the prefix `HUITONG_EDGE`, `sync.hub_url` is `HUITONG_EDGE_SYNC__HUB_URL`.
    #[must_use]
    pub fn new(env_prefix: &str) -> Self {
        Self {
            env_prefix: env_prefix.to_owned(),
            file: None,
            environment: None,
            env_reserved: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// Reads this file; that it does not exist is a fault, since somebody named it.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some((path.into(), Presence::Required));
        self
    }

    /// Reads this file if it exists, unless [`Loader::file`] names another.
    #[must_use]
    pub fn default_file(mut self, path: impl Into<PathBuf>) -> Self {
        if self.file.is_none() {
            self.file = Some((path.into(), Presence::Optional));
        }
        self
    }

    /// Uses these variables instead of the process's own: for tests, and for several daemons in one process.
    #[must_use]
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        self.environment = Some(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        self
    }

    /// Leaves the variable `name` (in full, such as `HUITONG_EDGE_CONFIG`) alone: it begins with the prefix and belongs
    /// to the command line.
    #[must_use]
    pub fn env_reserved(mut self, name: &str) -> Self {
        self.env_reserved.push(name.to_owned());
        self
    }

    /// Values from the command line by dotted key, as `--set KEY=VALUE` gives them (see [`assignment`]).
    #[must_use]
    pub fn flags<K, V>(mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        for (key, value) in pairs {
            let key = key.into();
            self.flags.push((format!("--set {key}"), key, value.into()));
        }
        self
    }

    /// A value from a flag of its own, such as `--listen` for `api.listen`.
    #[must_use]
    pub fn flag(mut self, name: &str, key: &str, value: impl Into<String>) -> Self {
        self.flags.push((name.to_owned(), key.to_owned(), value.into()));
        self
    }

    /// Reads all layers. `T` must refuse unknown fields and take defaults for the rest
    /// (`#[serde(deny_unknown_fields, default)]`), its keys must be in lower case, and it must serialise under the same names.
    ///
    /// # Errors
    /// Every fault that could be found at once.
    pub fn load<T>(&self) -> Result<Loaded<T>, ConfigError>
    where
        T: for<'de> Deserialize<'de> + Serialize + Default,
    {
        // A default that has no JSON form costs the suggestions, not the start; the value itself is checked below.
        let defaults = serde_json::to_value(T::default()).unwrap_or_default();
        let keys = settings::keys(&defaults);
        let known = Known { env_prefix: &self.env_prefix, keys: &keys };

        let mut faults = Vec::new();
        let mut whole = Node::root();
        for (layer, mut layer_faults) in [self.read_file(), self.read_environment(&known), self.read_flags()] {
            // What the parser guessed around a syntax fault is good for finding nothing but echoes of that fault.
            if !layer_faults.iter().any(|fault| matches!(fault.problem, Problem::Syntax { .. } | Problem::Duplicate))
                && !layer.is_empty()
                && let Err(found) = decode::<T>(layer.clone(), Extent::Layer, &known)
            {
                layer_faults.extend(found);
            }
            faults.extend(layer_faults);
            whole.overlay(layer);
        }
        if !faults.is_empty() {
            return Err(ConfigError::new(faults));
        }

        let value: T = decode(whole.clone(), Extent::Whole, &known).map_err(ConfigError::new)?;
        let json = serde_json::to_value(&value).map_err(|error| {
            ConfigError::from(Fault {
                origin: Origin::Default,
                key: String::new(),
                problem: Problem::BadValue { reason: format!("the configuration cannot be shown: {error}") },
                suggestion: None,
            })
        })?;
        Ok(Loaded { settings: settings::list(&json, &whole), value })
    }

    fn read_file(&self) -> (Node, Vec<Fault>) {
        let Some((path, presence)) = &self.file else {
            return (Node::root(), Vec::new());
        };
        let refused = |line, column, problem| {
            let origin = Origin::File { path: path.clone(), line, column };
            (Node::root(), vec![Fault { origin, key: String::new(), problem, suggestion: None }])
        };
        let bytes = match read_limited(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return match presence {
                    Presence::Optional => (Node::root(), Vec::new()),
                    Presence::Required => refused(0, 0, Problem::FileMissing),
                };
            }
            Err(error) => {
                return refused(0, 0, Problem::FileUnreadable { reason: error.to_string() });
            }
        };
        if u64::try_from(bytes.len()).is_ok_and(|size_bytes| size_bytes > FILE_BYTES_MAX) {
            return refused(0, 0, Problem::FileTooLarge { limit_bytes: FILE_BYTES_MAX });
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => tree::from_file(path, text),
            Err(error) => {
                let valid = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
                let (line, column) = Lines::new(&valid).position(valid.len());
                refused(line, column, Problem::NotText)
            }
        }
    }

    fn read_environment(&self, known: &Known<'_>) -> (Node, Vec<Fault>) {
        let prefix = format!("{}_", self.env_prefix);
        let process;
        let variables = match &self.environment {
            Some(variables) => variables,
            None => {
                process = std::env::vars_os().collect::<Vec<_>>();
                &process
            }
        };
        let mut mine: Vec<(String, &OsStr)> = variables
            .iter()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.as_os_str()))
            .filter(|(name, _)| name.starts_with(&prefix) && !self.env_reserved.contains(name))
            .collect();
        // The operating system promises no order, and messages should have one.
        mine.sort();

        let (mut root, mut faults) = (Node::root(), Vec::new());
        for (name, value) in mine {
            let origin = Origin::Env { name: name.clone() };
            let key = name.strip_prefix(&prefix).unwrap_or_default().to_lowercase().replace("__", ".");
            let Some(value) = value.to_str() else {
                faults.push(Fault { origin, key, problem: Problem::NotText, suggestion: None });
                continue;
            };
            if !is_path(&key) {
                let near = suggest::key(&key, &[], known.keys);
                faults.push(Fault {
                    origin,
                    key,
                    problem: Problem::UnknownKey,
                    suggestion: near.map(|near| format!("did you mean `{}`?", env_name(&self.env_prefix, &near))),
                });
                continue;
            }
            if let Err(fault) = root.insert(Node::from_raw(&key, &origin, value)) {
                faults.push(*fault);
            }
        }
        (root, faults)
    }

    fn read_flags(&self) -> (Node, Vec<Fault>) {
        let (mut root, mut faults) = (Node::root(), Vec::new());
        for (name, key, value) in &self.flags {
            let origin = Origin::Flag { name: name.clone() };
            if !is_path(key) {
                faults.push(Fault {
                    origin,
                    key: key.clone(),
                    problem: Problem::UnknownKey,
                    suggestion: Some("write the key as words with dots between them, such as sync.hub_url".to_owned()),
                });
            } else if let Err(fault) = root.insert(Node::from_raw(key, &origin, value)) {
                faults.push(*fault);
            }
        }
        (root, faults)
    }
}

/// Splits `KEY=VALUE`, in the form that a command line parser wants its value parsers.
///
/// # Errors
/// There is no `=`, or nothing before it.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if is_path(key.trim()) => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE with a dotted key, such as sync.hub_url=http://127.0.0.1:7070".to_owned()),
    }
}

/// The configuration as a file that loads to the same value. **Secrets are in it in clear**: for files, not for screens.
///
/// # Errors
/// The value has no TOML form (a number beyond 63 bits).
pub fn file_text<T: Serialize>(value: &T) -> Result<String, ConfigError> {
    toml::to_string_pretty(value).map_err(|error| {
        ConfigError::from(Fault {
            origin: Origin::Default,
            key: String::new(),
            problem: Problem::BadValue { reason: format!("the configuration has no TOML form: {error}") },
            suggestion: None,
        })
    })
}

/// Reads one byte more than allowed, so that the caller sees that there is more.
fn read_limited(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Words with single dots between them.
fn is_path(key: &str) -> bool {
    key.split('.').all(|word| !word.is_empty() && !word.contains(char::is_whitespace))
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
