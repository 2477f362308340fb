//! Master data as head office imports and looks at it: items and members, through the command line.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it needs")]

mod items;
mod members;

use std::ffi::OsString;
use std::sync::Arc;

use huitong_hub::cli::{EXIT_OK, EXIT_REFUSED, World};
use huitong_hub::clock::Clock;
use huitong_protocol::time::Instant;
use serde_json::Value;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Instant {
        Instant(1_790_000_000_000)
    }
}

/// A hub with a group and a legal entity, and a way to say commands to it.
struct Office {
    folder: tempfile::TempDir,
}

impl Office {
    fn opened() -> Self {
        let office = Self { folder: tempfile::tempdir().unwrap() };
        office.ok(&["init", "--group", "G1", "--currency", "CNY"]);
        office.import("legal-entity", "legal_entity,name\nE1,苏州汇通商贸有限公司\n");
        office
    }

    fn say(&self, words: &[&str]) -> (u8, String, String) {
        let data = self.folder.path().to_str().unwrap();
        let words = ["huitong-hub", "--data", data].iter().chain(words).map(OsString::from).collect::<Vec<_>>();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let world = World { clock: Arc::new(Noon), progress: false };
        let code = world.main(words, &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn ok(&self, words: &[&str]) -> Value {
        let (code, out, err) = self.say(&[words, &["--json"]].concat());
        assert_eq!(code, EXIT_OK, "{words:?}: {err}");
        serde_json::from_str(&out).unwrap_or_else(|why| panic!("{words:?}: {why}: {out}"))
    }

    fn refused(&self, words: &[&str]) -> String {
        let (code, out, err) = self.say(words);
        assert_eq!(code, EXIT_REFUSED, "{words:?}: {out}{err}");
        err
    }

    fn file(&self, content: &[u8]) -> String {
        let path = self.folder.path().join("import.csv");
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Imports a file and gives (new, changed, unchanged).
    fn import(&self, noun: &str, content: &str) -> (i64, i64, i64) {
        let report = self.ok(&[noun, "import", &self.file(content.as_bytes())]);
        let count = |what: &str| report[what].as_i64().unwrap();
        (count("new"), count("changed"), count("unchanged"))
    }

    /// Imports a file that must be refused, and checks that everything is said of it.
    fn import_refused(&self, noun: &str, content: &str, says: &[&str]) {
        let err = self.refused(&[noun, "import", &self.file(content.as_bytes())]);
        for words in says {
            assert!(err.contains(words), "{words:?} is not in\n{err}");
        }
        let count = err.lines().filter(|line| line.starts_with("  line ")).count();
        assert_eq!(count, says.len(), "nothing else is said:\n{err}");
    }
}
