//! Decisions of the till's operations, in a small shop: one policy, a few cards, amounts in fen.

use proptest::prelude::*;

use super::basket::{Known, Prices};
use super::*;
use crate::card::{CheckDigit, NumberRange};
use crate::entry::{
    BODY_VERSION, Entry, HEADER_VERSION, Header, LineFlags, Markdown, Origin, ReplicaVersions, SaleLine,
};
use crate::id::{Epoch, OperationId, Seq, TenderCode};
use crate::item::Item;
use crate::money::Ppm;
use crate::points::{BurnRule, EarnRule, PointsRules};
use crate::policy::{
    CountsAs, Give, Goods, Product, Promotion, ReferenceRule, RefundRoute, ReturnRules, Tender, TenderClass,
};
use crate::pricing::{PriceBook, Shopper};
use crate::rerate::{Rerated, rerate};
use crate::till::{
    LoadCard, PaymentOutcome, PostReturn, PostSale, PostUnreferencedReturn, RegisterInvoice, ResolvePayment,
    ReturnItem, VoidOperation,
};
use crate::time::{CivilOffset, Instant, Stamp};

const CNY: Unit = Unit::Money(Currency::CNY);

fn policy() -> Policy {
    let tender = |code: &str, class, may_load| Tender {
        may_load,
        invoiceable: class == TenderClass::External,
        ..Tender::new(code.parse().unwrap(), class)
    };
    Policy {
        products: vec![Product {
            id: "SV".parse().unwrap(),
            name: "储值卡".to_owned(),
            issuer: "E1".parse().unwrap(),
            ranges: vec![NumberRange { prefix: "66".to_owned(), length: 12, check: CheckDigit::Damm }],
            load_minor_max: 100_000,
            balance_minor_max: 150_000,
            invoice_tax_code: Some("601".to_owned()),
        }],
        tenders: vec![
            tender("cash", TenderClass::External, true),
            tender("voucher", TenderClass::External, false),
            tender("stored_value", TenderClass::StoredValue, false),
        ],
        returns: ReturnRules { without_receipt: true, without_receipt_minor_max: 5_000 },
        ..Policy::empty("test", Currency::CNY)
    }
}

fn number(account: i64) -> CardNumber {
    CardNumber::new(&format!("66{account:010}")).unwrap()
}

fn account(no: i64) -> AccountId {
    AccountId::new(no).unwrap()
}

fn card(no: i64, status: CardStatus) -> Card {
    Card {
        number: number(no),
        product: "SV".parse().unwrap(),
        account: account(no),
        status,
        status_stamp: Stamp::ZERO,
        allocated_store: Some("S1".parse().unwrap()),
        member: None,
        expires_on: None,
    }
}

/// A shop with its policy, open day, cards and counters.
struct Shop {
    policy: Policy,
    day: Option<BusinessDay>,
    hub: Hub,
    cards: Vec<Card>,
    holdings: Holdings,
    seq: u64,
    /// The member at the till and the account that earns.
    shopper: Option<Shopper>,
    earns: Option<(CardNumber, AccountId)>,
    /// Whether the item master has every item.
    has_items: bool,
}

/// Noon of 22 November 2026 in Shanghai.
const NOON: Instant = Instant(1_795_320_000_000);

impl Shop {
    fn new(cards: Vec<Card>) -> Self {
        let day = Some("2026-11-22".parse().unwrap());
        Self {
            policy: policy(),
            day,
            hub: Hub::Answered { elsewhere: Vec::new() },
            cards,
            holdings: Holdings::default(),
            seq: 0,
            shopper: None,
            earns: None,
            has_items: false,
        }
    }

    fn with(mut self, no: i64, loaded_minor: i64) -> Self {
        let counters = StoreCounters { loaded_minor, ..StoreCounters::default() };
        self.holdings.put(Purse { account: account(no), unit: CNY }, counters);
        self
    }

    fn situation(&self) -> Situation<'_> {
        Situation { store: "S1".parse().unwrap(), policy: &self.policy, day: self.day, hub: &self.hub }
    }

    fn here(&self, no: i64) -> i64 {
        self.holdings.get(Purse { account: account(no), unit: CNY }).available_minor()
    }

    /// Does what was approved, and gives the entry.
    fn book(&mut self, decision: Decision) -> (Entry, Plan) {
        let plan = match decision {
            Decision::Approved(plan) => *plan,
            other => panic!("not approved: {other:?}"),
        };
        for &(purse, counters) in &plan.counters {
            self.holdings.put(purse, counters);
        }
        if let Some((number, status)) = plan.card {
            self.cards.iter_mut().find(|card| card.number == number).unwrap().status = status;
        }
        self.seq += 1;
        let header = Header {
            header_version: HEADER_VERSION,
            body_version: BODY_VERSION,
            kind: plan.body.kind().to_owned(),
            group: "G".parse().unwrap(),
            store: "S1".parse().unwrap(),
            epoch: Epoch(1),
            seq: Seq(self.seq),
            operation: OperationId(uuid::Uuid::from_u128(u128::from(self.seq))),
            stamp: Stamp(i64::try_from(self.seq).unwrap()),
            at_ms: Instant(0),
            offset_minutes: CivilOffset::new(480).unwrap(),
            business_day: self.day,
            terminal: None,
            terminal_seq: None,
            operator: None,
            approver: None,
            origin: Origin::Edge,
            replica: ReplicaVersions::default(),
        };
        (Entry { header, body: plan.body.clone() }, plan)
    }

    /// Prices the basket and posts it, as the edge does.
    fn sale(&self, request: &PostSale) -> Decision {
        if let Err(fault) = request.check() {
            return Decision::Faulty(fault);
        }
        let book = PriceBook::new(&self.policy);
        let prices = Prices { policy: &self.policy, version: 1, book: &book };
        let known = Known {
            items: request.lines.iter().map(|line| self.has_items.then(|| known_item(line))).collect(),
            shopper: self.shopper.clone(),
            earner: self.earns,
        };
        let store = "S1".parse().unwrap();
        let offset = CivilOffset::new(480).unwrap();
        let basket = match request.taken_at_ms {
            Some(taken_at) => basket::as_taken(prices, (taken_at, offset), request.into(), known),
            None => {
                let day = self.day.unwrap_or("2026-11-22".parse().unwrap());
                let priced = basket::price_basket(prices, store, day, (NOON, offset), request.into(), known);
                priced.map(|priced| priced.basket)
            }
        };
        match basket {
            Ok(basket) => post_sale(&self.situation(), &self.cards, &self.holdings, request, &basket),
            Err(decision) => decision,
        }
    }
}

fn known_item(line: &SaleLine) -> Item {
    Item {
        sku: line.sku.clone(),
        barcodes: Vec::new(),
        name: "茶".to_owned(),
        category_path: String::new(),
        brand: String::new(),
        counter: None,
        supplier: None,
        legal_entity: None,
        tax_code: String::new(),
        tax_ppm: line.tax_ppm,
        list_price_minor: None,
        member_price_minor: None,
        flags: LineFlags::default(),
        active: true,
    }
}

fn tender(code: &str, amount_minor: i64, card: Option<i64>) -> TenderLine {
    TenderLine { tender: code.parse::<TenderCode>().unwrap(), amount_minor, card: card.map(number), reference: None }
}

fn line(net_minor: i64, thousandths: i64) -> SaleLine {
    SaleLine {
        sku: "A1".to_owned(),
        name: String::new(),
        category_path: String::new(),
        brand: String::new(),
        counter: None,
        supplier: None,
        clerk: None,
        quantity_thousandths: thousandths,
        list_price_minor: None,
        gross_minor: net_minor,
        markdowns: Vec::new(),
        discounts: Vec::new(),
        net_minor,
        member_price_minor: None,
        known: false,
        tax_code: String::new(),
        tax_ppm: 130_000,
        flags: LineFlags::default(),
    }
}

fn sale(lines: Vec<SaleLine>, tenders: Vec<TenderLine>) -> PostSale {
    PostSale {
        currency: Currency::CNY,
        member: None,
        member_card: None,
        coupons: Vec::new(),
        markdowns: Vec::new(),
        quote: None,
        lines,
        tenders,
        payment_unknown: None,
        taken_at_ms: None,
        operator: None,
        terminal_seq: None,
    }
}

fn load_request(amount_minor: i64, bonus_minor: i64) -> LoadCard {
    let tenders = if amount_minor > 0 { vec![tender("cash", amount_minor, None)] } else { Vec::new() };
    LoadCard { currency: Currency::CNY, amount_minor, bonus_minor, tenders, operator: None, terminal_seq: None }
}

fn void_request() -> VoidOperation {
    VoidOperation { reason: "typed twice".to_owned(), operator: None, approver: None, terminal_seq: None }
}

fn declined(decision: Decision) -> Decline {
    match decision {
        Decision::Declined(decline) => *decline,
        other => panic!("not declined: {other:?}"),
    }
}

fn faulty_field(decision: Decision) -> String {
    match decision {
        Decision::Faulty(fault) => fault.field,
        other => panic!("not faulty: {other:?}"),
    }
}

fn asked(decision: Decision) -> Vec<Need> {
    match decision {
        Decision::AskHub(needs) => needs,
        other => panic!("did not ask: {other:?}"),
    }
}

#[test]
fn a_card_is_sold_loaded_and_spent_and_the_last_cent_is_the_last() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(1_000, 100));
    let (entry, _) = shop.book(sold);
    let kinds: Vec<MovementKind> = entry.body.movements().iter().map(|movement| movement.kind).collect();
    assert_eq!(kinds, [MovementKind::CardSale, MovementKind::Bonus]);
    assert_eq!((shop.here(1), shop.cards[0].status), (1_100, CardStatus::Active));
    let again = sell_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(1_000, 0));
    assert_eq!(declined(again).code, DeclineCode::CardAlreadySold);
    let spent = shop.sale(&sale(vec![line(1_100, 1_000)], vec![tender("stored_value", 1_100, Some(1))]));
    shop.book(spent);
    let decline = declined(shop.sale(&sale(vec![line(1, 1_000)], vec![tender("stored_value", 1, Some(1))])));
    assert_eq!(
        (decline.code, decline.available_here_minor, decline.needed_minor),
        (DeclineCode::Insufficient, Some(0), Some(1))
    );
}

#[test]
fn a_card_may_be_sold_empty_and_its_movement_says_where_its_home_is() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(0, 0));
    let (entry, plan) = shop.book(sold);
    assert_eq!((entry.body.movements().len(), plan.counters.len()), (1, 0));
}

#[test]
fn the_hub_is_asked_once_for_every_card_of_a_basket() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active), card(2, CardStatus::Active)]).with(1, 30);
    shop.hub = Hub::NotAsked;
    let basket = sale(
        vec![line(180, 1_000)],
        vec![
            tender("stored_value", 40, Some(1)),
            tender("stored_value", 40, Some(1)),
            tender("stored_value", 100, Some(2)),
        ],
    );
    let needs: Vec<(CardNumber, i64)> =
        asked(shop.sale(&basket)).iter().map(|need| (need.card, need.missing_minor)).collect();
    assert_eq!(needs, [(number(1), 10), (number(1), 40), (number(2), 100)], "30 of the 80 are here");
    shop.hub = Hub::Unreachable;
    assert_eq!(declined(shop.sale(&basket)).code, DeclineCode::InsufficientHereOffline);
    let place = Elsewhere { card: number(2), store: "S9".parse().unwrap(), held_minor: 100, last_seen_ms: Instant(5) };
    shop.hub = Hub::Answered { elsewhere: vec![place] };
    shop = shop.with(1, 80);
    let decline = declined(shop.sale(&basket));
    assert_eq!((decline.code, decline.elsewhere), (DeclineCode::HeldElsewhere, vec![place]));
}

#[test]
fn a_stale_replica_asks_before_it_refuses() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let basket = sale(vec![line(50, 1_000)], vec![tender("stored_value", 50, Some(1))]);
    shop.hub = Hub::NotAsked;
    assert_eq!(asked(shop.sale(&basket)).len(), 1, "the card may have been sold elsewhere today");
    let unknown = sale(vec![line(50, 1_000)], vec![tender("stored_value", 50, Some(7))]);
    assert_eq!(asked(shop.sale(&unknown))[0].missing_minor, 50);
    shop.hub = Hub::Unreachable;
    assert_eq!(declined(shop.sale(&basket)).code, DeclineCode::UnknownCardOffline);
    assert_eq!(declined(shop.sale(&unknown)).code, DeclineCode::UnknownCardOffline);
    shop.hub = Hub::Answered { elsewhere: Vec::new() };
    assert_eq!(declined(shop.sale(&unknown)).code, DeclineCode::UnknownCard);
}

#[test]
fn a_blank_card_is_sold_offline_only_where_it_is_allocated() {
    let elsewhere = Card { allocated_store: Some("S2".parse().unwrap()), ..card(1, CardStatus::Blank) };
    let mut shop = Shop::new(vec![elsewhere]);
    let sell =
        |shop: &Shop| sell_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(100, 0));
    shop.hub = Hub::NotAsked;
    assert_eq!(asked(sell(&shop))[0].purpose, Purpose::Sell);
    shop.hub = Hub::Unreachable;
    assert_eq!(declined(sell(&shop)).code, DeclineCode::NotAllocatedHere);
}

#[test]
fn every_status_refuses_with_its_own_code() {
    let check = |status, code| {
        let shop = Shop::new(vec![card(1, status)]).with(1, 100);
        assert_eq!(
            declined(shop.sale(&sale(vec![line(50, 1_000)], vec![tender("stored_value", 50, Some(1))]))).code,
            code
        );
        assert_eq!(
            declined(reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(50, 0))).code,
            code
        );
    };
    check(CardStatus::Blank, DeclineCode::CardNotActive);
    check(CardStatus::Frozen, DeclineCode::CardFrozen);
    check(CardStatus::Lost, DeclineCode::CardLost);
    check(CardStatus::Replaced, DeclineCode::CardNotActive);
    let expired = Card { expires_on: Some("2026-11-21".parse().unwrap()), ..card(1, CardStatus::Active) };
    let shop = Shop::new(vec![expired]).with(1, 100);
    let basket = sale(vec![line(50, 1_000)], vec![tender("stored_value", 50, Some(1))]);
    assert_eq!(declined(shop.sale(&basket)).code, DeclineCode::CardExpired);
}

#[test]
fn limits_tenders_and_the_day_are_kept() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 100_000);
    let reload = |shop: &Shop, request: &LoadCard| {
        reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, request)
    };
    assert_eq!(declined(reload(&shop, &load_request(90_000, 10_001))).code, DeclineCode::LoadLimit);
    assert_eq!(declined(reload(&shop, &load_request(50_000, 1))).code, DeclineCode::BalanceLimit);
    let with_voucher = LoadCard { tenders: vec![tender("voucher", 100, None)], ..load_request(100, 0) };
    assert_eq!(declined(reload(&shop, &with_voucher)).code, DeclineCode::TenderNotAllowed);
    let mut no_card_please = line(100, 1_000);
    no_card_please.flags.no_stored_value = true;
    let basket = sale(
        vec![no_card_please, line(50, 1_000)],
        vec![tender("stored_value", 51, Some(1)), tender("cash", 99, None)],
    );
    assert_eq!(declined(shop.sale(&basket)).code, DeclineCode::TenderNotAllowed);
    shop.day = None;
    assert_eq!(declined(reload(&shop, &load_request(100, 0))).code, DeclineCode::DayNotOpen);
}

#[test]
fn a_request_that_contradicts_itself_names_its_field() {
    let shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 1_000);
    let check = |request: PostSale, field: &str| assert_eq!(faulty_field(shop.sale(&request)), field);
    check(sale(Vec::new(), Vec::new()), "lines");
    check(sale(vec![line(100, 0)], Vec::new()), "lines[0].quantity_thousandths");
    check(sale(vec![line(-1, 1_000)], Vec::new()), "lines[0].gross_minor");
    check(sale(vec![line(i64::MAX, 1_000)], Vec::new()), "lines[0].gross_minor");
    check(sale(vec![SaleLine { net_minor: 99, ..line(100, 1_000) }], Vec::new()), "lines[0].net_minor");
    check(sale(vec![line(100, 1_000)], vec![tender("cash", 99, None)]), "tenders");
    check(sale(vec![line(100, 1_000)], vec![tender("gold", 100, None)]), "tenders[0].tender");
    check(sale(vec![line(100, 1_000)], vec![tender("stored_value", 100, None)]), "tenders[0].card");
    check(sale(vec![line(100, 1_000)], vec![tender("cash", 100, Some(1))]), "tenders[0].card");
    check(
        PostSale { currency: Currency::USD, ..sale(vec![line(100, 1_000)], vec![tender("cash", 100, None)]) },
        "currency",
    );
}

#[test]
fn a_void_undoes_all_of_it_on_its_day_and_only_once() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(1_000, 100));
    let (card_sale, _) = shop.book(sold);
    let spent =
        shop.sale(&sale(vec![line(300, 1_000)], vec![tender("stored_value", 250, Some(1)), tender("cash", 50, None)]));
    let (receipt, _) = shop.book(spent);
    let undo = |shop: &Shop, entry: &Entry, state: &ReceiptState| {
        void(&shop.situation(), entry, state, &shop.cards, &shop.holdings, &void_request())
    };
    assert_eq!(declined(undo(&shop, &card_sale, &ReceiptState::default())).code, DeclineCode::AlreadySpent);
    let voided = undo(&shop, &receipt, &ReceiptState::default());
    let (_, plan) = shop.book(voided);
    assert_eq!(plan.refunds, [tender("stored_value", 250, Some(1)), tender("cash", 50, None)]);
    let done = ReceiptState { voided_by: Some(receipt.header.id()), ..ReceiptState::default() };
    assert_eq!(declined(undo(&shop, &receipt, &done)).code, DeclineCode::AlreadyVoided);
    let voided = undo(&shop, &card_sale, &ReceiptState::default());
    shop.book(voided);
    assert_eq!((shop.here(1), shop.cards[0].status), (0, CardStatus::Blank), "I7: back where it started");
    shop.day = shop.day.map(BusinessDay::tomorrow);
    assert_eq!(declined(undo(&shop, &receipt, &ReceiptState::default())).code, DeclineCode::NotOfOpenDay);
}

#[test]
fn a_card_sale_is_not_voided_when_the_card_was_stopped_or_holds_more() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(1_000, 0));
    let (card_sale, _) = shop.book(sold);
    let reloaded = reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(500, 0));
    let (reload, _) = shop.book(reloaded);
    let undo = |shop: &Shop, entry: &Entry| {
        void(&shop.situation(), entry, &ReceiptState::default(), &shop.cards, &shop.holdings, &void_request())
    };
    assert_eq!(declined(undo(&shop, &card_sale)).code, DeclineCode::CardInUse);
    let voided = undo(&shop, &reload);
    shop.book(voided);
    shop.cards[0].status = CardStatus::Frozen;
    assert_eq!(declined(undo(&shop, &card_sale)).code, DeclineCode::CardFrozen);
    shop.cards[0].status = CardStatus::Active;
    let voided = undo(&shop, &card_sale);
    shop.book(voided);
    assert_eq!((shop.here(1), shop.cards[0].status), (0, CardStatus::Blank));
}

#[test]
fn what_may_stand_on_an_invoice_is_what_was_not_paid_with_stored_value() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 1_000);
    let low = SaleLine { tax_ppm: 90_000, ..line(100, 1_000) };
    let sold = shop.sale(&sale(
        vec![line(300, 1_000), low],
        vec![tender("stored_value", 200, Some(1)), tender("cash", 200, None)],
    ));
    let (entry, _) = shop.book(sold);
    let Body::Sale(body) = entry.body else { panic!("a sale") };
    let rates: Vec<(u32, i64)> = body.invoiceable.iter().map(|rate| (rate.tax_ppm, rate.invoiceable_minor)).collect();
    assert_eq!(rates, [(90_000, 50), (130_000, 150)]);
}

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

fn resolve(shop: &Shop, entry: &Entry, state: &ReceiptState, outcome: PaymentOutcome) -> Decision {
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
    let locked = void(&shop.situation(), &entry, &state, &shop.cards, &shop.holdings, &void_request());
    assert_eq!(declined(locked).code, DeclineCode::PaymentUnknown);
    let request = RegisterInvoice { number: "044002".to_owned(), replaces: None, operator: None, terminal_seq: None };
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

const POINTS: Unit = Unit::Points;

/// A shop where a yuan earns a point and a point pays a fen, for at most half of a receipt and from ten points on.
fn point_shop() -> Shop {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]);
    shop.policy
        .tenders
        .push(Tender { earns_points: false, ..Tender::new("points".parse().unwrap(), TenderClass::Points) });
    shop.policy.points = PointsRules {
        earn: Some(EarnRule { per_minor: 100, points: 1, base_minor_min: 0 }),
        burn: Some(BurnRule { points: 1, worth_minor: 1, points_min: 10, share_ppm_max: Ppm(500_000) }),
    };
    shop.earns = Some((number(1), account(1)));
    assert_eq!(shop.policy.validate(), []);
    shop
}

fn points(shop: &Shop) -> i64 {
    shop.holdings.get(Purse { account: account(1), unit: POINTS }).available_minor()
}

#[test]
fn a_sale_earns_on_what_was_paid_with_tenders_that_earn_and_burns_points_as_tender() {
    let mut shop = point_shop();
    let first = shop.sale(&sale(vec![line(9_999, 1_000)], vec![tender("cash", 9_999, None)]));
    let (entry, _) = shop.book(first);
    assert_eq!(points(&shop), 99, "rounded down, once");
    let Body::Sale(body) = &entry.body else { panic!("a sale") };
    assert_eq!(body.earned.as_ref().map(|earned| (earned.base_minor, earned.points)), Some((9_999, 99)));
    let quiet = SaleLine { flags: LineFlags { no_points: true, ..LineFlags::default() }, ..line(5_000, 1_000) };
    let second = shop
        .sale(&sale(vec![line(1_000, 1_000), quiet], vec![tender("points", 60, Some(1)), tender("cash", 5_940, None)]));
    let (entry, _) = shop.book(second);
    let Body::Sale(body) = &entry.body else { panic!("a sale") };
    assert_eq!(
        body.earned.as_ref().map(|earned| earned.base_minor),
        Some(990),
        "not the quiet line, not what points paid"
    );
    assert_eq!(points(&shop), 99 - 60 + 9);
    let short =
        shop.sale(&sale(vec![line(1_000, 1_000)], vec![tender("points", 49, Some(1)), tender("cash", 951, None)]));
    assert_eq!((declined(short).code, points(&shop)), (DeclineCode::Insufficient, 48));
    for (burnt, left) in [(9, 991), (501, 499)] {
        let limited = shop
            .sale(&sale(vec![line(1_000, 1_000)], vec![tender("points", burnt, Some(1)), tender("cash", left, None)]));
        assert_eq!(declined(limited).code, DeclineCode::PointsLimit);
    }
}

#[test]
fn what_comes_back_takes_its_points_back_and_gives_burnt_ones_back_to_the_last() {
    let mut shop = point_shop();
    let first = shop.sale(&sale(vec![line(10_000, 1_000)], vec![tender("cash", 10_000, None)]));
    shop.book(first);
    let second =
        shop.sale(&sale(vec![line(1_000, 3_000)], vec![tender("points", 100, Some(1)), tender("cash", 900, None)]));
    let (receipt, _) = shop.book(second);
    assert_eq!(points(&shop), 9);
    let mut state = ReceiptState::default();
    let mut refunded = 0;
    for _ in 0..3 {
        let request = PostReturn {
            receipt: receipt.header.id(),
            items: vec![ReturnItem { line: 0, quantity_thousandths: 1_000 }],
            reason: "broken".to_owned(),
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        let back = post_return(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &request);
        let (_, plan) = shop.book(back);
        refunded += plan.refunds.iter().map(|line| line.amount_minor).sum::<i64>();
        let Some(ReceiptChange::Changed { state: next, .. }) = plan.receipt else { panic!("a return") };
        state = next;
    }
    assert_eq!((points(&shop), refunded), (100, 1_000), "as before the purchase");
    // The void of the first sale finds all its points.
    let mut spent = point_shop();
    let first = spent.sale(&sale(vec![line(10_000, 1_000)], vec![tender("cash", 10_000, None)]));
    let (receipt, _) = spent.book(first);
    let second =
        spent.sale(&sale(vec![line(200, 1_000)], vec![tender("points", 70, Some(1)), tender("cash", 130, None)]));
    spent.book(second);
    let undone =
        void(&spent.situation(), &receipt, &ReceiptState::default(), &spent.cards, &spent.holdings, &void_request());
    let (undone, _) = spent.book(undone);
    let reversal = undone.body.movements().last().unwrap();
    assert_eq!((reversal.kind, reversal.amount_minor, reversal.shortfall_minor), (MovementKind::EarnReversal, 31, 69));
    assert_eq!(points(&spent), 0, "never below zero; what is missing is written down");
}

#[test]
fn points_that_were_given_back_to_the_hub_are_asked_for_before_any_is_written_off() {
    let mut shop = point_shop();
    let sold = shop.sale(&sale(vec![line(10_000, 1_000)], vec![tender("cash", 10_000, None)]));
    let (receipt, _) = shop.book(sold);
    // After a quarter of an hour the store gave them back: they are in the hub's pool, not spent.
    shop.holdings.put(Purse { account: account(1), unit: POINTS }, StoreCounters::default());
    shop.hub = Hub::NotAsked;
    let undo = |shop: &Shop| {
        void(&shop.situation(), &receipt, &ReceiptState::default(), &shop.cards, &shop.holdings, &void_request())
    };
    let Decision::AskHub(needs) = undo(&shop) else { panic!("the hub is asked") };
    assert_eq!((needs[0].card, needs[0].unit, needs[0].missing_minor), (number(1), POINTS, 100));
    shop.hub = Hub::Unreachable;
    let Decision::Approved(plan) = undo(&shop) else { panic!("goods come back all the same") };
    assert_eq!(plan.body.movements()[0].shortfall_minor, 100);
    let granted = StoreCounters { adopted_minor: 100, ..StoreCounters::default() };
    shop.holdings.put(Purse { account: account(1), unit: POINTS }, granted);
    shop.hub = Hub::Answered { elsewhere: Vec::new() };
    let undone = undo(&shop);
    let (entry, _) = shop.book(undone);
    assert_eq!((entry.body.movements()[0].shortfall_minor, points(&shop)), (0, 0));
}

#[test]
fn a_card_with_points_on_it_is_not_made_sellable_again() {
    let mut shop = point_shop();
    shop.cards[0].status = CardStatus::Blank;
    let card_sale = sell_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(0, 0));
    let (sold_card, _) = shop.book(card_sale);
    let sold = shop.sale(&sale(vec![line(10_000, 1_000)], vec![tender("cash", 10_000, None)]));
    shop.book(sold);
    let undone =
        void(&shop.situation(), &sold_card, &ReceiptState::default(), &shop.cards, &shop.holdings, &void_request());
    assert_eq!(declined(undone).code, DeclineCode::CardInUse, "who buys it next would find somebody's points");
    // Given back to the hub they are out of sight: it is asked for value and points before the card is sellable again.
    shop.holdings.put(Purse { account: account(1), unit: POINTS }, StoreCounters::default());
    let undo = |shop: &Shop| {
        let state = ReceiptState::default();
        void(&shop.situation(), &sold_card, &state, &shop.cards, &shop.holdings, &void_request())
    };
    shop.hub = Hub::NotAsked;
    let Decision::AskHub(needs) = undo(&shop) else { panic!("the hub is asked") };
    assert_eq!(needs.iter().map(|need| need.unit).collect::<Vec<_>>(), [CNY, POINTS]);
    let place = Elsewhere { card: number(1), store: "S2".parse().unwrap(), held_minor: 5, last_seen_ms: NOON };
    shop.hub = Hub::Answered { elsewhere: vec![place] };
    assert_eq!(declined(undo(&shop)).code, DeclineCode::CardInUse, "part of it lies in another store");
    shop.hub = Hub::Answered { elsewhere: Vec::new() };
    assert!(matches!(undo(&shop), Decision::Approved(_)), "it is empty everywhere");
}

#[test]
fn a_load_is_invoiced_under_its_tax_code_and_a_mistyped_number_is_replaced() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]);
    let loaded = reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(500, 0));
    let (receipt, _) = shop.book(loaded);
    let register = |shop: &Shop, state: &ReceiptState, number: &str, replaces: Option<&str>| {
        let replaces = replaces.map(str::to_owned);
        let request = RegisterInvoice { number: number.to_owned(), replaces, operator: None, terminal_seq: None };
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
    let undone = void(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &void_request());
    let (entry, _) = shop.book(undone);
    let Body::Void(body) = &entry.body else { panic!("a void") };
    assert_eq!(body.red_letter.as_ref().map(|letter| letter.invoice.as_str()), Some("044002"));
}

#[test]
fn a_parked_sale_earns_when_it_is_paid() {
    let mut shop = point_shop();
    let request =
        PostSale { payment_unknown: Some(0), ..sale(vec![line(500, 1_000)], vec![tender("cash", 500, None)]) };
    let parked = shop.sale(&request);
    let (entry, plan) = shop.book(parked);
    let Some(ReceiptChange::Made { state }) = plan.receipt else { panic!("a receipt that is remembered") };
    assert_eq!(points(&shop), 0);
    let paid = resolve(&shop, &entry, &state, PaymentOutcome::Paid);
    let (payment, _) = shop.book(paid);
    assert_eq!(points(&shop), 5);
    // The edge fills in which entry paid it.
    let state = ReceiptState { parked: false, paid_by: Some(payment.header.id()), ..state };
    let undone = void(&shop.situation(), &entry, &state, &shop.cards, &shop.holdings, &void_request());
    let (undone, _) = shop.book(undone);
    let of = MovementRef { entry: payment.header.id(), index: 0 };
    assert_eq!((undone.body.movements()[0].of, points(&shop)), (Some(of), 0));
}

#[test]
fn references_are_there_when_the_catalogue_asks_and_a_coupon_pays_nobody_back() {
    let mut shop = Shop::new(Vec::new());
    let coupon = Tender {
        reference: ReferenceRule::Required,
        counts_as: CountsAs::Discount,
        refund: RefundRoute::Nothing,
        ..Tender::new("coupon".parse().unwrap(), TenderClass::Coupon)
    };
    shop.policy.tenders.push(coupon);
    shop.policy.tenders[0].reference = ReferenceRule::None;
    let with = |code: &str, amount_minor, reference: Option<&str>| TenderLine {
        reference: reference.map(str::to_owned),
        ..tender(code, amount_minor, None)
    };
    let post = |shop: &Shop, tenders| shop.sale(&sale(vec![line(500, 1_000)], tenders));
    let missing = post(&shop, vec![with("coupon", 200, None), with("cash", 300, None)]);
    assert_eq!(faulty_field(missing), "tenders[0].reference");
    let needless = post(&shop, vec![with("coupon", 200, Some("C1")), with("cash", 300, Some("drawer"))]);
    assert_eq!(faulty_field(needless), "tenders[1].reference");
    let sold = post(&shop, vec![with("coupon", 200, Some("C1")), with("cash", 300, None)]);
    let (receipt, _) = shop.book(sold);
    let request = PostReturn {
        receipt: receipt.header.id(),
        items: vec![ReturnItem { line: 0, quantity_thousandths: 1_000 }],
        reason: "broken".to_owned(),
        operator: None,
        approver: None,
        terminal_seq: None,
    };
    let back =
        post_return(&shop.situation(), &receipt, &ReceiptState::default(), &shop.cards, &shop.holdings, &request);
    let (entry, plan) = shop.book(back);
    let out = |lines: &[TenderLine]| lines.iter().map(|line| line.amount_minor).sum::<i64>();
    assert_eq!((out(entry.body.tenders()), out(&plan.refunds)), (500, 300));
}

#[test]
fn a_promotion_comes_off_the_basket_and_its_funder_is_paid_back_to_the_cent() {
    let mut shop = Shop::new(Vec::new());
    let mut promotion = Promotion::new("P1".parse().unwrap(), "满减", Give::AmountOff { amount_minor: 100 });
    promotion.funding = serde_json::from_value(serde_json::json!([
        { "party": "hub", "share_ppm": 333_333 }, { "party": "store", "share_ppm": 666_667 }
    ]))
    .unwrap();
    shop.policy.promotions.push(promotion);
    let goods = SaleLine {
        markdowns: vec![Markdown {
            amount_minor: 50,
            reason: "coupon".to_owned(),
            funder: Some("supplier:SUP1".parse().unwrap()),
        }],
        gross_minor: 1_000,
        net_minor: 950,
        ..line(950, 3_000)
    };
    let mut request = sale(vec![goods], vec![tender("cash", 950, None)]);
    shop.policy.promotions[0].goods = Goods::default();
    // The engine knows the item.
    let unpriced = shop.sale(&request);
    assert!(matches!(&unpriced, Decision::Approved(_)), "an unknown item gets no promotion: {unpriced:?}");
    shop.has_items = true;
    assert_eq!(faulty_field(shop.sale(&request)), "tenders", "the price is the store's to say");
    request.tenders = vec![tender("cash", 650, None)];
    let sold = shop.sale(&request);
    let (receipt, _) = shop.book(sold);
    let Body::Sale(body) = &receipt.body else { panic!("a sale") };
    assert_eq!((body.total_minor, body.lines[0].discounts[0].amount_minor), (650, 300));
    let book = PriceBook::new(&shop.policy);
    assert!(matches!(rerate(&book, &receipt.header, body), Rerated::Same(_)), "head office finds the same price");
    let mut wrong = body.clone();
    wrong.lines[0].discounts[0].funders.reverse();
    let differs = |sale: &Sale| match rerate(&book, &receipt.header, sale) {
        Rerated::Differs(lines) => lines,
        other => panic!("differs, not {other:?}"),
    };
    assert_eq!(differs(&wrong), ["line 0: the funders of its discounts differ"]);
    let mut wrong = body.clone();
    (wrong.lines[0].net_minor, wrong.lines[0].discounts[0].amount_minor, wrong.total_minor) = (649, 301, 649);
    assert_eq!(
        differs(&wrong),
        [
            "line 0: recorded 649, priced again 650",
            "line 0: recorded discounts P1 301; priced again P1 300",
            "total: recorded 649, priced again 650"
        ]
    );
    let taken = Sale { taken_at_ms: Some(NOON), ..wrong };
    assert_eq!(rerate(&book, &receipt.header, &taken), Rerated::AsTaken);
    let borne: Vec<i64> = body.lines[0].discounts[0].funders.iter().map(|part| part.amount_minor).collect();
    assert_eq!(borne, [100, 200]);
    let mut state = ReceiptState::default();
    let mut back: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
    for _ in 0..3 {
        let request = PostReturn {
            receipt: receipt.header.id(),
            items: vec![ReturnItem { line: 0, quantity_thousandths: 1_000 }],
            reason: "broken".to_owned(),
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        let decision = post_return(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &request);
        let (entry, plan) = shop.book(decision);
        let Body::Return(body) = &entry.body else { panic!("a return") };
        for part in body.lines.iter().flat_map(|line| &line.funded) {
            *back.entry(part.party.to_string()).or_default() += part.amount_minor;
        }
        let Some(ReceiptChange::Changed { state: next, .. }) = plan.receipt else { panic!("a return") };
        state = next;
    }
    let back: Vec<(&str, i64)> = back.iter().map(|(party, amount)| (party.as_str(), *amount)).collect();
    assert_eq!(back, [("hub", 100), ("store:S1", 200), ("supplier:SUP1", 50)], "each what it had borne, the store too");
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
        let request =
            RegisterInvoice { number: " 044002 ".to_owned(), replaces: None, operator: None, terminal_seq: None };
        register_invoice(&shop.situation(), &receipt, state, &request)
    };
    let state = state_of(&plan);
    let invoiced = register(&shop, &state);
    let (entry, plan) = shop.book(invoiced);
    let Body::Invoice(invoice) = &entry.body else { panic!("an invoice") };
    assert_eq!((invoice.number.as_str(), invoice.invoiceable[0].invoiceable_minor), ("044002", 225));
    let state = state_of(&plan);
    assert_eq!(declined(register(&shop, &state)).code, DeclineCode::AlreadyInvoiced);
    let undone = void(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &void_request());
    assert_eq!(declined(undone).code, DeclineCode::AlreadyInvoiced);
    let second = back(&shop, &state);
    let (entry, _) = shop.book(second);
    let Body::Return(returned) = &entry.body else { panic!("a return") };
    let red_letter = returned.red_letter.as_ref().unwrap();
    assert_eq!((red_letter.invoice.as_str(), red_letter.invoiceable[0].invoiceable_minor), ("044002", 75));
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
        declined(void(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &void_request())).code,
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
