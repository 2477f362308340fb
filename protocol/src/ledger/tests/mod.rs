//! Decisions of the till's operations, in a small shop: one policy, a few cards, amounts in fen.

use super::basket::{Earner, Known, Prices};
use super::*;
use crate::allotment::StoreCounters;
use crate::card::{CheckDigit, NumberRange};
use crate::entry::{BODY_VERSION, Entry, HEADER_VERSION, Header, LineFlags, Markdown, Origin, ReplicaVersions};
use crate::id::{Epoch, OperationId, Seq, TenderCode};
use crate::item::Item;
use crate::money::Ppm;
use crate::points::{BurnRule, EarnRule, PendingRule, PointsRules};
use crate::policy::{
    CountsAs, Give, Goods, Product, Promotion, ReferenceRule, RefundRoute, ReturnRules, Rung, Scope, Tender,
    TenderClass,
};
use crate::pricing::{PriceBook, Shopper};
use crate::rerate::{Rerated, rerate};
use crate::till::{
    LoadCard, PaymentOutcome, PostReturn, PostSale, PostUnreferencedReturn, RegisterInvoice, ResolvePayment,
    ReturnItem, TillLine, VoidOperation,
};
use crate::time::{CivilOffset, Instant, Stamp};

mod allocation;
mod card;
mod gate;
mod hold;
mod invoice;
mod limits;
mod overdraft;
mod payment;
mod points;
mod promotion;
mod returns;
mod sale;
mod void;

const POINTS: Unit = Unit::Points;
pub(super) const CNY: Unit = Unit::Money(Currency::CNY);

pub(super) fn policy() -> Policy {
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
            spend_minor_max: i64::MAX,
            spend_day_minor_max: i64::MAX,
            scope: Scope::default(),
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

pub(super) fn number(account: i64) -> CardNumber {
    CardNumber::new(&format!("66{account:010}")).unwrap()
}

pub(super) fn account(no: i64) -> AccountId {
    AccountId::new(no).unwrap()
}

pub(super) fn card(no: i64, status: CardStatus) -> Card {
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
pub(super) struct Shop {
    pub(super) policy: Policy,
    day: Option<BusinessDay>,
    hub: Hub,
    pub(super) cards: Vec<Card>,
    pub(super) holdings: Holdings,
    seq: u64,
    /// The member at the till and the account that earns.
    shopper: Option<Shopper>,
    pub(super) earns: Option<(CardNumber, AccountId)>,
    /// Whether the item master has every item.
    has_items: bool,
    rung: Option<Rung>,
    spent_today: Vec<(AccountId, i64)>,
    budgets_left: Vec<(PromotionId, i64)>,
    gate: ValueGate,
    holds: Vec<Hold>,
    overdraft: Option<Exposure>,
}

/// Noon of 22 November 2026 in Shanghai.
const NOON: Instant = Instant(1_795_320_000_000);

impl Shop {
    pub(super) fn new(cards: Vec<Card>) -> Self {
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
            rung: None,
            spent_today: Vec::new(),
            budgets_left: Vec::new(),
            gate: ValueGate::Open,
            holds: Vec::new(),
            overdraft: None,
        }
    }

    fn with(mut self, no: i64, loaded_minor: i64) -> Self {
        let counters = StoreCounters { loaded_minor, ..StoreCounters::default() };
        self.holdings.put(Purse { account: account(no), unit: CNY }, counters);
        self
    }

    pub(super) fn situation(&self) -> Situation<'_> {
        Situation {
            store: "S1".parse().unwrap(),
            policy: &self.policy,
            day: self.day,
            hub: &self.hub,
            rung: self.rung.as_ref(),
            spent_today: &self.spent_today,
            gate: &self.gate,
            holds: &self.holds,
            overdraft: self.overdraft.as_ref(),
        }
    }

    fn here(&self, no: i64) -> i64 {
        self.holdings.get(Purse { account: account(no), unit: CNY }).available_minor()
    }

    /// Does what was approved, and gives the entry.
    pub(super) fn book(&mut self, decision: Decision) -> (Entry, Plan) {
        let plan = match decision {
            Decision::Approved(plan) => *plan,
            other => panic!("not approved: {other:?}"),
        };
        for &(purse, holding) in &plan.holdings {
            self.holdings.put(purse, holding);
        }
        for &(purse, amount_minor) in &plan.released {
            let release = HoldingEvent::Moved(StoreEvent::Release { amount_minor });
            self.holdings.put(purse, step(&self.holdings.get(purse), release).expect("what came in is there"));
        }
        for &(number, status) in &plan.cards {
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
            earner: self.earns.map(|(card, account)| Earner::Here(card, account)),
            budgets_left: self.budgets_left.clone(),
        };
        let store = "S1".parse().unwrap();
        let offset = CivilOffset::new(480).unwrap();
        let day = self.day.unwrap_or("2026-11-22".parse().unwrap());
        let basket = match request.taken_at_ms {
            Some(taken_at) => basket::as_taken(prices, store, day, (taken_at, offset), request.into(), known),
            None => {
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

pub(super) fn known_item(line: &TillLine) -> Item {
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

pub(super) fn tender(code: &str, amount_minor: i64, card: Option<i64>) -> TenderLine {
    TenderLine {
        tender: code.parse::<TenderCode>().unwrap(),
        amount_minor,
        card: card.map(number),
        reference: None,
        hold: None,
    }
}

pub(super) fn line(net_minor: i64, thousandths: i64) -> TillLine {
    TillLine {
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
        net_minor: Some(net_minor),
        tax_code: String::new(),
        tax_ppm: 130_000,
        flags: LineFlags::default(),
    }
}

pub(super) fn sale(lines: Vec<TillLine>, tenders: Vec<TenderLine>) -> PostSale {
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
        approver: None,
        terminal_seq: None,
    }
}

fn load_request(amount_minor: i64, bonus_minor: i64) -> LoadCard {
    let tenders = if amount_minor > 0 { vec![tender("cash", amount_minor, None)] } else { Vec::new() };
    LoadCard {
        currency: Currency::CNY,
        amount_minor,
        bonus_minor,
        tenders,
        member: None,
        draft: None,
        operator: None,
        approver: None,
        terminal_seq: None,
    }
}

fn void_request() -> VoidOperation {
    VoidOperation { reason: "typed twice".to_owned(), operator: None, approver: None, terminal_seq: None }
}

/// Nothing that was spent from the card.
fn nothing() -> Standing {
    Standing::default()
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
