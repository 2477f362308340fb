//! One layer of configuration, or several merged: a tree whose every node knows its key and its place.
//!
//! Lives here: making the tree from a TOML file and from single values, and merging. What the tree means to a daemon's
//! types is decided in `decode`.
//!
//! Invariant: a later layer replaces an earlier value whole and only tables are merged, so each value has one origin.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, Problem};
use crate::origin::Origin;

/// A value with its dotted key and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The full path, `sync.hub_url` or `tills[0].name`; empty at the root.
    pub(crate) key: String,
    /// Where the key stands: what an unknown key is reported at.
    pub(crate) key_at: Origin,
    /// Where the value stands: what a wrong value is reported at.
    pub(crate) at: Origin,
    /// The text as given by a variable or a flag. A setting that wants text gets this one, so that a password of
    /// digits is not a number and keeps its leading zeros.
    pub(crate) raw: Option<String>,
    pub(crate) tree: Tree,
}

/// What a node holds. A TOML date is held as its text: no setting of ours is a date of the parser's own type.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    /// The empty configuration.
    pub(crate) fn root() -> Self {
        Self {
            key: String::new(),
            key_at: Origin::Default,
            at: Origin::Default,
            raw: None,
            tree: Tree::Table(BTreeMap::new()),
        }
    }

    /// A value given by a variable or a flag: a TOML value where it is one, else the text itself.
    pub(crate) fn from_raw(key: &str, origin: &Origin, raw: &str) -> Self {
        let mut beyond = Vec::new();
        let tree = DeValue::parse(raw).ok().map(|value| {
            let mut reader = Reader { place: &|_| origin.clone(), faults: &mut beyond };
            reader.read(key, &value)
        });
        let tree = match tree {
            Some(Some(tree)) if beyond.is_empty() => tree,
            _ => Tree::Text(raw.to_owned()),
        };
        Self { key: key.to_owned(), key_at: origin.clone(), at: origin.clone(), raw: Some(raw.to_owned()), tree }
    }

    /// Puts `node` at its own key, making the tables on the way.
    ///
    /// # Errors
    /// The key, or a table on the way to it, already has a value in this layer: neither wins.
    pub(crate) fn insert(&mut self, node: Self) -> Result<(), Box<Fault>> {
        let path = node.key.clone();
        let mut words = path.split('.').peekable();
        let mut here = self;
        while let Some(word) = words.next() {
            let key = if here.key.is_empty() { word.to_owned() } else { format!("{}.{word}", here.key) };
            let first_at = here.at.clone();
            let Tree::Table(table) = &mut here.tree else {
                return Err(Box::new(Fault {
                    origin: node.at.clone(),
                    key: path.clone(),
                    problem: Problem::Duplicate,
                    suggestion: Some(format!("`{}` is set as a whole by {first_at}", here.key)),
                }));
            };
            if words.peek().is_none() {
                if let Some(first) = table.get(word) {
                    return Err(Box::new(Fault {
                        origin: node.at.clone(),
                        key: path.clone(),
                        problem: Problem::Duplicate,
                        suggestion: Some(format!("it is also set by {}", first.at)),
                    }));
                }
                table.insert(word.to_owned(), node);
                return Ok(());
            }
            here = table.entry(word.to_owned()).or_insert_with(|| Self {
                key,
                key_at: node.at.clone(),
                at: node.at.clone(),
                raw: None,
                tree: Tree::Table(BTreeMap::new()),
            });
        }
        Ok(())
    }

    /// Lays `over` on top: tables are merged, everything else is replaced.
    pub(crate) fn overlay(&mut self, over: Self) {
        match (&mut self.tree, over.tree) {
            (Tree::Table(below), Tree::Table(above)) => {
                for (word, node) in above {
                    match below.get_mut(&word) {
                        Some(under) => under.overlay(node),
                        None => {
                            below.insert(word, node);
                        }
                    }
                }
            }
            (_, tree) => *self = Self { tree, ..over },
        }
    }

    /// The node that set `key`: the one at that path, or the nearest above it that is not a table.
    pub(crate) fn setter(&self, key: &str) -> Option<&Self> {
        let mut here = self;
        for word in key.split('.') {
            let Tree::Table(table) = &here.tree else {
                return Some(here);
            };
            here = table.get(word)?;
        }
        Some(here)
    }

    /// Whether nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.tree, Tree::Table(table) if table.is_empty())
    }
}

/// Reads a file's text. With syntax faults the tree holds what could be understood, good for nothing but finding
/// more faults.
pub(crate) fn from_file(path: &Path, text: &str) -> (Node, Vec<Fault>) {
    let lines = Lines::new(text);
    let place = |offset: usize| {
        let (line, column) = lines.position(offset);
        Origin::File { path: path.to_owned(), line, column }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut faults: Vec<Fault> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let (line, _) = lines.position(span.start);
        // One slip makes the parser stumble several times on its line; the first is the one to mend.
        if faults.iter().any(|fault| matches!(&fault.origin, Origin::File { line: seen, .. } if *seen == line)) {
            continue;
        }
        let duplicate = error.message() == DUPLICATE_MESSAGE;
        faults.push(Fault {
            origin: place(span.start),
            key: if duplicate { text.get(span).unwrap_or_default().to_owned() } else { lines.key_on(line).to_owned() },
            problem: if duplicate {
                Problem::Duplicate
            } else {
                Problem::Syntax { reason: error.message().to_owned() }
            },
            suggestion: duplicate.then(|| "keep one of the two".to_owned()),
        });
    }
    let mut root = Node::root();
    root.tree = Reader { place: &place, faults: &mut faults }.read_table("", table.get_ref());
    (root, faults)
}

/// How the parser words a key that is there twice; a test holds it to that.
const DUPLICATE_MESSAGE: &str = "duplicate key";

/// Turns the parser's values into ours and notes numbers that fit none of ours.
struct Reader<'a> {
    place: &'a dyn Fn(usize) -> Origin,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    /// `None` when a fault was noted instead.
    fn read(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Tree> {
        match value.get_ref() {
            DeValue::String(text) => Some(Tree::Text(text.clone().into_owned())),
            DeValue::Boolean(yes) => Some(Tree::Bool(*yes)),
            DeValue::Datetime(datetime) => Some(Tree::Text(datetime.to_string())),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) => Some(Tree::Integer(number)),
                Err(_) => self.beyond(key, value, "a whole number of at most 63 bits", integer),
            },
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(number) => Some(Tree::Float(number)),
                Err(_) => self.beyond(key, value, "a number", float),
            },
            DeValue::Array(array) => {
                let nodes = array.iter().enumerate().filter_map(|(index, item)| {
                    let key = format!("{key}[{index}]");
                    let at = (self.place)(item.span().start);
                    let tree = self.read(&key, item)?;
                    Some(Node { key, key_at: at.clone(), at, raw: None, tree })
                });
                Some(Tree::Array(nodes.collect()))
            }
            DeValue::Table(table) => Some(self.read_table(key, table)),
        }
    }

    fn read_table(&mut self, key: &str, table: &DeTable<'_>) -> Tree {
        let mut nodes = BTreeMap::new();
        for (word, value) in table {
            let key = if key.is_empty() { word.get_ref().to_string() } else { format!("{key}.{}", word.get_ref()) };
            let key_at = (self.place)(word.span().start);
            let at = match value.get_ref() {
                // The parser's place of a table is its header or its first brace; the key is what a reader looks for.
                DeValue::Table(_) => key_at.clone(),
                _ => (self.place)(value.span().start),
            };
            if let Some(tree) = self.read(&key, value) {
                nodes.insert(word.get_ref().to_string(), Node { key, key_at, at, raw: None, tree });
            }
        }
        Tree::Table(nodes)
    }

    fn beyond(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        found: &dyn std::fmt::Display,
    ) -> Option<Tree> {
        let found = if crate::is_secret(key) { crate::MASK.to_owned() } else { format!("the number {found}") };
        self.faults.push(Fault {
            origin: (self.place)(value.span().start),
            key: key.to_owned(),
            problem: Problem::WrongType { expected: expected.to_owned(), found },
            suggestion: None,
        });
        None
    }
}

/// Byte offsets as lines and columns.
pub(crate) struct Lines<'a> {
    text: &'a str,
    /// Offset of each line's first byte, ascending.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column, both from 1, the column in characters.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }

    /// The key that a broken line seems to set, as far as that can be seen; nothing that could be part of a value.
    fn key_on(&self, line: usize) -> &'a str {
        let text = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let key = text.split_once('=').map_or("", |(key, _)| key.trim());
        let plain = key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.');
        if plain { key } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Node, Vec<String>) {
        let (node, faults) = from_file(Path::new("edge.toml"), text);
        (node, faults.iter().map(ToString::to_string).collect())
    }

    fn env(key: &str, raw: &str) -> Node {
        Node::from_raw(key, &Origin::Env { name: key.to_uppercase() }, raw)
    }

    #[test]
    fn every_node_knows_its_key_and_place() {
        let (root, faults) = read("# 店\n[sync]\nhub_url = \"http://hub\"\npoll.fast = 1\n[[tills]]\nname = \"一\"\n");
        assert!(faults.is_empty(), "{faults:?}");
        let place = |key: &str| root.setter(key).map(|node| node.at.to_string());
        assert_eq!(place("sync.hub_url").as_deref(), Some("edge.toml:3:11"));
        assert_eq!(place("sync.poll.fast").as_deref(), Some("edge.toml:4:13"));
        assert_eq!(place("sync").as_deref(), Some("edge.toml:2:2"));
        assert_eq!(place("sync.other"), None);
        let Some(Tree::Array(tills)) = root.setter("tills").map(|node| &node.tree) else { panic!("tills") };
        assert_eq!(tills[0].key, "tills[0]");
    }

    #[test]
    fn a_duplicate_key_is_told_from_other_syntax_faults() {
        let (_, faults) = read("[sync]\npoll = 1\npoll = 2\n");
        assert_eq!(faults, ["edge.toml:3:1: `poll`: is set twice; keep one of the two"]);
    }

    #[test]
    fn syntax_faults_on_different_lines_are_all_reported() {
        let (_, faults) = read("a = \nb = 1\nc = nonsense\n");
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("edge.toml:1:") && faults[0].contains("`a`: not valid TOML"), "{faults:?}");
        assert!(faults[1].starts_with("edge.toml:3:") && faults[1].contains("`c`: not valid TOML"), "{faults:?}");
    }

    #[test]
    fn a_number_beyond_63_bits_is_a_fault_of_its_key() {
        let (_, faults) = read("[sync]\npoll = 9223372036854775808\n");
        assert_eq!(
            faults,
            [
                "edge.toml:2:8: `sync.poll`: expected a whole number of at most 63 bits, found the number 9223372036854775808"
            ]
        );
    }

    #[test]
    fn values_of_variables_are_toml_or_else_text() {
        assert!(matches!(env("a", "15").tree, Tree::Integer(15)));
        assert!(matches!(env("a", "true").tree, Tree::Bool(true)));
        assert!(matches!(env("a", "1.5").tree, Tree::Float(_)));
        assert!(matches!(env("a", "[1, 2]").tree, Tree::Array(_)));
        for text in ["15m", "", "http://hub", "[::1]:8080", "1 2", "99999999999999999999", "a=b", "0x"] {
            assert!(matches!(env("a", text).tree, Tree::Text(seen) if seen == text), "{text}");
        }
        assert!(matches!(env("a", "\"quoted\"").tree, Tree::Text(seen) if seen == "quoted"));
    }

    #[test]
    fn one_layer_sets_a_key_once() {
        let mut root = Node::root();
        root.insert(env("sync.poll", "1")).unwrap();
        root.insert(env("sync.hub_url", "x")).unwrap();
        assert_eq!(root.insert(env("sync.poll", "2")).unwrap_err().problem, Problem::Duplicate);
        assert_eq!(root.insert(env("sync.poll.fast", "2")).unwrap_err().problem, Problem::Duplicate);
        assert_eq!(root.insert(env("sync", "2")).unwrap_err().problem, Problem::Duplicate);
    }

    #[test]
    fn a_later_layer_replaces_values_and_merges_tables() {
        let (mut below, _) = read("[sync]\npoll = 1\nlist = [1, 2]\n");
        let (above, _) = read("[sync]\nlist = [3]\n[api]\nlisten = \"x\"\n");
        below.overlay(above);
        assert!(matches!(below.setter("sync.poll").unwrap().tree, Tree::Integer(1)));
        assert!(matches!(&below.setter("sync.list").unwrap().tree, Tree::Array(items) if items.len() == 1));
        assert!(below.setter("api.listen").is_some());
    }
}
