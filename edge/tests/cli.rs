//! The command line as an operator meets it: the real binary, its exit codes, its messages, and a daemon that is started, asked and stopped.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it needs; helpers here are tests too")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn edge(data: &Path, args: &[&str]) -> Output {
    command(data, args).output().unwrap()
}

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huitong-edge"));
    // What the machine's own environment says must not reach the test.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HUITONG_EDGE_") {
            command.env_remove(name);
        }
    }
    command.args(args).env("HUITONG_EDGE_DATA", data).stdin(Stdio::null());
    command
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn check(args: &[&str], code: i32, says: &[&str]) {
    let data = tempfile::tempdir().unwrap();
    let output = edge(data.path(), args);
    let said = format!("{}{}", out(&output), err(&output));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for words in says {
        assert!(said.contains(words), "{args:?} should say {words:?}: {said}");
    }
}

#[test]
fn help_names_every_noun_and_the_exit_codes() {
    let nouns = ["run", "enrol", "till", "day", "status", "card", "operation", "sync", "schedule", "journal", "config"];
    check(&["--help"], 0, &nouns);
    check(&["--help"], 0, &["Exit codes: 0 done, 1 failed, 2", "--json", "--set <KEY=VALUE>"]);
    for noun in ["till", "day", "card", "operation", "sync", "schedule", "journal", "config"] {
        check(&[noun, "--help"], 0, &["Usage: huitong-edge"]);
    }
    check(&["--version"], 0, &["huitong-edge 0."]);
}

#[test]
fn a_line_that_is_not_understood_says_so_and_ends_with_2() {
    check(&[], 2, &["Usage"]);
    check(&["tilll"], 2, &["tilll", "till"]);
    check(&["till", "pair"], 2, &["--terminal"]);
    check(&["till", "pair", "--terminal", "T 1"], 2, &["--terminal", "position 2"]);
    check(&["day", "z", "--business-day", "22.11.2026"], 2, &["business day like"]);
    check(&["day", "open", "--far-business-day-confirmed"], 2, &["--business-day"]);
    check(&["card", "show", "12"], 2, &["card number"]);
    check(&["--set", "sync.hub_url", "config", "check"], 2, &["KEY=VALUE"]);
}

#[test]
fn faults_of_the_configuration_name_file_line_and_column_and_end_with_78() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("edge.toml");
    std::fs::write(&file, "insecure_http = false\n\n[sync]\nhub_ulr = \"http://127.0.0.1:1\"\ntrickle = 5\n").unwrap();
    let file = file.to_str().unwrap();
    let output = edge(data.path(), &["--config", file, "config", "check"]);
    assert_eq!(output.status.code(), Some(78), "{}", err(&output));
    for words in ["2 faults", "edge.toml:4:1: `sync.hub_ulr`", "hub_url", "edge.toml:5:", "`sync.trickle`"] {
        assert!(err(&output).contains(words), "{words:?} in {}", err(&output));
    }
    let output = edge(data.path(), &["--config", file, "--json", "config", "check"]);
    let faults: Value = serde_json::from_str(&err(&output)).unwrap();
    assert_eq!(faults["faults"].as_array().map(Vec::len), Some(2), "{faults}");

    check(&["--config", "/no/such/edge.toml", "config", "check"], 78, &["/no/such/edge.toml", "does not exist"]);
    check(&["--set", "api.listen=0.0.0.0:0", "run"], 78, &["--set api.listen", "without TLS", "insecure_http"]);
    check(&["run", "--hub", "https://127.0.0.1:1"], 78, &["flag --hub", "`sync.hub_url`", "no TLS"]);
    check(&["run", "--hub", "http://10.0.0.1:1"], 78, &["`sync.hub_url`", "another machine"]);
}

#[test]
fn the_configuration_in_force_can_be_printed_with_its_origins_and_read_back() {
    let data = tempfile::tempdir().unwrap();
    let printed = edge(data.path(), &["--set", "sync.trickle=0ms", "config", "print"]);
    assert_eq!(printed.status.code(), Some(0));
    let file = data.path().join("printed.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let again = edge(data.path(), &["--config", file.to_str().unwrap(), "config", "print"]);
    assert_eq!(out(&again), out(&printed));
    let origins = out(&edge(data.path(), &["--set", "sync.trickle=0ms", "config", "print", "--origin"]));
    let line = origins.lines().find(|line| line.starts_with("sync.trickle ")).unwrap();
    assert!(line.ends_with("flag --set sync.trickle"), "{line}");
}

#[test]
fn every_value_of_the_configuration_names_who_set_it_and_every_slip_what_was_meant() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("edge.toml");
    std::fs::write(&file, "# A store.\n\n[store]\nreaders = 7\n\n[sync]\npoll_wait = \"9s\"\n").unwrap();
    let file = file.to_str().unwrap();
    let mut asked = command(
        data.path(),
        &["--config", file, "--set", "sync.poll_wait=11s", "--set", "log.format=json", "config", "print", "--origin"],
    );
    let origins = out(&asked.env("HUITONG_EDGE_SYNC__HUB_URL", "http://127.0.0.1:7999").output().unwrap());
    for (key, value, origin) in [
        ("store.readers", "7", &format!("file {file}:4")[..]),
        ("sync.poll_wait", "\"11s\"", "flag --set sync.poll_wait"),
        ("log.format", "\"json\"", "flag --set log.format"),
        ("sync.hub_url", "\"http://127.0.0.1:7999\"", "env HUITONG_EDGE_SYNC__HUB_URL"),
        ("sync.retry_min", "\"1s\"", "default"),
    ] {
        let line = origins.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap_or_default();
        assert!(line.contains(value) && line.ends_with(origin), "{key}: {line}");
    }
    let mut asked = command(data.path(), &["--config", file, "--set", "sync.retry_mni=1s", "config", "check"]);
    let said = err(&asked.env("HUITONG_EDGE_SYNC__HUB_ULR", "x").output().unwrap());
    for words in ["2 faults", "HUITONG_EDGE_SYNC__HUB_URL", "flag --set sync.retry_mni", "`sync.retry_min`"] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
}

#[test]
fn a_code_is_explained_in_the_language_of_the_machine() {
    let data = tempfile::tempdir().unwrap();
    let explain = |lang: &str, args: &[&str]| {
        let words = [&["explain"], args].concat();
        let output =
            command(data.path(), &words).env_remove("LC_ALL").env("LC_MESSAGES", "").env("LANG", lang).output();
        let output = output.unwrap();
        (output.status.code(), out(&output), err(&output))
    };
    let (code, said, _) = explain("zh_CN.UTF-8", &["card_frozen"]);
    assert!(code == Some(0) && said.contains("此卡已冻结") && said.contains("处理办法"), "{said}");
    let (code, said, _) = explain("zh_CN.UTF-8", &["card_frozen", "--lang", "en"]);
    assert!(code == Some(0) && said.contains("the card is frozen") && said.contains("What to do"), "{said}");
    let (code, said, _) = explain("C", &["--json"]);
    let all: Value = serde_json::from_str(&said).unwrap();
    assert!(code == Some(0) && all.as_array().unwrap().iter().all(|said| said["what"] != ""), "{said}");
    let (code, _, why) = explain("C", &["card_frozn"]);
    assert!(code == Some(3) && why.contains("did you mean card_frozen?"), "{why}");
}

#[test]
fn commands_on_the_running_store_say_when_none_runs() {
    for args in [
        &["status"][..],
        &["day", "open", "--business-day", "2062-11-22", "--far-business-day-confirmed"],
        &["sync", "now"],
        &["schedule", "list"],
    ] {
        check(args, 1, &["huitong-edge run"]);
    }
    check(&["run", "--listen", "127.0.0.1:0"], 1, &["not enrolled", "enrol"]);
}

#[test]
fn a_call_that_breaks_off_is_told_without_the_card_s_number() {
    let data = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    std::fs::write(data.path().join("api.addr"), listener.local_addr().unwrap().to_string()).unwrap();
    std::fs::write(data.path().join("local.token"), "t").unwrap();
    // Takes the call and hangs up.
    let store = std::thread::spawn(move || drop(listener.accept()));
    let output = edge(data.path(), &["card", "show", "6601012345678901"]);
    store.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(!err(&output).contains("66010123") && err(&output).contains("sending request"), "{}", err(&output));
}

#[test]
fn enrolling_without_a_hub_fails_and_can_be_tried_again() {
    let data = tempfile::tempdir().unwrap();
    // Port 1 is nobody's.
    let args = ["enrol", "--hub", "http://127.0.0.1:1", "--token", "T"];
    let output = edge(data.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("no line to the hub"), "{}", err(&output));
    let key = std::fs::read(data.path().join("identity.key")).unwrap();
    assert_eq!(edge(data.path(), &args).status.code(), Some(1));
    assert_eq!(std::fs::read(data.path().join("identity.key")).unwrap(), key, "the key is kept until it is enrolled");
}

#[test]
fn tills_are_paired_listed_and_revoked() {
    let data = tempfile::tempdir().unwrap();
    let pair = ["--json", "till", "pair", "--terminal", "T1", "--permit", "day"];
    let paired: Value = serde_json::from_str(&out(&edge(data.path(), &pair))).unwrap();
    assert_eq!((paired["terminal"].as_str(), paired["permissions"].as_str()), (Some("T1"), Some("day")));
    let token = paired["token"].as_str().unwrap();
    let listed = out(&edge(data.path(), &["till", "list"]));
    assert!(listed.contains("T1") && !listed.contains(token), "{listed}");
    let unknown = edge(data.path(), &["till", "pair", "--terminal", "T2", "--permit", "fly"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(err(&unknown).contains("return_without_receipt"), "{}", err(&unknown));
    assert_eq!(edge(data.path(), &["till", "revoke", "--terminal", "T1"]).status.code(), Some(0));
    assert_eq!(edge(data.path(), &["till", "revoke", "--terminal", "T1"]).status.code(), Some(3));
    assert_eq!(edge(data.path(), &["till", "pair", "--terminal", "LOCAL"]).status.code(), Some(3));
}

#[test]
fn an_empty_journal_is_proved_and_has_no_entries_to_show() {
    let data = tempfile::tempdir().unwrap();
    let verified: Value = serde_json::from_str(&out(&edge(data.path(), &["--json", "journal", "verify"]))).unwrap();
    assert_eq!(verified["entries"], 0);
    let output = edge(data.path(), &["journal", "show", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("there is no entry 1"), "{}", err(&output));
}

/// A daemon that is killed when the test fails, and only it.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            drop(self.0.kill());
        }
        drop(self.0.wait());
    }
}

#[test]
fn a_daemon_serves_the_command_line_keeps_a_second_one_away_and_stops_when_told() {
    let data = tempfile::tempdir().unwrap();
    named_by_head_office(data.path());
    // Nobody is at the hub's address: the store must run all the same.
    let args = ["run", "--listen", "127.0.0.1:0", "--hub", "http://127.0.0.1:1"];
    let mut child = command(data.path(), &args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first_line = String::new();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    said.read_line(&mut first_line).unwrap();
    let mut daemon = Daemon(child);
    assert!(first_line.starts_with("huitong-edge listens on 127.0.0.1:"), "{first_line}");

    // The line is printed when the port is taken; address and token follow within moments.
    let status = loop {
        let output = edge(data.path(), &["--json", "status"]);
        match output.status.code() {
            Some(0) => break serde_json::from_str::<Value>(&out(&output)).unwrap(),
            _ => assert!(daemon.0.try_wait().unwrap().is_none(), "{}", err(&output)),
        }
    };
    assert_eq!((status["store"].as_str(), status["hub_online"].as_bool()), (Some("S1"), Some(false)), "{status}");
    assert!(status["faults"].is_object(), "{status}");

    let second = edge(data.path(), &args);
    assert_eq!(second.status.code(), Some(1));
    assert!(err(&second).contains("another huitong-edge is running"), "{}", err(&second));

    let jobs: Value = serde_json::from_str(&out(&edge(data.path(), &["--json", "schedule", "list"]))).unwrap();
    let names: Vec<&str> = jobs.as_array().unwrap().iter().filter_map(|job| job["name"].as_str()).collect();
    for name in ["download", "upload", "report", "purge"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let purged = edge(data.path(), &["schedule", "run", "purge"]);
    assert!(out(&purged).contains("0 answers forgotten"), "{}{}", out(&purged), err(&purged));
    let unknown = edge(data.path(), &["schedule", "run", "party"]);
    assert_eq!(unknown.status.code(), Some(1));

    // Without a policy no day opens: a refusal by the store, not a failure of the line.
    let day = edge(data.path(), &["day", "x"]);
    assert_eq!(day.status.code(), Some(3), "{}", err(&day));
    let operation = edge(data.path(), &["operation", "show", "../status"]);
    assert_eq!(operation.status.code(), Some(1));
    let offline = edge(data.path(), &["sync", "now", "--download"]);
    assert_eq!(offline.status.code(), Some(1));
    assert!(err(&offline).contains("no line to the hub"), "{}", err(&offline));

    let told = Command::new("kill").args(["-TERM", &daemon.0.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
}

/// What an enrolment leaves behind.
fn named_by_head_office(data: &Path) {
    use huitong_edge::store::identity::{Identity, put};
    let record = serde_json::json!({
        "id": "S1", "name": "人民路店", "legal_entity": "E1", "time_zone": "Asia/Shanghai", "currency": "CNY", "rollover_hour": 4,
    });
    let record = serde_json::from_value(record).unwrap();
    let identity = Identity::new("G1".parse().unwrap(), huitong_protocol::id::Epoch(1), record).unwrap();
    huitong_edge::identity::StoreKey::open_or_make(data).unwrap();
    let store = huitong_edge::run::open_store(data, &huitong_edge::config::StoreConfig::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.write(move |tx| put(tx, identity))).unwrap();
    store.close();
}
