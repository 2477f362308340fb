//! Returns: in any steps, to the last cent.

use proptest::prelude::*;

use super::*;

#[test]
fn a_voucher_is_its_owners_again_when_all_of_it_came_back_by_the_way_it_came() {
    let voucher = |refund| Tender { refund, ..Tender::new("paper".parse().unwrap(), TenderClass::Voucher) };
    let freed = |refund| {
        let mut shop = Shop::new(Vec::new());
        shop.policy.tenders[0].gives_change = true;
        shop.policy.tenders.push(voucher(refund));
        let paper = TenderLine { reference: Some("V-1".to_owned()), ..tender("paper", 300, None) };
        let sold = shop.sale(&sale(vec![line(300, 3_000)], vec![paper]));
        let (receipt, _) = shop.book(sold);
        let mut state = ReceiptState::default();
        let mut freed = Vec::new();
        for quantity_thousandths in [1_000, 2_000] {
            let request = PostReturn {
                receipt: receipt.header.id(),
                items: vec![ReturnItem { line: 0, quantity_thousandths }],
                reason: "broken".to_owned(),
                operator: None,
                approver: None,
                terminal_seq: None,
            };
            let back = post_return(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &request);
            let (_, plan) = shop.book(back);
            freed.push(plan.freed.len());
            let Some(ReceiptChange::Changed { state: next, .. }) = plan.receipt else { panic!("remembered") };
            state = next;
        }
        freed
    };
    assert_eq!(freed(RefundRoute::SameTender), [0, 1], "with the last part of it");
    assert_eq!(freed(RefundRoute::Cash), [0, 0], "it was paid out");
}

#[test]
fn a_return_without_receipt_needs_policy_permission_and_limit() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Frozen)]);
    let request = |amount_minor| PostUnreferencedReturn {
        card: number(1),
        currency: Currency::CNY,
        amount_minor,
        reason: "no receipt".to_owned(),
        operator: None,
        approver: None,
        terminal_seq: None,
    };
    let post = |shop: &Shop, permitted, amount| {
        post_unreferenced_return(&shop.situation(), permitted, &shop.cards, &shop.holdings, &request(amount))
    };
    assert_eq!(declined(post(&shop, false, 100)).code, DeclineCode::PermissionDenied);
    assert_eq!(declined(post(&shop, true, 5_001)).code, DeclineCode::WithoutReceiptLimit);
    let taken = post(&shop, true, 5_000);
    shop.book(taken);
    assert_eq!(shop.here(1), 5_000, "a frozen card's owner still gets the money");
    shop.policy.returns.without_receipt = false;
    assert_eq!(declined(post(&shop, true, 100)).code, DeclineCode::WithoutReceiptOff);
}

#[test]
fn nothing_comes_back_twice() {
    let mut shop = Shop::new(Vec::new());
    let sold = shop.sale(&sale(vec![line(300, 3_000)], vec![tender("cash", 300, None)]));
    let (receipt, _) = shop.book(sold);
    let request = |items| PostReturn {
        receipt: receipt.header.id(),
        items,
        reason: "broken".to_owned(),
        operator: None,
        approver: None,
        terminal_seq: None,
    };
    let back = |shop: &Shop, state: &ReceiptState, items| {
        post_return(&shop.situation(), &receipt, state, &shop.cards, &shop.holdings, &request(items))
    };
    let item = |line, quantity_thousandths| vec![ReturnItem { line, quantity_thousandths }];
    let first = back(&shop, &ReceiptState::default(), item(0, 2_000));
    let (_, plan) = shop.book(first);
    let Some(ReceiptChange::Changed { state, .. }) = plan.receipt else { panic!("a return") };
    assert_eq!(declined(back(&shop, &state, item(0, 1_001))).code, DeclineCode::ReturnExceedsSale);
    assert_eq!(
        declined(void(&shop.situation(), &receipt, &state, &nothing(), &shop.cards, &shop.holdings, &void_request()))
            .code,
        DeclineCode::AlreadyReturned
    );
    assert_eq!(faulty_field(back(&shop, &state, item(1, 1))), "items[0].line");
    assert_eq!(faulty_field(back(&shop, &state, [item(0, 1), item(0, 1)].concat())), "items[1].line");
}

proptest! {
    /// I7: whatever a basket, its tenders and the steps in which it comes back, to the cent.
    #[test]
    fn returning_everything_in_any_steps_gives_every_tender_what_it_paid(
        lines in prop::collection::vec((1_i64..20_000, 1_i64..8), 1..8),
        cut in (0.0_f64..1.0, 0.0_f64..1.0),
        order in any::<u64>(),
    ) {
        let total: i64 = lines.iter().map(|&(net, _)| net).sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::float_arithmetic, reason = "a random cut of the total")]
        let at = |share: f64| (total as f64 * share) as i64;
        let (a, b) = (at(cut.0.min(cut.1)), at(cut.0.max(cut.1)));
        let tenders: Vec<TenderLine> = [("stored_value", a, Some(1)), ("cash", b - a, None), ("stored_value", total - b, Some(2))]
            .into_iter().filter(|(_, amount, _)| *amount > 0).map(|(code, amount, card)| tender(code, amount, card)).collect();
        let mut shop = Shop::new(vec![card(1, CardStatus::Active), card(2, CardStatus::Active)]).with(1, total).with(2, total);
        shop.policy.products[0].balance_minor_max = i64::MAX;
        let sold = shop.sale(&sale(lines.iter().map(|&(net, pieces)| line(net, pieces * 1_000)).collect(), tenders.clone()));
        let (receipt, _) = shop.book(sold);
        let mut pieces: Vec<u16> = lines.iter().enumerate().flat_map(|(at, &(_, pieces))| (0..pieces).map(move |_| u16::try_from(at).unwrap())).collect();
        pieces.sort_by_key(|&at| (u64::from(at) + 1).wrapping_mul(order | 1) % 7);
        let mut state = ReceiptState::default();
        let mut refunded = vec![0; tenders.len()];
        for at in pieces {
            let request = PostReturn { receipt: receipt.header.id(), items: vec![ReturnItem { line: at, quantity_thousandths: 1_000 }], reason: "r".to_owned(), operator: None, approver: None, terminal_seq: None };
            let back = post_return(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &request);
            let (_, plan) = shop.book(back);
            for refund in &plan.refunds {
                let at = tenders.iter().position(|tender| (tender.tender, tender.card) == (refund.tender, refund.card)).unwrap();
                refunded[at] += refund.amount_minor;
            }
            let Some(ReceiptChange::Changed { state: next, .. }) = plan.receipt else { panic!("a return") };
            state = next;
        }
        prop_assert_eq!(refunded, tenders.iter().map(|tender| tender.amount_minor).collect::<Vec<_>>());
        prop_assert_eq!((shop.here(1), shop.here(2)), (total, total));
    }
}
