//! From the tree to the daemon's own types, finding every fault instead of the first.
//!
//! How: the types are decoded; when that fails, the fault is noted, the culprit is taken out of the tree (its default
//! then stands in) and decoding starts again. A table from which something was taken may fail for that alone; such a
//! failure is ours and is not reported.
//!
//! Invariant: a value comes out only when no fault was noted.

use std::collections::HashSet;
use std::fmt::Display;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_path_to_error::{Path, Segment};
use thiserror::Error;

use crate::fault::{Fault, Problem};
use crate::origin::Origin;
use crate::secret::{MASK, is_secret};
use crate::suggest;
use crate::tree::{Node, Tree};

/// More faults than this at once help nobody, and each costs a decoding.
pub(crate) const FAULTS_MAX: usize = 64;

/// Text of a value is quoted up to here, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// What suggestions are made from.
pub(crate) struct Known<'a> {
    /// `HUITONG_EDGE`, to write suggestions as variables.
    pub(crate) env_prefix: &'a str,
    /// Every dotted key of the default configuration.
    pub(crate) keys: &'a [String],
}

/// How much of a configuration a tree holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All layers: what is missing or does not go together is a fault.
    Whole,
    /// One layer: only what no other layer could mend is a fault.
    Layer,
}

/// Decodes `root`, or says everything that is wrong with it.
pub(crate) fn decode<T>(mut root: Node, extent: Extent, known: &Known<'_>) -> Result<T, Vec<Fault>>
where
    T: for<'de> Deserialize<'de>,
{
    let mut faults = Vec::new();
    // Keys of the tables that lost something to this loop.
    let mut holed: HashSet<String> = HashSet::new();
    for _ in 0..FAULTS_MAX {
        let (path, error) = match serde_path_to_error::deserialize(NodeDeserializer(&root)) {
            Ok(value) if faults.is_empty() && holed.is_empty() => return Ok(value),
            Ok(_) => return Err(faults),
            Err(error) => (error.path().clone(), error.into_inner()),
        };
        let (steps, culprit) = locate(&root, &path);
        let ours = holed.contains(&culprit.key);
        let whole_only = matches!(error, DecodeError::Missing(_) | DecodeError::Refused(_));
        if !ours && (extent == Extent::Whole || !whole_only) {
            faults.push(fault(culprit, error, known));
        }
        if !remove(&mut root, &steps, &mut holed) {
            break;
        }
    }
    Err(faults)
}

/// A step from a node to one of its children.
enum Step {
    Word(String),
    Index(usize),
}

/// The node that `path` leads to, or the last one on the way that exists.
fn locate<'a>(root: &'a Node, path: &Path) -> (Vec<Step>, &'a Node) {
    let mut steps = Vec::new();
    let mut here = root;
    for segment in path.iter() {
        let next = match (segment, &here.tree) {
            (Segment::Map { key: word } | Segment::Enum { variant: word }, Tree::Table(table)) => {
                table.get(word).map(|node| (Step::Word(word.clone()), node))
            }
            (Segment::Seq { index }, Tree::Array(items)) => items.get(*index).map(|node| (Step::Index(*index), node)),
            _ => None,
        };
        let Some((step, node)) = next else { break };
        steps.push(step);
        here = node;
    }
    (steps, here)
}

/// Takes the node at the end of `steps` out and notes every table above it; `false` when that is the root itself.
fn remove(root: &mut Node, steps: &[Step], holed: &mut HashSet<String>) -> bool {
    let Some((last, way)) = steps.split_last() else {
        return false;
    };
    let mut here = root;
    holed.insert(here.key.clone());
    for step in way {
        let next = match (step, &mut here.tree) {
            (Step::Word(word), Tree::Table(table)) => table.get_mut(word),
            (Step::Index(index), Tree::Array(items)) => items.get_mut(*index),
            _ => None,
        };
        let Some(next) = next else { return false };
        here = next;
        holed.insert(here.key.clone());
    }
    match (last, &mut here.tree) {
        (Step::Word(word), Tree::Table(table)) => table.remove(word).is_some(),
        (Step::Index(index), Tree::Array(items)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

fn fault(culprit: &Node, error: DecodeError, known: &Known<'_>) -> Fault {
    let secret = is_secret(&culprit.key);
    let (origin, key) = (culprit.at.clone(), culprit.key.clone());
    let shown = |found: String| if secret { MASK.to_owned() } else { found };
    match error {
        DecodeError::UnknownField(siblings) => Fault {
            suggestion: unknown_key_suggestion(culprit, siblings, known),
            origin: culprit.key_at.clone(),
            key,
            problem: Problem::UnknownKey,
        },
        DecodeError::UnknownVariant { given, choices } => Fault {
            origin,
            key,
            problem: Problem::WrongType { expected: one_of(choices), found: shown(quoted(&given)) },
            suggestion: suggest::nearest(&given, choices.iter().copied())
                .filter(|_| !secret)
                .map(|near| format!("did you mean \"{near}\"?")),
        },
        DecodeError::Type { expected, found } => Fault {
            suggestion: type_suggestion(culprit, &expected),
            origin,
            key,
            problem: Problem::WrongType { expected: in_words(&expected), found: shown(found) },
        },
        DecodeError::Missing(field) => Fault {
            origin,
            key: if key.is_empty() { field.to_owned() } else { format!("{key}.{field}") },
            problem: Problem::Missing,
            suggestion: None,
        },
        // A refusal may quote the value, so of a secret only the fact is told.
        DecodeError::Refused(reason) => Fault {
            origin,
            key,
            problem: Problem::BadValue { reason: if secret { "the value is not accepted".to_owned() } else { reason } },
            suggestion: None,
        },
    }
}

fn unknown_key_suggestion(culprit: &Node, siblings: &[&str], known: &Known<'_>) -> Option<String> {
    let spelled = |key: &str| match culprit.key_at {
        Origin::Env { .. } => env_name(known.env_prefix, key),
        _ => key.to_owned(),
    };
    if let Some(key) = suggest::key(&culprit.key, siblings, known.keys) {
        return Some(format!("did you mean `{}`?", spelled(&key)));
    }
    let table = culprit.key.rsplit_once('.').map_or("", |(table, _)| table);
    let here = |word: &&str| {
        if table.is_empty() { spelled(word) } else { spelled(&format!("{table}.{word}")) }
    };
    (!siblings.is_empty()).then(|| {
        format!(
            "known here: {}",
            siblings.iter().map(here).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
        )
    })
}

/// The two commonest slips of a file: a number in quotes, and a word without.
fn type_suggestion(culprit: &Node, expected: &str) -> Option<String> {
    let in_file = matches!(culprit.at, Origin::File { .. });
    let advice = match &culprit.tree {
        Tree::Text(text) if in_file && wants_number(expected) && text.parse::<i64>().is_ok() => {
            "write it without quotes"
        }
        Tree::Text(text) if in_file && expected == "a boolean" && matches!(text.as_str(), "true" | "false") => {
            "write it without quotes"
        }
        Tree::Integer(_) | Tree::Float(_) | Tree::Bool(_) if in_file && wants_text(expected) => "write it in quotes",
        _ => return None,
    };
    Some(advice.to_owned())
}

fn wants_number(expected: &str) -> bool {
    number_range(expected).is_some() || matches!(expected, "f64" | "f32")
}

fn wants_text(expected: &str) -> bool {
    matches!(expected, "a string" | "string" | "path string")
}

/// The environment variable that sets `key`.
pub(crate) fn env_name(prefix: &str, key: &str) -> String {
    format!("{prefix}_{}", key.to_uppercase().replace('.', "__"))
}

fn one_of(choices: &[&str]) -> String {
    let quoted: Vec<_> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

/// Names of types in the words of someone who has never seen the program's source.
fn in_words(expected: &str) -> String {
    match number_range(expected) {
        // Nobody is helped by nineteen digits.
        Some((i64::MIN, _)) => return "a whole number".to_owned(),
        Some((least, i64::MAX)) => return format!("a whole number from {least}"),
        Some((least, most)) => return format!("a whole number from {least} to {most}"),
        None => {}
    }
    match expected {
        "a boolean" => "true or false".to_owned(),
        "f64" | "f32" => "a number".to_owned(),
        "a string" | "string" | "path string" => "text".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "a table".to_owned(),
        _ if expected.starts_with("struct ") => "a table".to_owned(),
        _ if expected.starts_with("enum ") => "a word".to_owned(),
        _ => expected.to_owned(),
    }
}

/// Least and most of a whole-number type. A TOML number has 63 bits and a sign, so wider types end there.
fn number_range(expected: &str) -> Option<(i64, i64)> {
    Some(match expected {
        "u8" => (0, i64::from(u8::MAX)),
        "u16" => (0, i64::from(u16::MAX)),
        "u32" => (0, i64::from(u32::MAX)),
        "u64" | "usize" | "u128" => (0, i64::MAX),
        "i8" => (i64::from(i8::MIN), i64::from(i8::MAX)),
        "i16" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "i32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "i64" | "isize" | "i128" => (i64::MIN, i64::MAX),
        _ => return None,
    })
}

fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if text.chars().count() > QUOTED_CHARS_MAX {
        shown.push('…');
    }
    format!("the text {shown:?}")
}

/// What decoding one value can fail with, kept in parts so that it can be said well.
#[derive(Debug, Error)]
enum DecodeError {
    #[error("unknown field")]
    UnknownField(&'static [&'static str]),
    #[error("unknown variant {given}")]
    UnknownVariant { given: String, choices: &'static [&'static str] },
    #[error("expected {expected}, found {found}")]
    Type { expected: String, found: String },
    #[error("missing field {0}")]
    Missing(&'static str),
    #[error("{0}")]
    Refused(String),
}

impl serde::de::Error for DecodeError {
    fn custom<M: Display>(message: M) -> Self {
        Self::Refused(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Bool(yes) => yes.to_string(),
            Unexpected::Unsigned(number) => format!("the number {number}"),
            Unexpected::Signed(number) => format!("the number {number}"),
            Unexpected::Float(number) => format!("the number {number}"),
            Unexpected::Str(text) => quoted(text),
            Unexpected::Seq => "an array".to_owned(),
            Unexpected::Map => "a table".to_owned(),
            other => other.to_string(),
        };
        Self::Type { expected: expected.to_string(), found }
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(given: &str, choices: &'static [&'static str]) -> Self {
        Self::UnknownVariant { given: given.to_owned(), choices }
    }

    fn unknown_field(_field: &str, siblings: &'static [&'static str]) -> Self {
        Self::UnknownField(siblings)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

/// Gives one node to serde.
#[derive(Clone, Copy)]
struct NodeDeserializer<'de>(&'de Node);

impl<'de> IntoDeserializer<'de, DecodeError> for NodeDeserializer<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.0.tree {
            Tree::Bool(yes) => visitor.visit_bool(*yes),
            Tree::Integer(number) => visitor.visit_i64(*number),
            Tree::Float(number) => visitor.visit_f64(*number),
            Tree::Text(text) => visitor.visit_borrowed_str(text),
            Tree::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(NodeDeserializer))),
            Tree::Table(table) => visitor.visit_map(MapDeserializer::new(
                table.iter().map(|(word, node)| (word.as_str(), NodeDeserializer(node))),
            )),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match (&self.0.tree, &self.0.raw) {
            (Tree::Text(_), _) | (_, None) => self.deserialize_any(visitor),
            (_, Some(raw)) => visitor.visit_borrowed_str(raw),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.0.tree {
            Tree::Text(word) => visitor.visit_enum(IntoDeserializer::<DecodeError>::into_deserializer(word.as_str())),
            Tree::Table(table) if table.len() == 1 => visitor.visit_enum(MapAccessDeserializer::new(
                MapDeserializer::new(table.iter().map(|(word, node)| (word.as_str(), NodeDeserializer(node)))),
            )),
            Tree::Table(_) => Err(DecodeError::Type {
                expected: format!("one key out of {}", one_of(variants)),
                found: "a table with another number of keys".to_owned(),
            }),
            // The visitor would speak of the program's own type name.
            _ => match self.deserialize_any(visitor) {
                Err(DecodeError::Type { found, .. }) => Err(DecodeError::Type { expected: one_of(variants), found }),
                other => {
                    debug_assert!(other.is_err(), "enum {name} was made from a bare value");
                    other
                }
            },
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}
