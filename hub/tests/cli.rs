//! The hub's command line as an operator meets it: results, JSON, exit codes and what it says when it refuses.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it needs")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use huitong_hub::cli::{EXIT_CONFIG, EXIT_OK, EXIT_REFUSED, EXIT_USAGE, World};
use huitong_hub::clock::Clock;
use huitong_protocol::time::Instant;
use serde_json::Value;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Instant {
        Instant(1_790_000_000_000)
    }
}

/// A hub in a folder of its own, and a way to say commands to it.
struct Office {
    folder: tempfile::TempDir,
}

struct Said {
    code: u8,
    out: String,
    err: String,
}

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/policies")
}

impl Office {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn say(&self, line: &str) -> Said {
        let data = self.folder.path().to_str().unwrap().to_owned();
        let words = ["huitong-hub", "--data", &data]
            .into_iter()
            .chain(line.split_whitespace())
            .map(OsString::from)
            .collect::<Vec<_>>();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let world = World { clock: Arc::new(Noon), progress: false };
        let code = world.main(words, &mut out, &mut err);
        Said { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
    }

    fn ok(&self, line: &str) -> Value {
        let said = self.say(&format!("{line} --json"));
        assert_eq!(said.code, EXIT_OK, "{line}: {}", said.err);
        serde_json::from_str(&said.out).unwrap_or_else(|why| panic!("{line}: {why}: {}", said.out))
    }

    fn refused(&self, line: &str) -> String {
        let said = self.say(line);
        assert_eq!(said.code, EXIT_REFUSED, "{line}: {}{}", said.out, said.err);
        said.err
    }

    /// What a command that looks for faults has found.
    fn found(&self, line: &str) -> String {
        let said = self.say(line);
        assert_eq!((said.code, said.err.as_str()), (EXIT_REFUSED, ""), "{line}: {}", said.out);
        said.out
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A group of two stores with the standard policy and the pool agreement.
    fn opened() -> Self {
        let office = Self::new();
        office.ok("init --group G1 --currency CNY");
        let file = office.file("entities.csv", "legal_entity,name\nE1,苏州汇通商贸有限公司\n");
        office.ok(&format!("legal-entity import {file}"));
        let file = office.file(
            "stores.csv",
            "store,name,legal_entity,time_zone\nS1,观前街店,E1,Asia/Shanghai\nS2,园区店,E1,Asia/Shanghai\n",
        );
        office.ok(&format!("store import {file}"));
        office
            .ok(&format!("policy publish {} --effective-from 2026-01-01", policies().join("standard.toml").display()));
        office.ok(&format!("agreement publish {}", policies().join("agreement-pool.toml").display()));
        office
    }
}

#[test]
fn a_hub_is_made_once() {
    let office = Office::new();
    assert!(office.refused("store list").contains("huitong-hub init"), "the way out is named");
    assert_eq!(office.ok("init --group G1 --currency CNY")["made"], true);
    assert_eq!(office.ok("init --group G1 --currency CNY")["made"], false);
    assert!(office.refused("init --group G2 --currency CNY").contains("already belongs to group G1"));
}

#[test]
fn a_token_is_for_a_known_store() {
    let office = Office::opened();
    let token = office.ok("store enrol-token S1 --valid-hours 2");
    assert_eq!(token["token"].as_str().unwrap().len(), 32);
    assert_eq!(token["expires_at_ms"], 1_790_007_200_000_i64);
    assert!(office.refused("store enrol-token S9").contains("store S9 is unknown"));
}

#[test]
fn cards_are_made_imported_and_opened() {
    let office = Office::opened();
    let made = office.ok("card make --product SV --count 3 --store S1");
    let numbers: Vec<&str> = made["numbers"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    assert_eq!(numbers.len(), 3);
    let card = office.ok(&format!("card show {}", numbers[0]));
    assert_eq!((card["status"].as_str(), card["allocated_store"].as_str()), (Some("blank"), Some("S1")));
    let file = office.file(
        "opening.csv",
        &format!("card,amount,business_day,store\n{},12.34,2026-09-01,S2\n{},5,2026-09-01,\n", numbers[0], numbers[1]),
    );
    let rehearsed = office.ok(&format!("opening import {file} --dry-run"));
    assert_eq!((&rehearsed["dry_run"], &rehearsed["amount_minor"]), (&Value::from(true), &Value::from(1734)));
    assert_eq!(office.ok(&format!("card show {}", numbers[0]))["status"], "blank", "a rehearsal changes nothing");
    office.ok(&format!("opening import {file}"));
    let view = office.ok(&format!("account show {}", numbers[0]));
    assert_eq!((&view["balance_minor"], &view["purses"][0]["balance_minor"]), (&1234.into(), &1234.into()));
    assert_eq!(view["journal_balance_minor"], 1234);
    assert_eq!(view["lots"][0]["owner"], "store:S2");
    assert_eq!(view["cards"][0]["status"], "active");
    assert!(office.refused(&format!("opening import {file}")).contains("imported before"));
    let file = office.file("again.csv", &format!("card,amount,business_day\n{},1,2026-09-02\n", numbers[0]));
    assert!(
        office.refused(&format!("opening import {file}")).contains("has its opening balance already, by entry HUB-1-1")
    );
    let text = office.say(&format!("account show {}", numbers[0])).out;
    assert!(text.contains("CNY: 12.34 by the stores' reports, 12.34 of it in the hub's pool"), "{text}");
}

#[test]
fn a_bad_line_keeps_the_whole_file_out() {
    let office = Office::opened();
    let check = |kind: &str, content: &str, says: &[&str]| {
        let file = office.file("bad.csv", content);
        let err = office.refused(&format!("{kind} import {file}"));
        for words in says {
            assert!(err.contains(words), "{kind}: {words:?} is not in\n{err}");
        }
    };
    check(
        "store",
        "store,name,legal_entity,time_zone\nS3,好,E1,Asia/Shanghai\nS4,坏,E9,Asia/Shanghai\n",
        &["line 3: legal_entity: E9 is unknown"],
    );
    check(
        "store",
        "store,name,legal_entity,time_zone\nHUB,x,E1,Asia/Shanghai\nS3,y,E1,Mars/Base\nS3,z,E1,Asia/Shanghai\n",
        &[
            "line 2: store: HUB is the code of head office",
            "line 3: time_zone: \"Mars/Base\" is not a time zone",
            "line 4: store: S3 stands in line 3 and again in line 4",
        ],
    );
    check(
        "store",
        "store,name,legal_entity,time_zone,currency,rollover_hour,opened_on,closed_on\nS3,x,E1,Asia/Shanghai,USD,24,2026-01-02,2026-01-01\n",
        &[
            "line 2: currency: USD is not CNY",
            "line 2: rollover_hour: 24 is not an hour",
            "line 2: closed_on: 2026-01-01 is before 2026-01-02",
        ],
    );
    check(
        "store",
        "store,title\nS3,x\n",
        &["column \"title\" is unknown", "column \"name\" is missing", "columns: store, name"],
    );
    check(
        "member",
        "number,name,active\nM1,Li,maybe\n,Wang,1\n",
        &["line 2: active: \"maybe\" is neither", "line 3: number: is empty"],
    );
    check(
        "card",
        "number,product,allocated_store,account_of\n6601000000000000,SV,S9,\n12,SV,,\n6601012345678901,XX,,\n",
        &[
            "line 2: number: ****0000 of SV: the check digit is wrong",
            "line 3: number: is not a card number of 6 to 24 digits",
            "line 4: product: XX is not in the newest policy; it has SV, GC",
        ],
    );
    // What is no number is most likely one with a slip, and a report may be kept.
    let slips = "number,product,account_of\n66010000x0000001,SV,\n6601000000000000,SV,6601000000000002-\n";
    let err = office.refused(&format!("card import {}", office.file("slips.csv", slips)));
    assert!(err.contains("line 2: number: has 'x' at position 9"), "{err}");
    assert!(err.contains("line 3: account_of: has '-' at position 17"), "{err}");
    let opening = "card,amount,business_day\n66010000x0000001,1,2026-09-01\n";
    let again = office.refused(&format!("opening import {}", office.file("slips.csv", opening)));
    assert!(again.contains("line 2: card: has 'x' at position 9"), "{again}");
    assert!(!err.contains("66010000") && !again.contains("66010000"), "{err}{again}");
    check(
        "opening",
        "card,amount,business_day\n660100000,1.234,2026-09-01\n660100001,-1,2026-09-01\n660100002,1,yesterday\n",
        &[
            "line 2: amount: \"1.234\" has 3 decimal places; CNY has 2",
            "line 3: amount: \"-1\" is not above zero",
            "line 4: business_day: \"yesterday\" is not a business day",
        ],
    );
    assert_eq!(office.ok("store list").as_array().unwrap().len(), 2, "nothing of it was imported");
}

#[test]
fn a_hundred_bad_lines_are_shown_and_all_are_counted() {
    let office = Office::opened();
    let lines: String = (0..150).map(|number| format!("M{number},\n")).collect();
    let file = office.file("members.csv", &format!("number,name\n{lines}"));
    let err = office.refused(&format!("member import {file}"));
    assert!(err.contains("150 bad value(s); nothing was imported") && err.contains("… and 50 more"), "{err}");
    assert_eq!(err.lines().filter(|line| line.contains("name: is empty")).count(), 100);
    let good: String = (0..150).map(|number| format!("M{number},王{number}\n")).collect();
    let file = office.file("members.csv", &format!("number,name\n{good}"));
    assert_eq!(office.ok(&format!("member import {file}"))["new"], 150);
    let file = office.file("members.csv", &format!("number,name\n{good}").replace("王7\n", "李7\n"));
    let again = office.ok(&format!("member import {file}"));
    assert_eq!((&again["changed"], &again["unchanged"]), (&1.into(), &149.into()));
}

#[test]
fn many_opening_balances_make_several_entries_that_prove() {
    let office = Office::opened();
    let made = office.ok("card make --product SV --count 2300");
    let lines: String = made["numbers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| format!("{},0.01,2026-09-01\n", n.as_str().unwrap()))
        .collect();
    let file = office.file("opening.csv", &format!("card,amount,business_day\n{lines}"));
    assert_eq!(office.ok(&format!("opening import {file}"))["amount_minor"], 2300);
    assert_eq!(office.ok("stats")["rows"]["entry"], 2, "an entry holds 2,000 movements at most");
    assert_eq!(office.ok("verify")["ok"], true);
}

#[test]
fn many_cards_may_open_one_account() {
    let office = Office::opened();
    let made = office.ok("card make --product SV --count 1");
    let old = made["numbers"][0].as_str().unwrap().to_owned();
    let range =
        huitong_protocol::card::NumberRange { prefix: "66010".to_owned(), length: 16, check: Default::default() };
    let number = |random: u128| range.make(random).unwrap().reveal().to_owned();
    let (a, b, c, lost) = (number(1), number(2), number(3), number(4));
    let file = office.file("cards.csv", &format!("number,product,account_of\n{a},SV,{b}\n{b},SV,{old}\n{c},SV,\n"));
    assert_eq!(office.ok(&format!("card import {file}"))["new"], 3);
    let account = |number: &str| office.ok(&format!("card show {number}"))["account"].as_i64().unwrap();
    assert_eq!((account(&a), account(&b)), (account(&old), account(&old)));
    assert_ne!(account(&c), account(&old));
    assert_eq!(office.ok(&format!("card import {file}"))["unchanged"], 3, "the same file again changes nothing");
    let file = office.file(
        "ring.csv",
        &format!("number,product,account_of\n{},SV,{}\n{},SV,{}\n", number(5), number(6), number(6), number(5)),
    );
    assert!(office.refused(&format!("card import {file}")).contains("leads back to itself"));
    let file = office.file("lost.csv", &format!("number,product,account_of\n{},SV,{lost}\n", number(7)));
    assert!(office.refused(&format!("card import {file}")).contains("is neither in this file nor known"));
    let file = office.file("moved.csv", &format!("number,product,account_of\n{c},SV,{a}\n"));
    assert!(office.refused(&format!("card import {file}")).contains("a card never changes its account"));
    let file = office.file("later.csv", &format!("number,product,account\n{},SV,9\n", number(8)));
    assert!(office.refused(&format!("card import {file}")).contains("9 was never given"));
    let file = office.file("shared.csv", &format!("number,product,account\n{},SV,{}\n", number(8), account(&c)));
    assert!(office.refused(&format!("card import {file}")).contains("is opened by another card"));
    let file = office.file("kept.csv", &format!("number,product,account\n{c},SV,{}\n", account(&c)));
    assert_eq!(office.ok(&format!("card import {file}"))["unchanged"], 1);
    // After a restore the number was given by the life that is forgotten, perhaps to this very card.
    office.ok("recover --note burnt --accept-unknown --life 5");
    let file = office.file("back.csv", &format!("number,product,account\n{},SV,9\n{a},SV,\n", number(8)));
    assert_eq!(office.ok(&format!("card import {file}"))["new"], 1);
    assert_eq!(account(&number(8)), 9);
}

#[test]
fn that_nothing_was_restored_is_said_of_a_store_that_has_shown_otherwise() {
    let office = Office::opened();
    let refused = office.refused("recover --not-restored S1 --note sure");
    assert!(refused.contains("no store has shown"), "{refused}");
    let both = office.say("recover --not-restored S1 --life 3 --note sure");
    assert!(both.err.contains("cannot be used with"), "{}", both.err);
}

#[test]
fn policies_and_agreements_only_rise() {
    let office = Office::opened();
    let standard = std::fs::read_to_string(policies().join("standard.toml")).unwrap();
    let file = office.file("same.toml", &standard);
    assert!(
        office
            .refused(&format!("policy publish {file} --effective-from 2026-02-01"))
            .contains("version 1 is this very document")
    );
    let file = office.file("new.toml", &standard.replace("\"when_idle\", minutes = 15", "\"when_idle\", minutes = 5"));
    assert!(
        office
            .refused(&format!("policy publish {file} --effective-from 2025-12-31"))
            .contains("cannot begin before it")
    );
    assert_eq!(office.ok(&format!("policy publish {file} --effective-from 2026-02-01"))["version"], 2);
    assert_eq!(office.ok("policy list").as_array().unwrap().len(), 2);
    let file = office.file("bad.toml", &standard.replace("minutes = 15", "minutes = -1"));
    assert!(office.found(&format!("policy check {file}")).contains("line 11, column"));
    let file = office.file("bad.toml", &standard.replace("prefix = \"66020\"", "prefix = \"66010\""));
    let said = office.found(&format!("policy check {file}"));
    assert!(said.contains("products[1].ranges[0]: overlaps") && said.contains("line 52"), "{said}");
    let pool = std::fs::read_to_string(policies().join("agreement-pool.toml")).unwrap();
    let file = office.file("pool.toml", &pool.replace("acceptance_fee_ppm = 0", "acceptance_fee_ppm = 1"));
    assert!(office.refused(&format!("agreement publish {file}")).contains("published with other terms"));
    let later = pool.replace("2026-01-01", "2026-10-01").replace("acceptance_fee_ppm = 0", "acceptance_fee_ppm = 1");
    let file = office.file("later.toml", &format!("{pool}\n{later}"));
    assert_eq!(office.ok(&format!("agreement publish {file}"))["published"][0], "2026-10-01");
    let file = office.file("bad.toml", &later.replace("acceptance_fee_ppm = 1", "acceptance_fee_ppm = 2000000"));
    let said = office.refused(&format!("agreement check {file}"));
    assert!(said.contains("agreement[0].acceptance_fee_ppm: is 2000000; give 0 to 1000000"), "{said}");
}

#[test]
fn a_policy_is_judged_with_every_fault_and_its_place() {
    let office = Office::opened();
    let standard = std::fs::read_to_string(policies().join("standard.toml")).unwrap();
    let check = |text: &str, places: &[(&str, bool)]| {
        let file = office.file("bad.toml", text);
        let said = office.say(&format!("policy check {file} --json"));
        assert_eq!(said.code, EXIT_REFUSED, "{}{}", said.out, said.err);
        let said: Value = serde_json::from_str(&said.out).unwrap();
        let found = |fault: &Value| (fault["path"].as_str().unwrap().to_owned(), fault["line"].as_u64() > Some(0));
        let faults: Vec<(String, bool)> = said["faults"].as_array().unwrap().iter().map(found).collect();
        let expected: Vec<(String, bool)> = places.iter().map(|(path, placed)| ((*path).to_owned(), *placed)).collect();
        assert_eq!((said["valid"].as_bool(), faults), (Some(false), expected));
    };
    check("name = \n", &[("document", true)]);
    check("name = 7\n", &[("name", true)]);
    let foreign = standard.replace("issuer = \"E1\"", "issuer = \"E9\"");
    check(&foreign, &[("products[0].issuer", true), ("products[1].issuer", true)]);
    check(&standard.replace("currency = \"CNY\"", "currency = \"USD\""), &[("currency", true)]);
    let elsewhere = standard
        .replace("where = { stores = [] }", "where = { stores = [\"S1\", \"S99\"] }")
        .replace("{ party = \"hub\", share_ppm = 600000 }", "{ party = \"entity:E9\", share_ppm = 600000 }");
    check(&elsewhere, &[("promotions[0].where.stores[1]", true), ("promotions[0].funding[0].party", true)]);
    let scoped = standard.replace("stores = []                         #", "stores = [\"S1\", \"S99\"]          #");
    check(&scoped, &[("products[0].scope.stores[1]", true)]);
    let late = standard.replace("rollover_hour_min = 0 ", "rollover_hour_min = 3 ");
    check(&late, &[("day", true), ("day", true)]); // One for each store, whose day changes at midnight.
    // A hub with an item master knows which items there are.
    let items = office.file("items.csv", "sku,name,category_path,tax_rate\n6900000000017,酒,食品/饮料/酒,13%\n");
    office.ok(&format!("item import {items}"));
    check(&standard, &[("promotions[2].goods.include.skus[0]", true)]);
    let items = office.file("items.csv", "sku,name,category_path,tax_rate\n6900000000024,蛋,食品/蛋,9%\n");
    office.ok(&format!("item import {items}"));
    // Publishing says the same, and publishes nothing.
    let file = office.file("bad.toml", &foreign);
    let said = office.refused(&format!("policy publish {file} --effective-from 2026-02-01"));
    assert!(said.contains("products[0].issuer") && said.contains("products[1].issuer"), "{said}");
    assert_eq!(office.ok("policy list").as_array().unwrap().len(), 1);
}

#[test]
fn versions_and_files_are_compared_field_by_field() {
    let office = Office::opened();
    let standard = std::fs::read_to_string(policies().join("standard.toml")).unwrap();
    let changed = standard.replace("\"when_idle\", minutes = 15", "\"when_idle\", minutes = 5");
    assert_ne!(changed, standard);
    let file = office.file("new.toml", &changed);
    let said = office.say(&format!("policy diff 1 {file}"));
    assert_eq!((said.code, said.out.as_str()), (EXIT_OK, "~ allotment.release.minutes: 15 -> 5\n"), "{}", said.err);
    office.ok(&format!("policy publish {file} --effective-from 2026-02-01"));
    let changes = office.ok("policy diff 2 1");
    assert_eq!(
        changes["changes"],
        serde_json::json!([{ "path": "allotment.release.minutes", "before": 5, "after": 15 }])
    );
    assert_eq!(office.say("policy diff 1 1").out, "Nothing differs.\n");
    assert!(office.refused("policy diff 1 9").contains("there is no version 9"));
    assert_eq!(office.say("policy show 2").out, changed, "the document as it was written");
    assert_eq!(office.ok("policy show")["version"], 2);
}

#[test]
fn policies_are_signed_with_a_key_that_is_not_in_the_database() {
    let office = Office::opened();
    let standard = std::fs::read_to_string(policies().join("standard.toml")).unwrap();
    let first = office.ok("policy key show")[0]["key"].as_str().unwrap().to_owned();
    assert_eq!(office.ok("policy list")[0]["key"], first.as_str());
    assert_eq!(office.ok("init --group G1 --currency CNY")["policy_key"], first.as_str(), "made once");
    let rotated = office.ok("policy key rotate");
    assert_eq!((&rotated[0]["from_version"], office.ok("policy key show").as_array().unwrap().len()), (&2.into(), 2));
    let file = office.file("new.toml", &standard.replace("\"when_idle\", minutes = 15", "\"when_idle\", minutes = 5"));
    let published = office.ok(&format!("policy publish {file} --effective-from 2026-02-01"));
    assert_eq!((&published["version"], &published["key"]), (&3.into(), &rotated[0]["key"]));
    // Without the file nobody publishes, and everything else goes on.
    std::fs::remove_file(office.folder.path().join("policy.key")).unwrap();
    let file = office.file("newer.toml", &standard.replace("minutes = 15", "minutes = 6"));
    let said = office.refused(&format!("policy publish {file} --effective-from 2026-02-01"));
    assert!(said.contains("there is no policy key at") && said.contains("hint:"), "{said}");
    assert_eq!(office.ok("policy list").as_array().unwrap().len(), 2);
    assert_eq!(office.ok("verify")["ok"], true);
    let adoption = office.ok("policy adoption");
    assert_eq!((&adoption[0]["store"], &adoption[0]["standing"]), (&"S1".into(), &"unheard".into()));
}

#[test]
fn a_code_is_explained_in_the_readers_language() {
    let office = Office::new();
    let said = office.say("explain seal_differs --lang zh-CN");
    assert!(said.code == EXIT_OK && said.out.contains("总部未能确认某日的日终"), "{}{}", said.out, said.err);
    assert_eq!(office.ok("explain fork --lang en").as_array().unwrap().len(), 2);
    assert!(office.refused("explain seal_difers --lang en").contains("did you mean seal_differs?"));
    assert_eq!(office.say("explain fork --lang fr").code, EXIT_USAGE);
    assert!(office.ok("explain").as_array().unwrap().len() > 50);
}

#[test]
fn every_sample_is_a_good_document() {
    let office = Office::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(policies()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "store-parameters.toml" {
            continue; // Judged by the bounds of the standard policy, in protocol/tests/policies.rs.
        }
        let noun = if name.starts_with("agreement-") { "agreement" } else { "policy" };
        office.ok(&format!("{noun} check {}", path.display()));
        seen += 1;
    }
    assert!(seen >= 5);
}

#[test]
fn the_process_tells_by_its_exit_code() {
    let run = |args: &[&str], env: Option<(&str, &str)>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_huitong-hub"));
        command.args(args).env_clear();
        if let Some((name, value)) = env {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        (
            u8::try_from(output.status.code().unwrap()).unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    assert_eq!(run(&["--version"], None).0, EXIT_OK);
    assert!(run(&["--help"], None).1.contains("Exit codes:"));
    assert_eq!(run(&["stoer", "list"], None).0, EXIT_USAGE);
    assert_eq!(run(&["init", "--group", "G 1", "--currency", "CNY", "--data", data], None).0, EXIT_USAGE);
    assert_eq!(run(&["store", "list", "--data", data], None).0, EXIT_REFUSED);
    assert_eq!(run(&["init", "--group", "G1", "--currency", "CNY", "--data", data], None).0, EXIT_OK);
    assert_eq!(run(&["policy", "check", "no-such-file.toml"], None).0, 1);
    let (code, _, err) = run(&["store", "list", "--data", data], Some(("HUITONG_HUB_LISTNE", "x")));
    assert!(
        code == EXIT_CONFIG && err.contains("HUITONG_HUB_LISTNE") && err.contains("HUITONG_HUB_LISTEN"),
        "{code} {err}"
    );
    let (code, out, _) = run(&["store", "enrol-token", "S1", "--data", data, "--json"], None);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert!(code == EXIT_REFUSED && answer["error"]["exit"] == EXIT_REFUSED, "{out}");
    let (code, out, _) = run(&["config", "print", "--origin", "--data", data], None);
    assert!(code == EXIT_OK && out.contains("flag --data"), "{out}");
}

#[test]
fn every_value_of_the_configuration_names_who_set_it_and_every_slip_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    std::fs::write(&file, "# A hub.\n\nreaders = 9\nlog = \"info\"\n").unwrap();
    let run = |words: &[&str], environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_huitong-hub"));
        command.args(["--config", file.to_str().unwrap()]).args(words).env_clear();
        let output = command.envs(environment.iter().copied()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let words = ["--set", "log=debug", "--data", "/srv/hub", "config", "print"];
    let environment = [("HUITONG_HUB_LISTEN", "127.0.0.1:7444")];
    let (code, origins, _) = run(&[&words[..], &["--origin"]].concat(), &environment);
    assert_eq!(code, Some(0));
    for (key, value, origin) in [
        ("readers", "9", &format!("file {}:3", file.display())[..]),
        ("log", "\"debug\"", "flag --set log"),
        ("data_dir", "\"/srv/hub\"", "flag --data"),
        ("listen", "\"127.0.0.1:7444\"", "env HUITONG_HUB_LISTEN"),
        ("recall_wait", "\"2s\"", "default"),
    ] {
        let line = origins.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap_or_default();
        assert!(line.contains(value) && line.ends_with(origin), "{key}: {line}");
    }
    let (_, printed, _) = run(&words, &environment);
    std::fs::write(&file, &printed).unwrap();
    let (code, read_back, err) = run(&["config", "print"], &[]);
    assert_eq!((code, read_back), (Some(0), printed), "{err}");

    std::fs::write(&file, "lisen = \"x\"\n\nreaders = \"a\"\n").unwrap();
    let (code, _, err) = run(&["config", "check"], &[("HUITONG_HUB_PURGE_HUOR", "3")]);
    assert_eq!(code, Some(i32::from(EXIT_CONFIG)));
    for words in ["3 faults", "hub.toml:1:1: `lisen`", "`listen`", "hub.toml:3:11: `readers`", "HUITONG_HUB_PURGE_HOUR"]
    {
        assert!(err.contains(words), "{words} is not in {err}");
    }
    let (code, _, err) = run(&["--set", "listn=x", "config", "check"], &[]);
    assert!(
        code == Some(i32::from(EXIT_CONFIG)) && err.contains("flag --set listn") && err.contains("`listen`"),
        "{err}"
    );
}

/// A hub process that is stopped when the test ends, however it ends.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_running_hub_serves_lets_commands_work_beside_it_and_stops_when_asked() {
    use std::io::{BufRead, BufReader, Read, Write};

    let office = Office::opened();
    let data = office.folder.path().to_str().unwrap();
    let start = |listen: &str| {
        Command::new(env!("CARGO_BIN_EXE_huitong-hub"))
            .args(["run", "--listen", listen, "--data", data])
            .env_clear()
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let open_to_all = start("0.0.0.0:0").wait_with_output().unwrap();
    let said = String::from_utf8(open_to_all.stderr).unwrap();
    assert_eq!(open_to_all.status.code(), Some(i32::from(EXIT_CONFIG)), "{said}");
    assert!(said.contains("insecure_http") && said.contains("--listen"), "{said}");

    let mut daemon = Daemon(start("127.0.0.1:0"));
    let mut out = BufReader::new(daemon.0.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("Listening on http://").unwrap_or_else(|| panic!("{line}")).to_owned();
    let mut wire = std::net::TcpStream::connect(&address).unwrap();
    write!(wire, "GET /healthz HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    wire.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    office.ok("store enrol-token S2");
    office.ok("card make --product SV --count 5");

    let asked = Command::new("kill").args(["-TERM", &daemon.0.id().to_string()]).status().unwrap();
    assert!(asked.success());
    // The end of its output is the end of the process.
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(daemon.0.wait().unwrap().code(), Some(i32::from(EXIT_OK)));
    assert_eq!(office.ok("stats")["rows"]["card"], 5);
}
