//! Holds: placed as a sale pays, captured once whatever became of the card, given back otherwise.

use super::*;
use crate::allotment::HoldingEvent;
use crate::entry::HoldEndReason;
use crate::ledger::{end_expired, place_hold, release_hold};
use crate::till::{HoldState, PlaceHold, ReleaseHold};

const MINUTE_S: u64 = 60;

fn asks(no: i64, amount_minor: i64) -> PlaceHold {
    PlaceHold {
        card: number(no),
        currency: Currency::CNY,
        amount_minor,
        expires_in_s: 30 * MINUTE_S,
        operator: None,
        approver: None,
        terminal_seq: None,
    }
}

fn gives_up() -> ReleaseHold {
    ReleaseHold { reason: "nobody came".to_owned(), operator: None, approver: None, terminal_seq: None }
}

fn purse(no: i64) -> Purse {
    Purse { account: account(no), unit: CNY }
}

impl Shop {
    fn place(&self, request: &PlaceHold) -> Decision {
        place_hold(&self.situation(), NOON, &self.cards, &self.holdings, request)
    }

    /// Places a hold and keeps it, as the edge does.
    fn held(&mut self, no: i64, amount_minor: i64) -> OperationId {
        let decision = self.place(&asks(no, amount_minor));
        let (entry, _) = self.book(decision);
        let Body::Hold(body) = entry.body else { panic!("a hold") };
        let id = entry.header.operation;
        self.holds.push(Hold {
            id,
            entry: entry.header.id(),
            card: body.card,
            account: body.account,
            currency: body.currency,
            amount_minor: body.amount_minor,
            placed_at_ms: NOON,
            expires_at_ms: body.expires_at_ms,
            state: HoldState::Open,
            captured_minor: None,
            ended_by: None,
        });
        id
    }

    fn book_ends(&mut self, plan: &Plan) {
        for ended in &plan.ended {
            let hold = self.holds.iter_mut().find(|hold| hold.id == ended.id).unwrap();
            (hold.state, hold.captured_minor) = (ended.state, ended.captured_minor);
        }
    }

    fn release(&self, id: OperationId) -> Decision {
        let hold = self.holds.iter().find(|hold| hold.id == id).unwrap();
        release_hold(&self.situation(), hold, &self.holdings, &gives_up())
    }
}

fn by_hold(no: i64, amount_minor: i64, id: OperationId) -> TenderLine {
    TenderLine { hold: Some(id), ..tender("stored_value", amount_minor, Some(no)) }
}

fn pays(tenders: Vec<TenderLine>) -> PostSale {
    let total = tenders.iter().map(|line| line.amount_minor).sum();
    sale(vec![line(total, 1_000)], tenders)
}

fn shop() -> Shop {
    Shop::new(vec![card(1, CardStatus::Active), card(2, CardStatus::Active)]).with(1, 10_000).with(2, 10_000)
}

#[test]
fn what_is_held_pays_for_nothing_else_and_its_owner_is_never_called_poor() {
    let mut shop = shop();
    shop.held(1, 9_000);
    assert_eq!(shop.here(1), 1_000);
    let refused = declined(shop.sale(&pays(vec![tender("stored_value", 1_001, Some(1))])));
    assert_eq!(refused.code, DeclineCode::Held);
    assert_eq!((refused.available_here_minor, refused.held_minor), (Some(1_000), Some(9_000)));
    let refused = declined(shop.sale(&pays(vec![tender("stored_value", 10_001, Some(1))])));
    assert_eq!(refused.code, DeclineCode::Held, "not all of it is there, but not nothing either");
    shop.hub = Hub::Unreachable;
    let refused = declined(shop.sale(&pays(vec![tender("stored_value", 10_001, Some(1))])));
    assert_eq!(refused.code, DeclineCode::InsufficientHereOffline);
    assert_eq!(declined(shop.place(&asks(1, 1_001))).code, DeclineCode::Held);
    assert!(matches!(shop.sale(&pays(vec![tender("stored_value", 1_000, Some(1))])), Decision::Approved(_)));
}

#[test]
fn what_a_hold_and_its_card_pay_counts_the_same_in_either_order() {
    for is_hold_first in [true, false] {
        let mut shop = shop();
        shop.policy.products[0].spend_minor_max = 6_000;
        let id = shop.held(1, 4_000);
        let tenders = |plain_minor| {
            let mut lines = vec![by_hold(1, 4_000, id), tender("stored_value", plain_minor, Some(1))];
            if !is_hold_first {
                lines.reverse();
            }
            lines
        };
        let refused = declined(shop.sale(&pays(tenders(2_001))));
        assert_eq!(
            (refused.code, refused.available_here_minor, refused.needed_minor),
            (DeclineCode::SpendLimit, Some(6_000), Some(6_001))
        );
        let approved = shop.sale(&pays(tenders(2_000)));
        let (entry, _) = shop.book(approved);
        // A return finds what each tender took off by its place.
        let moved: Vec<i64> = entry.body.movements().iter().map(|movement| movement.amount_minor).collect();
        let paid: Vec<i64> = entry.body.tenders().iter().map(|line| line.amount_minor).collect();
        assert_eq!((moved, shop.here(1)), (paid, 4_000));
    }
}

#[test]
fn a_hold_asks_the_hub_for_what_is_short_and_then_only_says_no() {
    let mut shop = shop();
    shop.hub = Hub::NotAsked;
    let needs = asked(shop.place(&asks(1, 10_500)));
    assert_eq!((needs.len(), needs[0].missing_minor, needs[0].purpose), (1, 500, Purpose::Spend));
    shop.hub = Hub::Answered { elsewhere: Vec::new() };
    assert_eq!(declined(shop.place(&asks(1, 10_500))).code, DeclineCode::Insufficient);
    shop.hub = Hub::Unreachable;
    assert_eq!(declined(shop.place(&asks(1, 10_500))).code, DeclineCode::InsufficientHereOffline);
}

#[test]
fn a_hold_is_placed_where_a_sale_would_be_paid() {
    let mut shop = shop();
    shop.cards[0].status = CardStatus::Frozen;
    assert_eq!(declined(shop.place(&asks(1, 1))).code, DeclineCode::CardFrozen);
    shop.cards[0].status = CardStatus::Active;
    shop.gate = ValueGate::Unproved { tills: Vec::new(), hub: true };
    assert_eq!(declined(shop.place(&asks(1, 1))).code, DeclineCode::ValueUnproved);
    shop.gate = ValueGate::Open;
    shop.hub = Hub::Unreachable;
    shop.rung = Some(Rung { after_minutes: 60, value_minor_max: Some(500), points_max: None, bearer_cards: true });
    assert_eq!(declined(shop.place(&asks(1, 501))).code, DeclineCode::OfflineLimit);
    shop.rung = None;
    shop.policy.products[0].spend_minor_max = 600;
    assert_eq!(declined(shop.place(&asks(1, 601))).code, DeclineCode::SpendLimit);
    shop.day = None;
    assert_eq!(declined(shop.place(&asks(1, 1))).code, DeclineCode::DayNotOpen);
}

#[test]
fn the_policy_limits_amount_time_and_number() {
    let mut shop = shop();
    shop.policy.holds.amount_minor_max = 500;
    shop.policy.holds.minutes_max = 30;
    shop.policy.holds.open_max = 2;
    let refused = declined(shop.place(&asks(1, 501)));
    assert_eq!((refused.code, refused.available_here_minor), (DeclineCode::HoldLimit, Some(500)));
    let longer = PlaceHold { expires_in_s: 30 * MINUTE_S + 1, ..asks(1, 500) };
    assert_eq!(declined(shop.place(&longer)).code, DeclineCode::HoldTooLong);
    shop.held(1, 500);
    let last = shop.held(1, 500);
    assert_eq!(declined(shop.place(&asks(1, 500))).code, DeclineCode::HoldsOpen);
    assert!(matches!(shop.place(&asks(2, 500)), Decision::Approved(_)), "another account counts for itself");
    let released = shop.release(last);
    let (_, plan) = shop.book(released);
    shop.book_ends(&plan);
    assert!(matches!(shop.place(&asks(1, 500)), Decision::Approved(_)));
    assert_eq!(faulty_field(shop.place(&PlaceHold { expires_in_s: 0, ..asks(1, 1) })), "expires_in_s");
    assert_eq!(faulty_field(shop.place(&asks(1, 0))), "amount_minor");
}

#[test]
fn a_capture_pays_ends_the_hold_and_gives_back_the_rest() {
    let mut shop = shop();
    let id = shop.held(1, 9_000);
    let decision = shop.sale(&pays(vec![by_hold(1, 6_000, id), tender("stored_value", 1_000, Some(1))]));
    let (entry, plan) = shop.book(decision);
    shop.book_ends(&plan);
    let Body::Sale(sale) = &entry.body else { panic!("a sale") };
    let moved: Vec<i64> = sale.movements.iter().map(|movement| movement.amount_minor).collect();
    assert_eq!((moved, shop.here(1), shop.holdings.get(purse(1)).held_minor), (vec![6_000, 1_000], 3_000, 0));
    let again = shop.sale(&pays(vec![by_hold(1, 1, id)]));
    assert_eq!(declined(again).code, DeclineCode::HoldEnded);
    assert_eq!(declined(shop.release(id)).code, DeclineCode::HoldEnded);
    // Undone, the value is the account's again; the hold has ended.
    let undone = void(
        &shop.situation(),
        &entry,
        &ReceiptState::default(),
        &nothing(),
        &shop.cards,
        &shop.holdings,
        &void_request(),
    );
    let (undone, plan) = shop.book(undone);
    let Body::Void(body) = undone.body else { panic!("a void") };
    assert_eq!(body.tenders.iter().map(|line| line.hold).collect::<Vec<_>>(), [None, None]);
    assert_eq!((shop.here(1), shop.holdings.get(purse(1)).held_minor, plan.ended.len()), (10_000, 0, 0));
}

#[test]
fn a_capture_is_honoured_whatever_became_of_the_card_but_not_in_quarantine() {
    let mut shop = shop();
    let id = shop.held(1, 9_000);
    shop.hub = Hub::NotAsked;
    shop.rung = Some(Rung { after_minutes: 60, value_minor_max: Some(0), points_max: None, bearer_cards: true });
    for status in [CardStatus::Frozen, CardStatus::Lost, CardStatus::Replaced] {
        shop.cards[0].status = status;
        assert!(matches!(shop.sale(&pays(vec![by_hold(1, 9_000, id)])), Decision::Approved(_)), "{status:?}");
    }
    let beside = pays(vec![by_hold(1, 9_000, id), tender("stored_value", 1, Some(1))]);
    shop.cards[0].status = CardStatus::Frozen;
    assert_eq!(declined(shop.sale(&beside)).code, DeclineCode::CardFrozen, "more of the card is not promised");
    shop.gate = ValueGate::Quarantined;
    assert_eq!(declined(shop.sale(&pays(vec![by_hold(1, 9_000, id)]))).code, DeclineCode::ValueQuarantined);
    assert_eq!(declined(shop.release(id)).code, DeclineCode::ValueQuarantined);
}

#[test]
fn a_capture_beside_a_tender_that_must_ask_waits_for_the_answer() {
    let mut shop = shop();
    let id = shop.held(1, 9_000);
    let both = pays(vec![tender("stored_value", 1_500, Some(1)), by_hold(1, 9_000, id)]);
    shop.hub = Hub::NotAsked;
    let needs = asked(shop.sale(&both));
    assert_eq!((needs.len(), needs[0].missing_minor), (1, 500));
    let held = shop.holdings.get(purse(1));
    let granted = crate::allotment::step(&held, HoldingEvent::Moved(StoreEvent::Adopt { granted_minor: 500 }));
    shop.holdings.put(purse(1), granted.unwrap());
    shop.hub = Hub::Answered { elsewhere: Vec::new() };
    assert!(matches!(shop.sale(&both), Decision::Approved(_)));
}

#[test]
fn a_tender_names_its_hold_rightly_or_is_told_what_is_wrong() {
    let mut shop = shop();
    let id = shop.held(1, 900);
    let refused = declined(shop.sale(&pays(vec![by_hold(1, 901, id)])));
    assert_eq!(
        (refused.code, refused.available_here_minor, refused.needed_minor),
        (DeclineCode::HoldExceeded, Some(900), Some(901))
    );
    let unknown = OperationId(uuid::Uuid::from_u128(99));
    assert_eq!(declined(shop.sale(&pays(vec![by_hold(1, 1, unknown)]))).code, DeclineCode::HoldUnknown);
    let twice = pays(vec![by_hold(1, 1, id), by_hold(1, 1, id)]);
    assert_eq!(faulty_field(shop.sale(&twice)), "tenders[1].hold");
    assert_eq!(faulty_field(shop.sale(&pays(vec![by_hold(2, 1, id)]))), "tenders[0].card");
    let cash = TenderLine { card: None, tender: "cash".parse().unwrap(), ..by_hold(1, 1, id) };
    assert_eq!(faulty_field(shop.sale(&pays(vec![cash]))), "tenders[0].hold");
    let mut load = load_request(100, 0);
    load.tenders[0].hold = Some(id);
    let loaded = reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load);
    assert_eq!(faulty_field(loaded), "tenders[0].hold");
}

#[test]
fn a_card_with_a_hold_is_not_sold_back() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(1_000, 0));
    let (receipt, _) = shop.book(sold);
    shop.held(1, 400);
    let undo = |shop: &Shop| {
        let (state, standing) = (ReceiptState::default(), nothing());
        void(&shop.situation(), &receipt, &state, &standing, &shop.cards, &shop.holdings, &void_request())
    };
    assert_eq!(declined(undo(&shop)).code, DeclineCode::Held);
    let reloaded = reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(400, 0));
    shop.book(reloaded);
    assert_eq!(declined(undo(&shop)).code, DeclineCode::CardInUse, "the next owner would find the hold");
}

#[test]
fn an_expired_hold_gives_all_of_it_back_once() {
    let mut shop = shop();
    let id = shop.held(1, 900);
    let hold = shop.holds[0].clone();
    assert_eq!(hold.expires_at_ms, NOON.plus_ms(30 * 60_000));
    let (body, after) = end_expired(&hold, &shop.holdings.get(purse(1))).unwrap();
    let Body::HoldEnd(end) = body else { panic!("an end") };
    assert_eq!((end.reason, end.hold, end.amount_minor), (HoldEndReason::Expired, id, 900));
    assert_eq!((after.available_minor(), after.held_minor), (10_000, 0));
    assert!(end_expired(&hold, &after).is_err(), "it held nothing more");
}
