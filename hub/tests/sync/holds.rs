//! Holds of a store in the hub's journal: read, counted and proved, and no value moves by them.

use huitong_protocol::entry::{Body, Hold, HoldEnd, HoldEndReason, TenderLine};
use huitong_protocol::id::{EntryId, Epoch, OperationId, Seq};
use huitong_protocol::money::Currency;
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::time::Instant;

use crate::fake::{FakeStore, World, account, card, uuid_of};
use crate::journal::{movement, open, paid, reload};

fn hold(amount_minor: i64) -> Body {
    Body::Hold(Hold {
        card: card(1),
        account: account(1),
        currency: Currency::CNY,
        amount_minor,
        expires_at_ms: Instant(5_000),
    })
}

/// The operation of the entry at a position, which is a hold's id when the entry placed one.
fn operation(seq: u64) -> OperationId {
    uuid_of("S1".parse().unwrap(), Epoch(1), Seq(seq))
}

/// The hold that an entry placed ends unused.
fn ended(placed_by: u64, amount_minor: i64, currency: Currency) -> Body {
    Body::HoldEnd(HoldEnd {
        of: EntryId { store: "S1".parse().unwrap(), epoch: Epoch(1), seq: Seq(placed_by) },
        hold: operation(placed_by),
        account: account(1),
        currency,
        amount_minor,
        reason: HoldEndReason::Expired,
        note: String::new(),
    })
}

/// A sale of which the hold that an entry placed pays so much.
fn captures(placed_by: u64, amount_minor: i64) -> Body {
    let Body::Sale(mut sale) = paid(&[amount_minor], false) else { panic!("a sale") };
    sale.tenders = vec![TenderLine {
        tender: "stored_value".parse().unwrap(),
        card: Some(card(1)),
        hold: Some(operation(placed_by)),
        ..sale.tenders.remove(0)
    }];
    sale.movements = vec![movement(MovementKind::Spend, amount_minor)];
    Body::Sale(sale)
}

/// As [`captures`], but takes something else off an account.
fn captures_and_takes(amount_minor: i64, taken: Movement) -> Body {
    let Body::Sale(mut sale) = captures(3, amount_minor) else { panic!("a sale") };
    sale.movements = vec![taken];
    Body::Sale(sale)
}

/// A store that loads 100 and places holds of 60 and 30, by its entries 3 and 4; and what it writes then.
async fn placed(then: impl IntoIterator<Item = Body>) -> (World, FakeStore) {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    for body in [open(), reload(100), hold(60), hold(30)].into_iter().chain(then) {
        store.write(body);
    }
    (world, store)
}

/// What `verify` finds of holds.
async fn found(world: &World) -> Vec<String> {
    let report = world.read(huitong_hub::verify::run).await;
    let holds = report.checks.into_iter().find(|check| check.name == "holds").unwrap();
    holds.findings.into_iter().map(|finding| format!("{} {}: {}", finding.table, finding.row, finding.fault)).collect()
}

#[tokio::test]
async fn holds_are_proved_with_the_journal_and_only_their_sale_moves_value() {
    let (world, mut store) = placed([ended(4, 30, Currency::CNY), captures(3, 50)]).await;
    store.seal(|_| ());
    let uploaded = store.upload(store.segment(0, 7)).await.unwrap();
    assert_eq!((uploaded.journal_head, uploaded.quarantined.len()), (store.head(), 0));
    assert_eq!(uploaded.days[0].differences, Vec::<String>::new(), "the seal counts them");
    let moved = world
        .read(|tx| {
            tx.query("SELECT kind || ' ' || amount_minor FROM movement ORDER BY seq", &[], |row| {
                Ok(row.text(0)?.to_owned())
            })
        })
        .await;
    assert_eq!(moved, ["reload 100", "spend 50"]);
    let report = world.read(huitong_hub::verify::run).await;
    assert!(report.ok, "{report:?}");
    assert_eq!(world.exceptions().await, Vec::<String>::new());
    // The rows are the journal's.
    for sql in ["UPDATE hold SET ended_seq = NULL WHERE seq = 3", "DELETE FROM hold WHERE seq = 4"] {
        world.hub.store.write(move |tx| tx.execute(sql, &[])).await.unwrap();
    }
    let holds = [operation(3), operation(4)].map(|id| format!("hold S1-1 hold {id}"));
    assert_eq!(
        found(&world).await,
        [format!("{}: is not as the journal placed or ended it", holds[0]), format!("{}: is missing", holds[1])]
    );
}

#[tokio::test]
async fn a_hold_that_ends_otherwise_than_it_was_placed_is_named() {
    let of_another = Movement { account: account(3), ..movement(MovementKind::Spend, 20) };
    let cases: [(Vec<Body>, u64, &str); 8] = [
        (vec![captures(3, 20), captures(3, 20)], 6, "entry S1-1-5 had ended it"),
        (vec![captures(3, 20), ended(3, 60, Currency::CNY)], 6, "entry S1-1-5 had ended it"),
        (vec![ended(4, 30, Currency::CNY), captures(4, 30)], 6, "entry S1-1-5 had ended it"),
        (vec![captures(4, 31)], 5, "it held 30, and ends with 31"),
        (vec![ended(4, 29, Currency::CNY)], 5, "it held 30, and ends with 29"),
        (vec![captures(2, 5)], 5, "no entry before it in the journal placed it"),
        (vec![captures_and_takes(20, of_another)], 5, "it was of account 1, and"),
        (vec![captures_and_takes(20, movement(MovementKind::Spend, 19))], 5, "it was of account 1, and"),
    ];
    for (then, at, why) in cases {
        let (world, store) = placed(then).await;
        // In parts, the second of them twice.
        let end = store.journal.len();
        for from in [0, 4, 4] {
            store.upload(store.segment(from, end)).await.unwrap();
        }
        let found = found(&world).await;
        assert!(
            matches!(&found[..], [one] if one.starts_with(&format!("entry S1-1-{at}: ")) && one.contains(why)),
            "{why}: {found:?}"
        );
        let open = world.open_exceptions().await;
        let [exception] = &open[..] else { panic!("{why}: {open:?}") };
        assert_eq!(exception.class.as_str(), "hold_differs");
        assert!(exception.evidence.to_string().contains(why), "{}", exception.evidence);
    }
}

#[tokio::test]
async fn a_hold_that_no_till_can_place_is_kept_apart() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    for body in
        [open(), hold(0), hold(-5), ended(3, i64::MAX, Currency::CNY), ended(3, 5, "EUR".parse().unwrap()), reload(9)]
    {
        store.write(body);
    }
    let uploaded = store.upload(store.segment(0, 6)).await.unwrap();
    let why: Vec<(u64, &str)> = uploaded.quarantined.iter().map(|q| (q.seq.0, q.reason.as_str())).collect();
    assert_eq!(
        why,
        [
            (2, "amount_minor: is 0; from 1 to 100000000000 is allowed"),
            (3, "amount_minor: is -5; from 1 to 100000000000 is allowed"),
            (4, "amount_minor: is 9223372036854775807; from 1 to 100000000000 is allowed"),
            (5, "currency: is EUR, the group counts in CNY"),
        ]
    );
}
