//! Parked sales: paid once or undone once.

use super::*;

/// A basket of 500, 200 of it by card 1, 300 by a voucher of which the till does not know whether it was paid.
fn parked(shop: &mut Shop) -> (Entry, ReceiptState) {
    let request = PostSale {
        payment_unknown: Some(1),
        ..sale(vec![line(500, 5_000)], vec![tender("stored_value", 200, Some(1)), tender("cash", 300, None)])
    };
    let (entry, plan) = {
        let decision = shop.sale(&request);
        shop.book(decision)
    };
    let Some(ReceiptChange::Made { state }) = plan.receipt else { panic!("a receipt that is remembered") };
    assert!(state.parked);
    (entry, state)
}

pub(super) fn resolve(shop: &Shop, entry: &Entry, state: &ReceiptState, outcome: PaymentOutcome) -> Decision {
    let request = ResolvePayment {
        outcome,
        reference: (outcome == PaymentOutcome::Paid).then(|| "acq-7".to_owned()),
        reason: "asked the acquirer".to_owned(),
        operator: None,
        approver: None,
        terminal_seq: None,
    };
    resolve_payment(&shop.situation(), entry, state, &shop.cards, &shop.holdings, &request)
}

#[test]
fn a_parked_sale_keeps_its_value_taken_and_its_basket_locked_until_its_payment_is_known() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 1_000);
    let (entry, state) = parked(&mut shop);
    assert_eq!(shop.here(1), 800);
    let locked = void(&shop.situation(), &entry, &state, &nothing(), &shop.cards, &shop.holdings, &void_request());
    assert_eq!(declined(locked).code, DeclineCode::PaymentUnknown);
    let request = RegisterInvoice {
        number: "044002".to_owned(),
        replaces: None,
        operator: None,
        approver: None,
        terminal_seq: None,
    };
    let locked = register_invoice(&shop.situation(), &entry, &state, &request);
    assert_eq!(declined(locked).code, DeclineCode::PaymentUnknown);
    let paid = resolve(&shop, &entry, &state, PaymentOutcome::Paid);
    let (confirmed, plan) = shop.book(paid);
    let Body::Payment(payment) = &confirmed.body else { panic!("a payment") };
    assert_eq!((payment.tender.amount_minor, payment.tender.reference.as_deref()), (300, Some("acq-7")));
    assert_eq!(shop.here(1), 800, "the sale stands");
    let Some(ReceiptChange::Paid { state, .. }) = plan.receipt else { panic!("a receipt that is paid") };
    assert_eq!((state.parked, state.paid_reference.as_deref()), (false, Some("acq-7")));
    for outcome in [PaymentOutcome::Paid, PaymentOutcome::Failed] {
        assert_eq!(declined(resolve(&shop, &entry, &state, outcome)).code, DeclineCode::PaymentKnown);
    }
}

#[test]
fn a_parked_sale_that_was_not_paid_is_undone_on_any_day_and_only_what_came_goes_back() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 1_000);
    let (entry, state) = parked(&mut shop);
    shop.day = Some("2026-11-25".parse().unwrap());
    let failed = resolve(&shop, &entry, &state, PaymentOutcome::Failed);
    let (undone, plan) = shop.book(failed);
    assert_eq!(shop.here(1), 1_000);
    let back: Vec<(&str, i64)> = plan.refunds.iter().map(|line| (line.tender.as_str(), line.amount_minor)).collect();
    assert_eq!(back, [("stored_value", 200)]);
    let flows = |entry: &Entry| entry.body.tender_flows().map(|(_, amount_minor)| amount_minor).sum::<i128>();
    assert_eq!(flows(&entry) + flows(&undone), 0, "the days' totals forget the sale");
    assert_eq!(plan.receipt, Some(ReceiptChange::Voided { of: entry.header.id() }));
}

#[test]
fn only_a_payment_outside_can_be_unknown_and_a_receipt_taken_without_the_edge_holds_no_stored_value() {
    let shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 1_000);
    let by_card = || sale(vec![line(100, 1_000)], vec![tender("stored_value", 100, Some(1))]);
    let fault = |request: PostSale| faulty_field(shop.sale(&request));
    assert_eq!(fault(PostSale { payment_unknown: Some(0), ..by_card() }), "payment_unknown");
    assert_eq!(fault(PostSale { payment_unknown: Some(1), ..by_card() }), "payment_unknown");
    assert_eq!(fault(PostSale { taken_at_ms: Some(Instant(5)), ..by_card() }), "tenders[0].tender");
    let by_cash = sale(vec![line(100, 1_000)], vec![tender("cash", 100, None)]);
    assert_eq!(
        fault(PostSale { taken_at_ms: Some(Instant(5)), payment_unknown: Some(0), ..by_cash }),
        "payment_unknown"
    );
}
