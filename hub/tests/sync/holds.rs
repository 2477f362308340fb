//! Holds of a store in the hub's journal: read, counted and proved, and no value moves by them.

use huitong_protocol::entry::{Body, Hold, HoldEnd, HoldEndReason, TenderLine};
use huitong_protocol::id::OperationId;
use huitong_protocol::money::Currency;
use huitong_protocol::movement::MovementKind;
use huitong_protocol::time::Instant;

use crate::fake::{World, account, card};
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

fn ended(amount_minor: i64, currency: Currency) -> Body {
    Body::HoldEnd(HoldEnd {
        of: "S1-1-3".parse().unwrap(),
        hold: OperationId(uuid::Uuid::from_u128(3)),
        account: account(1),
        currency,
        amount_minor,
        reason: HoldEndReason::Expired,
        note: String::new(),
    })
}

/// A sale of which a hold pays so much.
fn captures(amount_minor: i64) -> Body {
    let Body::Sale(mut sale) = paid(&[amount_minor], false) else { panic!("a sale") };
    sale.tenders = vec![TenderLine {
        tender: "stored_value".parse().unwrap(),
        card: Some(card(1)),
        hold: Some(OperationId(uuid::Uuid::from_u128(3))),
        ..sale.tenders.remove(0)
    }];
    sale.movements = vec![movement(MovementKind::Spend, amount_minor)];
    Body::Sale(sale)
}

#[tokio::test]
async fn holds_are_proved_with_the_journal_and_only_their_sale_moves_value() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    for body in [open(), reload(100), hold(60), hold(30), ended(30, Currency::CNY), captures(50)] {
        store.write(body);
    }
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
}

#[tokio::test]
async fn a_hold_that_no_till_can_place_is_kept_apart() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    for body in [open(), hold(0), hold(-5), ended(i64::MAX, Currency::CNY), ended(5, "EUR".parse().unwrap()), reload(9)]
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
