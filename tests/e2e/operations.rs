//! What each operation of a till does in each state of its store: `docs/operations.md` says it, and here every cell of its table is done in a town.
//!
//! Each state is a scenario of its own: what the rows need is prepared while all is well, then the store comes into the state, then every row is done once,
//! in the order of the table. The words of the cells are `approved` or the code of the refusal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use huitong_tests::{scenario, shopkeeper};

/// The states, as the table's head names them, and how a store comes to be in each.
const STATES: [(&str, &str); 8] = [
    ("connected", ""),
    ("waited for", "backup hub; put_back hub"),
    ("cut off", "cut S1"),
    ("24 h", "cut S1; wait 1440"),
    ("72 h", "cut S1; wait 4320"),
    ("7 days", "cut S1; wait 10080"),
    ("unproved", "cut S1; reboot S1"),
    ("quarantined", "put_back S1"),
];

/// The town: S1 is the store of the table, S2 is connected and S3 is silent.
const TOWN: &str = "stores S1 S2 S3
policy release at_close park 0.00
agreement fifo commission 0.00% fee 0.00%
ladder 1440:200.00 4320:50.00 10080:0.00
points per 1.00 worth 0.01 from 100 share 100%
goods TEA 12.00; goods COAT 500.00
open S1 2026-11-22; open S2 2026-11-22; open S3 2026-11-22";

/// A row: its name in the table, what is prepared, and what is done. `C` is a card of a member, `B` one of nobody's, `A` one of S2, all blank; a row has its own.
struct Row {
    name: &'static str,
    prepared: &'static str,
    done: &'static str,
}

const fn row(name: &'static str, prepared: &'static str, done: &'static str) -> Row {
    Row { name, prepared, done }
}

const ROWS: [Row; 32] = [
    row("Look a card up: 300.00 lie here", "S1 sell C 300.00", "here S1 C 300.00"),
    row("Quote for a member", "S1 sell C 50.00", "S1 quote TEA member C costs 12.00"),
    row("Sell for cash", "", "S1 sale TEA paid cash 12.00"),
    row("Sell for cash to a member, who earns points", "S1 sell C 50.00", "S1 sale TEA member C paid cash 12.00"),
    row("Pay 20.00 of 300.00 that lie here", "S1 sell C 300.00", "S1 spend C 20.00"),
    row("Pay 100.00 of 300.00 that lie here", "S1 sell C 300.00", "S1 spend C 100.00"),
    row("Pay 300.00 of 300.00 that lie here", "S1 sell C 300.00", "S1 spend C 300.00"),
    row("The same, the card is nobody's", "S1 sell B 300.00", "S1 spend B 300.00"),
    row(
        "Pay 40.00, of which 30.00 lie at a store that is connected",
        "S1 sell C 10.00; S2 reload C 30.00",
        "S1 spend C 40.00",
    ),
    row(
        "Pay 40.00, of which 30.00 lie at a store that is silent",
        "S1 sell C 10.00; S3 reload C 30.00",
        "S1 spend C 40.00",
    ),
    row("Pay more than the account has", "S1 sell C 10.00", "S1 spend C 10.01"),
    row(
        "Pay 1.00 with points that lie here",
        "S1 sell C 10.00; S1 sale COAT member C paid cash 500.00",
        "S1 sale TEA member C paid points:C 1.00 cash 11.00",
    ),
    row("Sell a card", "", "S1 sell B 100.00"),
    row("Sell a card that another store is to sell", "", "S1 sell A 100.00"),
    row("Load a card", "S1 sell C 50.00", "S1 reload C 50.00"),
    row("Undo the sale of a card", "S1 sell C 50.00 as R", "S1 void R"),
    row("Undo a load", "S1 sell C 50.00; S1 reload C 30.00 as R", "S1 void R"),
    row("Undo a load that was spent of", "S1 sell C 50.00 as R; S1 spend C 1.00", "S1 void R"),
    row("Take goods back that were paid in cash", "S1 sale TEA paid cash 12.00 as R", "S1 return R 1.00"),
    row("Take goods back that were paid with a card", "S1 sell C 50.00; S1 spend C 20.00 as R", "S1 return R 1.00"),
    row("Load the price of goods onto a card without a receipt", "S1 sell C 50.00", "S1 refund C 5.00"),
    row("Undo a sale paid in cash", "S1 sale TEA paid cash 12.00 as R", "S1 void R"),
    row("Undo a sale paid with a card", "S1 sell C 50.00; S1 spend C 20.00 as R", "S1 void R"),
    row("Hold 40.00 of 50.00 that lie here", "S1 sell C 50.00", "S1 hold C 40.00"),
    row(
        "Capture 30.00 of a hold of 40.00",
        "S1 sell C 50.00; S1 hold C 40.00 for 20000 as H",
        "S1 capture C 30.00 of H",
    ),
    row("Release a hold", "S1 sell C 50.00; S1 hold C 40.00 for 20000 as H", "S1 release H"),
    row("Freeze a card", "S1 sell C 50.00", "S1 freeze C"),
    row("Sell for a payment that nobody knows of", "", "S1 sale TEA paid wechat? 12.00 as R"),
    row("Say that such a payment came", "S1 sale TEA paid wechat? 12.00 as R", "S1 payment R paid:4200001"),
    row("Post a receipt that the till took on its own", "", "S1 offline TEA paid cash 12.00"),
    row("Register a tax invoice", "S1 sale TEA paid cash 12.00 as R", "S1 invoice R 26440001"),
    row("Close the day", "", "close S1"),
];

/// The words of a row with names of its own.
fn own(words: &str, number: usize) -> String {
    let name = |word: &str| match word {
        "A" | "B" | "C" | "R" | "H" => format!("{word}{number}"),
        "points:C" => format!("points:C{number}"),
        _ => word.to_owned(),
    };
    words
        .split(' ')
        .map(|word| word.strip_suffix(';').map_or_else(|| name(word), |word| format!("{};", name(word))))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The rows of the table: a name, and the words of each state's cell.
fn table(document: &str) -> BTreeMap<String, Vec<String>> {
    let cells = |line: &str| {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>()
    };
    let rows = document.lines().filter(|line| line.starts_with('|'));
    rows.map(cells).filter_map(|mut cells| (cells.len() > 1).then(|| (cells.remove(0), cells))).collect()
}

/// The scenario of a state, and which row is done in which line.
fn play(prelude: &str, state: usize, table: &BTreeMap<String, Vec<String>>) -> (String, BTreeMap<usize, &'static str>) {
    let numbers = 1..=ROWS.len();
    let cards = numbers.clone().map(|no| format!(" C{no}@S1:M{no} B{no}@S1 A{no}@S2")).collect::<String>();
    let members = numbers.clone().map(|no| format!(" M{no}")).collect::<String>();
    let mut text = format!("{TOWN}\n");
    text = text.replacen("\nopen", &format!("\nmembers{members}\ncards{cards}\nopen"), 1);
    for (no, row) in numbers.clone().zip(&ROWS) {
        text.push_str(&own(row.prepared, no));
        text.push('\n');
    }
    // A backup that lacks what came after it is what a store in quarantine runs on.
    let _ = writeln!(text, "cut S3; backup S1; S1 sale TEA paid cash 12.00\n{prelude}");
    let mut lines = BTreeMap::new();
    for (no, row) in numbers.zip(&ROWS) {
        let cell = table.get(row.name).and_then(|cells| cells.get(state)).map_or("missing", String::as_str);
        let done = own(row.done, no);
        let expected = match cell {
            "approved" => String::new(),
            code => format!(" refused {code}"),
        };
        let _ = writeln!(
            text,
            "{}",
            if done.starts_with("here") || done.starts_with("close") { done } else { format!("{done}{expected}") }
        );
        lines.insert(text.lines().count(), row.name);
    }
    (text, lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_does_in_every_state_what_the_document_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let table = table(&std::fs::read_to_string(&path).unwrap());
    let head: Vec<&str> = STATES.iter().map(|state| state.0).collect();
    assert_eq!(table.get("operation").map(|cells| cells.iter().map(String::as_str).collect::<Vec<_>>()), Some(head));
    let known =
        |name: &String| name == "operation" || name.starts_with("---") || ROWS.iter().any(|row| row.name == name);
    assert_eq!(table.keys().find(|name| !known(name)), None, "a row that nobody tests");
    let mut otherwise = String::new();
    for (state, (name, prelude)) in STATES.iter().enumerate() {
        let (text, lines) = play(prelude, state, &table);
        let steps = scenario::parse(&text).unwrap_or_else(|error| panic!("{name}: {error:#}\n{text}"));
        for (line, error) in shopkeeper::play_through(&steps).await.unwrap() {
            let row = lines.get(&line).copied().unwrap_or("while it was prepared");
            let _ = writeln!(otherwise, "{name}: {row} (line {line}): {error:#}");
        }
    }
    assert!(otherwise.is_empty(), "{otherwise}");
}
