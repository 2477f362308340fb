//! A configuration that was loaded without fault, and the list that shows it: each key, its value, and who said so.
//!
//! Invariant: the list is made from the value that the daemon uses, not from what was read, so it cannot say anything else
//! than what is in force; secrets are masked before they enter it.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::fault::{ConfigError, Fault, Problem};
use crate::origin::Origin;
use crate::secret::{MASK, is_secret};
use crate::tree::{Node, Tree};

/// A value wider than this does not push the origins of all others to the right.
const VALUE_COLUMN_CHARS_MAX: usize = 48;

/// One key in force. An array is one setting, since it is set as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// Dotted path.
    pub key: String,
    /// The value in force; [`MASK`] for a secret, `null` for an optional setting that is not set.
    pub value: Value,
    /// Who set it.
    pub origin: Origin,
}

/// A configuration without faults.
pub struct Loaded<T> {
    /// What the daemon works with.
    pub value: T,
    /// Every key in force, sorted.
    pub settings: Vec<Setting>,
}

impl<T> Loaded<T> {
    /// Who set `key`: the setting itself, or for a table the first of its settings that somebody set.
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        let below = format!("{key}.");
        self.settings
            .iter()
            .filter(|setting| setting.key == key || setting.key.starts_with(&below))
            .map(|setting| &setting.origin)
            .find(|origin| **origin != Origin::Default)
            .unwrap_or(&Origin::Default)
    }

    /// A refusal of the value of `key` by a daemon's own rule, reported where the value was set. `reason` must not quote
    /// a secret.
    #[must_use]
    pub fn refuse(&self, key: &str, reason: impl Into<String>, suggestion: Option<String>) -> ConfigError {
        ConfigError::from(Fault {
            origin: self.origin(key).clone(),
            key: key.to_owned(),
            problem: Problem::BadValue { reason: reason.into() },
            suggestion,
        })
    }

    /// `config print --origin` for people: three aligned columns, one setting per line.
    #[must_use]
    pub fn origins_text(&self) -> String {
        let rows: Vec<_> =
            self.settings.iter().map(|setting| (&setting.key, shown(&setting.value), setting.origin.short())).collect();
        let chars = |text: &str| text.chars().count();
        let key_width = rows.iter().map(|(key, ..)| chars(key)).max().unwrap_or(0);
        let value_width = rows.iter().map(|(_, value, _)| chars(value)).max().unwrap_or(0).min(VALUE_COLUMN_CHARS_MAX);
        rows.iter().map(|(key, value, origin)| format!("{key:key_width$}  {value:value_width$}  {origin}\n")).collect()
    }

    /// `config print --origin --json`: a list of `{key, value, origin}`.
    #[must_use]
    pub fn origins_json(&self) -> Value {
        self.settings
            .iter()
            .map(|setting| serde_json::json!({ "key": setting.key, "value": setting.value, "origin": setting.origin }))
            .collect()
    }
}

impl<T> fmt::Debug for Loaded<T> {
    /// Shows the masked list instead of the value, so that no log shows a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A value as a reader of the file knows it; `null` does not exist there.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) if text == MASK => MASK.to_owned(),
        other => other.to_string(),
    }
}

/// Lists what is in force, with the origins that `root` knows.
pub(crate) fn list(value: &Value, root: &Node) -> Vec<Setting> {
    let mut settings = Vec::new();
    collect(String::new(), value, &mut |key, value| {
        let origin = match root.setter(&key) {
            // An empty table in the file sets nothing.
            Some(Node { tree: Tree::Table(table), .. }) if table.is_empty() && value.is_object() => Origin::Default,
            Some(node) => node.at.clone(),
            None => Origin::Default,
        };
        settings.push(Setting { value: masked(&key, value), key, origin });
    });
    // The order of the map underneath depends on how the program was built.
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    settings
}

/// Every dotted key of `value`, tables included.
pub(crate) fn keys(value: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    collect(String::new(), value, &mut |key, _| {
        // The tables on the way to a key are keys as well.
        let tables = key.match_indices('.').filter_map(|(at, _)| key.get(..at)).map(str::to_owned);
        keys.extend(tables.chain([key.clone()]));
    });
    keys.sort();
    keys.dedup();
    keys
}

fn collect(key: String, value: &Value, found: &mut impl FnMut(String, &Value)) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (word, value) in table {
                let key = if key.is_empty() { word.clone() } else { format!("{key}.{word}") };
                collect(key, value, found);
            }
        }
        // A configuration without any setting.
        _ if key.is_empty() => {}
        _ => found(key, value),
    }
}

fn masked(key: &str, value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        _ if is_secret(key) => Value::String(MASK.to_owned()),
        Value::Array(items) => items.iter().map(|item| masked(key, item)).collect(),
        Value::Object(table) => {
            table.iter().map(|(word, value)| (word.clone(), masked(&format!("{key}.{word}"), value))).collect()
        }
        plain => plain.clone(),
    }
}
