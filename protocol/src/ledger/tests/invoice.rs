//! Tax invoices over receipts.

use super::*;

#[test]
fn what_may_stand_on_an_invoice_is_what_was_not_paid_with_stored_value() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 1_000);
    let low = TillLine { tax_ppm: 90_000, ..line(100, 1_000) };
    let sold = shop.sale(&sale(
        vec![line(300, 1_000), low],
        vec![tender("stored_value", 200, Some(1)), tender("cash", 200, None)],
    ));
    let (entry, _) = shop.book(sold);
    let Body::Sale(body) = entry.body else { panic!("a sale") };
    let rates: Vec<(u32, i64)> = body.invoiceable.iter().map(|rate| (rate.tax_ppm, rate.invoiceable_minor)).collect();
    assert_eq!(rates, [(90_000, 50), (130_000, 150)]);
}

#[test]
fn a_load_is_invoiced_under_its_tax_code_and_a_mistyped_number_is_replaced() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]);
    let loaded = reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(500, 0));
    let (receipt, _) = shop.book(loaded);
    let register = |shop: &Shop, state: &ReceiptState, number: &str, replaces: Option<&str>| {
        let replaces = replaces.map(str::to_owned);
        let request =
            RegisterInvoice { number: number.to_owned(), replaces, operator: None, approver: None, terminal_seq: None };
        register_invoice(&shop.situation(), &receipt, state, &request)
    };
    assert_eq!(faulty_field(register(&shop, &ReceiptState::default(), "1", Some("0"))), "replaces");
    let first = register(&shop, &ReceiptState::default(), "044O02", None);
    let (entry, plan) = shop.book(first);
    let Body::Invoice(invoice) = &entry.body else { panic!("an invoice") };
    assert_eq!(
        (invoice.invoiceable[0].tax_code.as_deref(), invoice.invoiceable[0].invoiceable_minor),
        (Some("601"), 500)
    );
    let Some(ReceiptChange::Changed { state, .. }) = plan.receipt else { panic!("a receipt that changes") };
    assert_eq!(declined(register(&shop, &state, "044002", None)).code, DeclineCode::AlreadyInvoiced);
    assert_eq!(declined(register(&shop, &state, "044002", Some("9"))).code, DeclineCode::AlreadyInvoiced);
    let again = register(&shop, &state, "044002", Some("044O02"));
    let (_, plan) = shop.book(again);
    let Some(ReceiptChange::Changed { state, .. }) = plan.receipt else { panic!("a receipt that changes") };
    let undone = void(&shop.situation(), &receipt, &state, &nothing(), &shop.cards, &shop.holdings, &void_request());
    let (entry, _) = shop.book(undone);
    let Body::Void(body) = &entry.body else { panic!("a void") };
    assert_eq!(body.red_letter.as_ref().map(|letter| letter.invoice.as_str()), Some("044002"));
}

#[test]
fn a_receipt_is_invoiced_once_for_what_is_left_of_it_and_then_asks_for_red_letters() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 1_000);
    let sold =
        shop.sale(&sale(vec![line(400, 4_000)], vec![tender("stored_value", 100, Some(1)), tender("cash", 300, None)]));
    let (receipt, _) = shop.book(sold);
    let back = |shop: &Shop, state: &ReceiptState| {
        let items = vec![ReturnItem { line: 0, quantity_thousandths: 1_000 }];
        let request = PostReturn {
            receipt: receipt.header.id(),
            items,
            reason: "broken".to_owned(),
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        post_return(&shop.situation(), &receipt, state, &shop.cards, &shop.holdings, &request)
    };
    let state_of = |plan: &Plan| match &plan.receipt {
        Some(ReceiptChange::Changed { state, .. }) => state.clone(),
        other => panic!("a receipt that changes, not {other:?}"),
    };
    let first = back(&shop, &ReceiptState::default());
    let (entry, plan) = shop.book(first);
    assert!(matches!(&entry.body, Body::Return(body) if body.red_letter.is_none()), "nothing is invoiced yet");
    let register = |shop: &Shop, state: &ReceiptState| {
        let request = RegisterInvoice {
            number: " 044002 ".to_owned(),
            replaces: None,
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        register_invoice(&shop.situation(), &receipt, state, &request)
    };
    let state = state_of(&plan);
    let invoiced = register(&shop, &state);
    let (entry, plan) = shop.book(invoiced);
    let Body::Invoice(invoice) = &entry.body else { panic!("an invoice") };
    assert_eq!((invoice.number.as_str(), invoice.invoiceable[0].invoiceable_minor), ("044002", 225));
    let state = state_of(&plan);
    assert_eq!(declined(register(&shop, &state)).code, DeclineCode::AlreadyInvoiced);
    let undone = void(&shop.situation(), &receipt, &state, &nothing(), &shop.cards, &shop.holdings, &void_request());
    assert_eq!(declined(undone).code, DeclineCode::AlreadyInvoiced);
    let second = back(&shop, &state);
    let (entry, _) = shop.book(second);
    let Body::Return(returned) = &entry.body else { panic!("a return") };
    let red_letter = returned.red_letter.as_ref().unwrap();
    assert_eq!((red_letter.invoice.as_str(), red_letter.invoiceable[0].invoiceable_minor), ("044002", 75));
}
