//! The loader as an operator meets it: files, variables, flags, and what is said when they are wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::{ByteSize, Millis};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Edge {
    store: String,
    api: Api,
    sync: Sync,
    limits: BTreeMap<String, i64>,
    tills: Vec<Till>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Api {
    listen: SocketAddr,
    body_size_max: ByteSize,
    insecure_http: bool,
    workers: u16,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sync {
    hub_url: Option<String>,
    enrol_token: Option<String>,
    poll: Millis,
    release: Release,
    skew_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Release {
    AtOnce,
    WhenIdle { minutes: u32 },
    AtClose,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Till {
    name: String,
    token: String,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            store: "S1".into(),
            api: Api::default(),
            sync: Sync::default(),
            limits: BTreeMap::new(),
            tills: Vec::new(),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7080)),
            body_size_max: ByteSize::mib(1),
            insecure_http: false,
            workers: 2,
        }
    }
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            hub_url: None,
            enrol_token: None,
            poll: Millis::seconds(25),
            release: Release::WhenIdle { minutes: 10 },
            skew_ms: 60_000,
        }
    }
}

/// A file that is gone when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(content: impl AsRef<[u8]>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("huitong-config-{}-{}.toml", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that stays behind in the temporary directory harms nothing.
        let _ = std::fs::remove_file(&self.0);
    }
}

const NO_ENV: [(&str, &str); 0] = [];

fn edge() -> Loader {
    Loader::new("HUITONG_EDGE").environment(NO_ENV)
}

/// What an operator reads, with the name of the scratch file shortened.
fn said(loader: &Loader, file: Option<&Scratch>) -> Vec<String> {
    let error = loader.load::<Edge>().expect_err("the configuration has faults");
    let path = file.map(|file| file.0.display().to_string()).unwrap_or_default();
    error
        .faults()
        .iter()
        .map(|fault| if path.is_empty() { fault.to_string() } else { fault.to_string().replace(&path, "edge.toml") })
        .collect()
}

fn check_file(content: &str, expected: &[&str]) {
    let file = Scratch::new(content);
    assert_eq!(said(&edge().file(&file.0), Some(&file)), expected, "{content}");
}

fn check_env(name: &str, value: &str, expected: &str) {
    assert_eq!(said(&edge().environment([(name, value)]), None), [expected], "{name}={value}");
}

#[test]
fn without_any_layer_the_defaults_hold() {
    let loaded = edge().load::<Edge>().unwrap();
    assert_eq!(loaded.value, Edge::default());
    assert!(loaded.settings.iter().all(|setting| setting.origin == Origin::Default));
}

#[test]
fn a_later_layer_wins_and_origins_say_so() {
    let file = Scratch::new("store = \"S2\"\n[api]\nworkers = 3\nlisten = \"127.0.0.1:1\"\n[sync]\npoll = \"1m\"\n");
    let loaded = edge()
        .file(&file.0)
        .environment([("HUITONG_EDGE_API__WORKERS", "4"), ("HUITONG_EDGE_API__LISTEN", "127.0.0.1:2"), ("HOME", "/")])
        .flag("--listen", "api.listen", "127.0.0.1:3")
        .flags([("sync.skew_ms", "1")])
        .load::<Edge>()
        .unwrap();
    assert_eq!(loaded.value.store, "S2");
    assert_eq!(loaded.value.api.workers, 4);
    assert_eq!(loaded.value.api.listen.port(), 3);
    assert_eq!(loaded.value.sync.poll, Millis::minutes(1));
    let origin = |key: &str| loaded.origin(key).short().replace(&file.0.display().to_string(), "edge.toml");
    assert_eq!(origin("store"), "file edge.toml:1");
    assert_eq!(origin("api.workers"), "env HUITONG_EDGE_API__WORKERS");
    assert_eq!(origin("api.listen"), "flag --listen");
    assert_eq!(origin("sync.skew_ms"), "flag --set sync.skew_ms");
    assert_eq!(origin("api.body_size_max"), "default");
    assert_eq!(origin("sync.poll"), "file edge.toml:6");
}

#[test]
fn a_file_that_was_named_must_exist_and_the_default_one_need_not() {
    let path = Path::new("/nonexistent/edge.toml");
    assert_eq!(said(&edge().file(path), None), ["/nonexistent/edge.toml: the file does not exist"]);
    assert!(edge().default_file(path).load::<Edge>().is_ok());
    // The one that was named counts, in whichever order the two are given.
    assert!(edge().file(path).default_file("/other").load::<Edge>().is_err());
    let error = edge().file(std::env::temp_dir()).load::<Edge>().unwrap_err();
    assert!(matches!(error.faults()[0].problem, Problem::FileUnreadable { .. }), "{error}");
}

#[test]
fn a_file_that_is_no_text_or_too_large_is_refused() {
    let file = Scratch::new(b"store = \"S1\"\n# caf\xe9\n");
    assert_eq!(said(&edge().file(&file.0), Some(&file)), ["edge.toml:2:6: not UTF-8 text"]);
    let file = Scratch::new("#".repeat(256 * 1024 + 1));
    assert_eq!(said(&edge().file(&file.0), Some(&file)), ["edge.toml: the file is larger than 262144 bytes"]);
    let file = Scratch::new("#".repeat(256 * 1024));
    assert!(edge().file(&file.0).load::<Edge>().is_ok());
}

#[test]
fn unknown_keys_are_all_reported_with_what_was_meant() {
    check_file(
        "stroe = \"S1\"\npoll = \"1s\"\n[sync]\nhub_ur = \"x\"\ncolour = 1\n[snyc]\npoll = \"1s\"\n",
        &[
            "edge.toml:1:1: `stroe`: there is no such setting; did you mean `store`?",
            "edge.toml:2:1: `poll`: there is no such setting; did you mean `sync.poll`?",
            "edge.toml:4:1: `sync.hub_ur`: there is no such setting; did you mean `sync.hub_url`?",
            "edge.toml:5:1: `sync.colour`: there is no such setting; known here: `sync.hub_url`, `sync.enrol_token`, `sync.poll`, \
             `sync.release`, `sync.skew_ms`",
            "edge.toml:6:2: `snyc`: there is no such setting; did you mean `sync`?",
        ],
    );
}

#[test]
fn wrong_types_are_all_reported_beside_unknown_keys() {
    check_file(
        "store = 7\ncolour = 1\n[api]\nworkers = \"3\"\ninsecure_http = \"yes\"\nlisten = \"nowhere\"\n[sync]\nskew_ms = 1.5\n",
        &[
            "edge.toml:1:9: `store`: expected text, found the number 7; write it in quotes",
            "edge.toml:2:1: `colour`: there is no such setting; known here: `store`, `api`, `sync`, `limits`, `tills`",
            "edge.toml:4:11: `api.workers`: expected a whole number from 0 to 65535, found the text \"3\"; write it without quotes",
            "edge.toml:5:17: `api.insecure_http`: expected true or false, found the text \"yes\"",
            "edge.toml:8:11: `sync.skew_ms`: expected a whole number, found the number 1.5",
        ],
    );
}

#[test]
fn numbers_keep_their_range() {
    let range = "expected a whole number from 0 to 65535";
    check_file("api.workers = -1\n", &[&format!("edge.toml:1:15: `api.workers`: {range}, found the number -1")]);
    check_file("api.workers = 65536\n", &[&format!("edge.toml:1:15: `api.workers`: {range}, found the number 65536")]);
    check_file(
        "sync.skew_ms = 9223372036854775808\n",
        &[
            "edge.toml:1:16: `sync.skew_ms`: expected a whole number of at most 63 bits, found the number 9223372036854775808",
        ],
    );
    check_env(
        "HUITONG_EDGE_API__WORKERS",
        "99999999999999999999",
        "environment variable HUITONG_EDGE_API__WORKERS: `api.workers`: expected a whole number from 0 to 65535, found the text \
         \"99999999999999999999\"",
    );
}

#[test]
fn refused_values_say_why() {
    check_file(
        "[api]\nbody_size_max = \"1mb\"\n[sync]\npoll = \"-5s\"\n",
        &[
            "edge.toml:2:17: `api.body_size_max`: \"mb\" in the size \"1mb\" is not a unit; use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB",
            "edge.toml:4:8: `sync.poll`: the duration \"-5s\" is negative",
        ],
    );
    check_file(
        "sync.poll = 25\n",
        &[
            "edge.toml:1:13: `sync.poll`: expected a duration with its unit, such as \"250ms\" or \"15m\", found the number 25",
        ],
    );
    check_file("[api]\nlisten = \"nowhere\"\n", &["edge.toml:2:10: `api.listen`: invalid socket address syntax"]);
}

#[test]
fn a_word_out_of_a_list_is_suggested() {
    check_file(
        "sync.release = \"at_onec\"\n",
        &[
            "edge.toml:1:16: `sync.release`: expected \"at_once\", \"when_idle\" or \"at_close\", found the text \"at_onec\"; did you mean \"at_once\"?",
        ],
    );
    check_file(
        "sync.release = 3\n",
        &["edge.toml:1:16: `sync.release`: expected \"at_once\", \"when_idle\" or \"at_close\", found the number 3"],
    );
    check_file(
        "sync.release = { when_idle = { minutes = \"x\" } }\n",
        &[
            "edge.toml:1:42: `sync.release.when_idle.minutes`: expected a whole number from 0 to 4294967295, found the text \"x\"",
        ],
    );
}

#[test]
fn a_duplicate_key_is_a_fault_in_every_layer() {
    check_file("store = \"S1\"\nstore = \"S2\"\n", &["edge.toml:2:1: `store`: is set twice; keep one of the two"]);
    check_file("[api]\n[sync]\n[api]\n", &["edge.toml:3:2: `api`: is set twice; keep one of the two"]);
    assert_eq!(
        said(&edge().flag("--store", "store", "S1").flags([("store", "S2")]), None),
        ["flag --set store: `store`: is set twice; it is also set by flag --store"]
    );
    assert_eq!(
        said(&edge().environment([("HUITONG_EDGE_STORE", "S1"), ("HUITONG_EDGE_store", "S2")]), None),
        [
            "environment variable HUITONG_EDGE_store: `store`: is set twice; it is also set by environment variable HUITONG_EDGE_STORE"
        ]
    );
}

#[test]
fn unknown_variables_are_faults_and_speak_of_variables() {
    let unknown = |name: &str, key: &str| {
        format!("environment variable {name}: `{key}`: there is no such setting; did you mean ")
    };
    check_env(
        "HUITONG_EDGE_SYNC__HUB_UR",
        "x",
        &(unknown("HUITONG_EDGE_SYNC__HUB_UR", "sync.hub_ur") + "`HUITONG_EDGE_SYNC__HUB_URL`?"),
    );
    check_env(
        "HUITONG_EDGE_SYNC_HUB_URL",
        "x",
        &(unknown("HUITONG_EDGE_SYNC_HUB_URL", "sync_hub_url") + "`HUITONG_EDGE_SYNC__HUB_URL`?"),
    );
    check_env("HUITONG_EDGE_SYNC__", "x", &(unknown("HUITONG_EDGE_SYNC__", "sync.") + "`HUITONG_EDGE_SYNC`?"));
    let reserved = edge().environment([("HUITONG_EDGE_CONFIG", "edge.toml")]).env_reserved("HUITONG_EDGE_CONFIG");
    assert!(reserved.load::<Edge>().is_ok());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_a_fault() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(vec![0xff]);
    let loader = edge().environment([(OsString::from("HUITONG_EDGE_STORE"), value)]);
    assert_eq!(said(&loader, None), ["environment variable HUITONG_EDGE_STORE: `store`: not UTF-8 text"]);
}

#[test]
fn text_of_digits_stays_text_when_it_comes_from_outside_a_file() {
    let loaded = edge()
        .environment([("HUITONG_EDGE_STORE", "007"), ("HUITONG_EDGE_SYNC__HUB_URL", "1.50")])
        .flags([("sync.enrol_token", "12345678901234567890")])
        .load::<Edge>()
        .unwrap();
    assert_eq!(loaded.value.store, "007");
    assert_eq!(loaded.value.sync.hub_url.as_deref(), Some("1.50"));
    assert_eq!(loaded.value.sync.enrol_token.as_deref(), Some("12345678901234567890"));
}

#[test]
fn whole_tables_and_lists_may_come_from_a_variable() {
    let loaded = edge()
        .environment([
            ("HUITONG_EDGE_SYNC__RELEASE", "{ when_idle = { minutes = 5 } }"),
            ("HUITONG_EDGE_TILLS", "[{ name = \"T1\", token = \"t\" }]"),
            ("HUITONG_EDGE_LIMITS__CARD_MINOR", "100000"),
        ])
        .load::<Edge>()
        .unwrap();
    assert_eq!(loaded.value.sync.release, Release::WhenIdle { minutes: 5 });
    assert_eq!(loaded.value.tills, [Till { name: "T1".into(), token: "t".into() }]);
    assert_eq!(loaded.value.limits, BTreeMap::from([("card_minor".to_owned(), 100_000)]));
}

#[test]
fn a_fault_in_a_file_is_found_under_a_variable_that_covers_it() {
    let file = Scratch::new("[api]\nworkers = \"many\"\n");
    let loader = edge().file(&file.0).environment([("HUITONG_EDGE_API__WORKERS", "2")]);
    assert_eq!(
        said(&loader, Some(&file)),
        ["edge.toml:2:11: `api.workers`: expected a whole number from 0 to 65535, found the text \"many\""]
    );
}

#[test]
fn faults_of_all_layers_come_in_the_order_of_the_layers() {
    let file = Scratch::new("store = \n");
    let loader = edge().file(&file.0).environment([("HUITONG_EDGE_API__WORKERS", "x")]).flags([("colour", "1")]);
    let said = said(&loader, Some(&file));
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("edge.toml:1:") && said[0].contains("`store`: not valid TOML"), "{said:?}");
    assert!(said[1].starts_with("environment variable HUITONG_EDGE_API__WORKERS: "), "{said:?}");
    assert!(said[2].starts_with("flag --set colour: "), "{said:?}");
}

#[test]
fn what_is_required_inside_a_list_is_named() {
    check_file("[[tills]]\nname = \"T1\"\n", &["edge.toml:1:1: `tills[0].token`: is required and not set"]);
    check_file(
        "[[tills]]\nname = \"T1\"\ntoken = \"t\"\n[[tills]]\nnane = \"T2\"\ntoken = \"t\"\n",
        &["edge.toml:5:1: `tills[1].nane`: there is no such setting; did you mean `tills[1].name`?"],
    );
}

#[test]
fn secrets_are_shown_nowhere() {
    const SECRET: &str = "open-sesame";
    let file =
        Scratch::new(format!("[sync]\nenrol_token = \"{SECRET}\"\n[[tills]]\nname = \"T1\"\ntoken = \"{SECRET}\"\n"));
    let loaded = edge().file(&file.0).load::<Edge>().unwrap();
    assert_eq!(loaded.value.sync.enrol_token.as_deref(), Some(SECRET));
    for shown in [loaded.origins_text(), loaded.origins_json().to_string(), format!("{loaded:?}")] {
        assert!(shown.contains("***") && !shown.contains(SECRET), "{shown}");
    }
    for faulty in [
        format!("[sync.enrol_token]\nx = \"{SECRET}\"\n"),
        format!("[[tills]]\nname = \"T1\"\ntoken = [\"{SECRET}\"]\n"),
        format!("[sync]\nenrol_token = \"{SECRET}\n"),
    ] {
        let file = Scratch::new(faulty);
        let error = edge().file(&file.0).load::<Edge>().unwrap_err();
        assert!(!format!("{error} {error:?} {}", error.to_json()).contains(SECRET), "{error}");
    }
}

#[test]
fn a_secret_of_the_wrong_type_is_named_and_not_shown() {
    // The column counts characters, as an editor does: 店 is one.
    check_file(
        "sync.enrol_token = 424242\ntills = [{ name = \"店\", token = 424242 }]\n",
        &[
            "edge.toml:1:20: `sync.enrol_token`: expected text, found ***; write it in quotes",
            "edge.toml:2:32: `tills[0].token`: expected text, found ***; write it in quotes",
        ],
    );
}

#[test]
fn the_list_of_origins_is_aligned_and_complete() {
    #[derive(Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Small {
        name: String,
        sync: SmallSync,
    }
    #[derive(Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct SmallSync {
        hub_url: Option<String>,
        hub_token: Option<String>,
    }
    let loaded =
        edge().environment([("HUITONG_EDGE_NAME", "first")]).flags([("sync.hub_token", "t")]).load::<Small>().unwrap();
    assert_eq!(
        loaded.origins_text(),
        "name            \"first\"  env HUITONG_EDGE_NAME\n\
         sync.hub_token  ***      flag --set sync.hub_token\n\
         sync.hub_url    (none)   default\n"
    );
    assert_eq!(
        loaded.origins_json(),
        serde_json::json!([
            { "key": "name", "value": "first", "origin": { "kind": "env", "name": "HUITONG_EDGE_NAME" } },
            { "key": "sync.hub_token", "value": "***", "origin": { "kind": "flag", "name": "--set sync.hub_token" } },
            { "key": "sync.hub_url", "value": null, "origin": { "kind": "default" } },
        ])
    );
}

#[test]
fn a_daemons_own_rule_is_reported_where_the_value_was_set() {
    let loaded = edge().flag("--listen", "api.listen", "0.0.0.0:80").load::<Edge>().unwrap();
    let error =
        loaded.refuse("api.listen", "is reachable from outside without TLS", Some("give --insecure-http".into()));
    assert_eq!(
        error.to_string(),
        "fault in the configuration: flag --listen: `api.listen`: is reachable from outside without TLS; give --insecure-http"
    );
    assert_eq!(loaded.origin("api").short(), "flag --listen");
}

#[test]
fn faults_have_a_form_for_programs() {
    let error = edge().flags([("api.workers", "-1")]).load::<Edge>().unwrap_err();
    assert_eq!(
        error.to_json()["faults"][0]["problem"],
        serde_json::json!({ "code": "wrong_type", "expected": "a whole number from 0 to 65535", "found": "the number -1" })
    );
    assert_eq!(error.to_json()["faults"][0]["key"], "api.workers");
}

#[test]
fn assignments_are_split_at_the_first_sign() {
    assert_eq!(assignment("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
    assert_eq!(assignment("a="), Ok(("a".into(), String::new())));
    for text in ["a.b", "=c", "a..b=c", "a b=c"] {
        assert!(assignment(text).is_err(), "{text}");
    }
}

/// Numbers out of a seed (SplitMix64), so that a failure can be repeated.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn text(&mut self) -> String {
        const ALPHABET: [char; 20] = [
            'a', 'Z', '0', '7', '.', '=', '#', '"', '\'', '\\', '[', ']', '{', '\n', '\t', ' ', '店', 'é', '\u{7f}',
            '-',
        ];
        (0..self.below(12)).filter_map(|_| ALPHABET.get(usize::try_from(self.below(20)).unwrap()).copied()).collect()
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.below(100_000)).unwrap()
    }

    fn edge(&mut self) -> Edge {
        Edge {
            store: self.text(),
            api: Api {
                listen: SocketAddr::from(([127, 0, 0, 1], u16::try_from(self.below(65_536)).unwrap())),
                body_size_max: if self.below(2) == 0 {
                    ByteSize::bytes(self.small())
                } else {
                    ByteSize::kib(self.small())
                },
                insecure_http: self.below(2) == 0,
                workers: u16::try_from(self.below(65_536)).unwrap(),
            },
            sync: Sync {
                hub_url: (self.below(2) == 0).then(|| self.text()),
                enrol_token: (self.below(2) == 0).then(|| self.text()),
                poll: if self.below(2) == 0 { Millis::ms(self.small()) } else { Millis::hours(self.small()) },
                release: [Release::AtOnce, Release::AtClose, Release::WhenIdle { minutes: self.small() }]
                    [usize::try_from(self.below(3)).unwrap()],
                skew_ms: i64::from(self.small()) - 50_000,
            },
            limits: (0..self.below(3)).map(|n| (format!("limit_{n}"), i64::from(self.small()) - 50_000)).collect(),
            tills: (0..self.below(3)).map(|_| Till { name: self.text(), token: self.text() }).collect(),
        }
    }
}

#[test]
fn a_configuration_written_to_a_file_loads_to_the_same_value() {
    for seed in 0..300 {
        let value = Seeded(seed).edge();
        let text = file_text(&value).unwrap();
        let file = Scratch::new(&text);
        let loaded = edge().file(&file.0).load::<Edge>().unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        assert_eq!(loaded.value, value, "seed {seed}\n{text}");
    }
}

#[test]
fn a_configuration_given_as_flags_loads_to_the_same_value() {
    for seed in 0..300 {
        let value = Seeded(seed).edge();
        let toml::Value::Table(table) = toml::Value::try_from(&value).unwrap() else { panic!("a table") };
        let flags = table.iter().map(|(key, value)| (key.clone(), value.to_string()));
        let loaded = edge().flags(flags).load::<Edge>().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        // Text goes through as it stands when it is not TOML; here it always is, quoted.
        assert_eq!(loaded.value, value, "seed {seed}");
    }
}
