//! What funders are charged, over random sales and all that undoes them: each as the till's core decides it, the entries arriving in any order and
//! settled in any runs.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says what it needs")]

use std::collections::BTreeMap;

use huitong_protocol::entry::{
    BODY_VERSION, Body, Entry, HEADER_VERSION, Header, Markdown, Origin, ReplicaVersions, TenderLine,
};
use huitong_protocol::funding::{self, Funding};
use huitong_protocol::id::{EntryId, Epoch, OperationId, Seq, StoreId};
use huitong_protocol::ledger::basket::{Known, Prices, Sent, price_basket};
use huitong_protocol::ledger::{
    Decision, Holdings, Hub, Plan, ReceiptChange, ReceiptState, Situation, Standing, ValueGate, post_return, post_sale,
    void,
};
use huitong_protocol::money::Currency;
use huitong_protocol::party::Party;
use huitong_protocol::policy::Policy;
use huitong_protocol::pricing::PriceBook;
use huitong_protocol::settlement::funding::{FundingBook, Reach};
use huitong_protocol::settlement::leg::{Leg, LegKey};
use huitong_protocol::till::{PostReturn, PostSale, ReturnItem, TillLine, VoidOperation};
use huitong_protocol::time::{BusinessDay, CivilOffset, Instant, Stamp};
use proptest::prelude::*;
use serde_json::json;

const STORES: [&str; 2] = ["S1", "S2"];
const FUNDERS: [Option<&str>; 4] = [None, Some("hub"), Some("supplier:X"), Some("partner:P")];

/// Three promotions: of head office with a supplier, of the store alone, and a threshold that a partner pays.
fn policy() -> Policy {
    serde_json::from_value(json!({
        "name": "test", "currency": "CNY",
        "tenders": [{ "code": "cash", "class": "external" }],
        "promotions": [
            { "id": "P1", "name": "P1", "give": { "kind": "percent_off", "percent_ppm": 70_000 }, "combine": "compound",
              "funding": [{ "party": "hub", "share_ppm": 333_333 }, { "party": "supplier:X", "share_ppm": 666_667 }] },
            { "id": "P2", "name": "P2", "give": { "kind": "amount_off", "amount_minor": 3 }, "combine": "compound" },
            { "id": "P3", "name": "P3", "give": { "kind": "threshold", "spend_minor": 2_000, "off_minor": 101 }, "combine": "compound",
              "funding": [{ "party": "partner:P", "share_ppm": 1_000_000 }] },
        ],
    }))
    .unwrap()
}

#[derive(Clone, Debug)]
struct Story {
    store: usize,
    /// Gross, pieces, markdown in parts per thousand of the gross, and who bears it.
    lines: Vec<(i64, i64, i64, usize)>,
    /// A coupon on the basket, in parts per thousand of what it costs, and who bears it.
    coupon: (i64, usize),
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Stands,
    Undone,
    /// Piece by piece, in the order of these keys.
    GivenBack(u64),
    /// Only the first piece of every line.
    FirstPieces,
}

fn story() -> impl Strategy<Value = Story> {
    let line = (1_i64..3_000, 1_i64..5, prop_oneof![Just(0), 0_i64..=1_000], 0..FUNDERS.len());
    let coupon = (prop_oneof![Just(0_i64), 0_i64..=1_000], 0..FUNDERS.len());
    let end = prop_oneof![
        2 => Just(End::Stands),
        1 => Just(End::Undone),
        2 => any::<u64>().prop_map(End::GivenBack),
        1 => Just(End::FirstPieces)
    ];
    (0..STORES.len(), prop::collection::vec(line, 1..6), coupon, end).prop_map(|(store, lines, coupon, end)| Story {
        store,
        lines,
        coupon,
        end,
    })
}

fn day(of_month: i8) -> BusinessDay {
    BusinessDay::of(jiff::civil::date(2026, 11, of_month))
}

fn marked(amount_minor: i64, funder: usize) -> Vec<Markdown> {
    let funder = FUNDERS[funder].map(|party| party.parse().unwrap());
    (amount_minor > 0).then(|| Markdown { amount_minor, reason: "flyer".to_owned(), funder }).into_iter().collect()
}

/// The shops: every operation is decided by the core and becomes an entry.
struct Shops {
    policy: Policy,
    book: PriceBook,
    entries: Vec<Entry>,
}

impl Shops {
    fn append(&mut self, store: StoreId, day: BusinessDay, decision: Decision) -> (Entry, Plan) {
        let Decision::Approved(plan) = decision else { panic!("not approved: {decision:?}") };
        let number = self.entries.len() + 1;
        let header = Header {
            header_version: HEADER_VERSION,
            body_version: BODY_VERSION,
            kind: plan.body.kind().to_owned(),
            group: "G".parse().unwrap(),
            store,
            epoch: Epoch(1),
            seq: Seq(number as u64),
            operation: OperationId(uuid::Uuid::from_u128(number as u128)),
            stamp: Stamp(i64::try_from(number).unwrap()),
            at_ms: Instant(0),
            offset_minutes: CivilOffset::new(480).unwrap(),
            business_day: Some(day),
            terminal: None,
            terminal_seq: None,
            operator: None,
            approver: None,
            origin: Origin::Edge,
            replica: ReplicaVersions::default(),
        };
        let entry = Entry { header, body: plan.body.clone() };
        self.entries.push(Entry::decode(&entry.encode()).unwrap());
        (entry, *plan)
    }

    /// Plays a story: sold on the 22nd, given back from the 23rd on.
    fn play(&mut self, story: &Story) {
        let store: StoreId = STORES[story.store].parse().unwrap();
        let (policy, holdings, hub) = (self.policy.clone(), Holdings::default(), Hub::Unreachable);
        let situation = |day| Situation {
            store,
            policy: &policy,
            day: Some(day),
            hub: &hub,
            rung: None,
            spent_today: &[],
            gate: &ValueGate::Open,
            holds: &[],
            overdraft: None,
        };
        let lines: Vec<TillLine> = story
            .lines
            .iter()
            .map(|&(gross_minor, pieces, share, funder)| {
                let off_minor = gross_minor * share / 1_000;
                let mut line: TillLine = serde_json::from_value(json!({
                    "sku": "A", "quantity_thousandths": pieces * 1_000, "gross_minor": gross_minor, "net_minor": gross_minor - off_minor,
                }))
                .unwrap();
                line.markdowns = marked(off_minor, funder);
                line
            })
            .collect();
        let sold_on = day(22);
        let priced = |markdowns: &[Markdown]| {
            let prices = Prices { policy: &self.policy, version: 1, book: &self.book };
            let sent = Sent { lines: &lines, coupons: &[], markdowns };
            let known = Known { items: lines.iter().map(known_item).collect(), ..Known::default() };
            price_basket(prices, store, sold_on, (Instant(0), CivilOffset::new(480).unwrap()), sent, known)
                .unwrap()
                .basket
        };
        let markdowns = marked(priced(&[]).total_minor * story.coupon.0 / 1_000, story.coupon.1);
        let basket = priced(&markdowns);
        let cash = TenderLine {
            tender: "cash".parse().unwrap(),
            amount_minor: basket.total_minor,
            card: None,
            reference: None,
            hold: None,
        };
        let request = PostSale {
            currency: Currency::CNY,
            member: None,
            member_card: None,
            coupons: Vec::new(),
            markdowns,
            quote: None,
            lines: lines.clone(),
            tenders: if basket.total_minor > 0 { vec![cash] } else { Vec::new() },
            payment_unknown: None,
            taken_at_ms: None,
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        let decision = post_sale(&situation(sold_on), &[], &holdings, &request, &basket);
        let (receipt, _) = self.append(store, sold_on, decision);
        let mut state = ReceiptState::default();
        let pieces = match story.end {
            End::Stands => return,
            End::Undone => {
                let request = VoidOperation {
                    reason: "typed twice".to_owned(),
                    operator: None,
                    approver: None,
                    terminal_seq: None,
                };
                let decision =
                    void(&situation(sold_on), &receipt, &state, &Standing::default(), &[], &holdings, &request);
                self.append(store, sold_on, decision);
                return;
            }
            End::FirstPieces => (0..story.lines.len()).map(|at| u16::try_from(at).unwrap()).collect(),
            End::GivenBack(order) => {
                let all = story.lines.iter().enumerate();
                let mut pieces: Vec<u16> =
                    all.flat_map(|(at, line)| (0..line.1).map(move |_| u16::try_from(at).unwrap())).collect();
                pieces.sort_by_key(|&at| (u64::from(at) + 1).wrapping_mul(order | 1) % 7);
                pieces
            }
        };
        for (step, line) in pieces.into_iter().enumerate() {
            let back_on = day(23 + i8::try_from(step % 3).unwrap());
            let request = PostReturn {
                receipt: receipt.header.id(),
                items: vec![ReturnItem { line, quantity_thousandths: 1_000 }],
                reason: "broken".to_owned(),
                operator: None,
                approver: None,
                terminal_seq: None,
            };
            let decision = post_return(&situation(back_on), &receipt, &state, &[], &holdings, &request);
            let (_, plan) = self.append(store, back_on, decision);
            let Some(ReceiptChange::Changed { state: next, .. }) = plan.receipt else { panic!("a return") };
            state = next;
        }
    }
}

fn known_item(line: &TillLine) -> Option<huitong_protocol::item::Item> {
    let item = json!({ "sku": line.sku, "name": "tea", "tax_code": "", "tax_ppm": 0, "active": true });
    Some(serde_json::from_value(item).unwrap())
}

fn played(stories: &[Story]) -> Vec<Entry> {
    let policy = policy();
    assert_eq!(policy.validate(), []);
    let mut shops = Shops { book: PriceBook::new(&policy), policy, entries: Vec::new() };
    stories.iter().for_each(|story| shops.play(story));
    shops.entries
}

/// What a till may not say about who bears what, by field.
#[test]
fn a_till_names_somebody_who_can_be_charged() {
    let asks = |change: fn(&mut serde_json::Value)| {
        let markdown = json!([{ "amount_minor": 5, "reason": "flyer", "funder": "supplier:X" }]);
        let mut sale = json!({
            "currency": "CNY", "markdowns": markdown,
            "lines": [{ "sku": "A", "quantity_thousandths": 1_000, "gross_minor": 100, "net_minor": 95, "markdowns": markdown }],
        });
        change(&mut sale);
        let sale: PostSale = serde_json::from_value(sale).unwrap();
        sale.check().map_err(|fault| fault.field)
    };
    assert_eq!(asks(|_| ()), Ok(()));
    assert_eq!(asks(|sale| sale["markdowns"][0]["funder"] = "risk".into()), Err("markdowns[0].funder".to_owned()));
    let of_line = |sale: &mut serde_json::Value| sale["lines"][0]["markdowns"][0]["funder"] = "unattributed".into();
    assert_eq!(asks(of_line), Err("lines[0].markdowns[0].funder".to_owned()));
    assert_eq!(
        asks(|sale| sale["markdowns"][0]["amount_minor"] = 0.into()),
        Err("markdowns[0].amount_minor".to_owned())
    );
    assert_eq!(asks(|sale| sale["markdowns"][0]["reason"] = "".into()), Err("markdowns[0].reason".to_owned()));
    assert_eq!(asks(|sale| sale["taken_at_ms"] = 1.into()), Err("markdowns".to_owned()));
}

/// What each funder bears at each store in all, by rows.
fn nets(rows: &[Funding]) -> BTreeMap<(Party, StoreId), i64> {
    let mut nets = BTreeMap::new();
    for row in rows {
        *nets.entry((row.funder, row.seller)).or_default() += row.signed_minor();
    }
    nets.retain(|_, amount| *amount != 0);
    nets
}

fn rows(entries: &[Entry]) -> Vec<Funding> {
    entries.iter().flat_map(|entry| funding::of_entry(&entry.header, &entry.body).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn what_came_off_is_charged_to_the_cent_and_what_comes_back_is_given_back(stories in prop::collection::vec(story(), 1..6)) {
        let entries = played(&stories);
        // What all lines cost less than at the shelf price, said by the sales alone; undone and given back, less that.
        let off = |entry: &Entry| -> i64 {
            let Body::Sale(sale) = &entry.body else { return 0 };
            sale.lines.iter().map(|line| line.gross_minor - line.net_minor).sum()
        };
        for entry in entries.iter().filter(|entry| matches!(entry.body, Body::Sale(_))) {
            let charged: i64 = rows(std::slice::from_ref(entry)).iter().map(Funding::signed_minor).sum();
            prop_assert_eq!(charged, off(entry));
        }
        // Of every sale that is wholly undone or given back nothing is left, for any funder.
        let of = |entry: &Entry| -> EntryId {
            match &entry.body {
                Body::Void(body) => body.of,
                Body::Return(body) => body.of,
                _ => entry.header.id(),
            }
        };
        let sales = entries.iter().filter(|entry| matches!(entry.body, Body::Sale(_)));
        for (sale, story) in sales.zip(&stories) {
            let family: Vec<Entry> = entries.iter().filter(|entry| of(entry) == sale.header.id()).cloned().collect();
            let left = nets(&rows(&family));
            match story.end {
                End::Undone | End::GivenBack(_) => prop_assert_eq!(left, BTreeMap::new()),
                End::Stands | End::FirstPieces => prop_assert!(left.values().all(|amount| *amount > 0)),
            }
        }
    }

    #[test]
    fn any_order_and_any_runs_come_to_what_one_run_charges(
        stories in prop::collection::vec(story(), 1..6),
        order in any::<u64>(),
        runs in prop::collection::vec((0_i64..60, 21_i8..28), 0..5),
    ) {
        let mut entries = played(&stories);
        entries.sort_by_key(|entry| entry.header.seq.0.wrapping_mul(order | 1) % 31);
        let arrived: Vec<(i64, Funding)> = (1_i64..)
            .zip(&entries)
            .flat_map(|(no, entry)| funding::of_entry(&entry.header, &entry.body).unwrap().into_iter().map(move |row| (no, row)))
            .collect();
        let run = |previous, current| -> Vec<Leg> {
            let mut book = FundingBook::new(previous, current);
            arrived.iter().for_each(|(no, row)| book.add(*no, row).unwrap());
            book.into_legs()
        };
        let last = Reach { cut_ingested_no: i64::MAX, day_to: day(28) };
        let mut sums: BTreeMap<LegKey, i64> = BTreeMap::new();
        let mut previous: Option<Reach> = None;
        let steps = runs.into_iter().map(|(cut_ingested_no, of_month)| Reach { cut_ingested_no, day_to: day(of_month) });
        for reach in steps.chain([last]) {
            // Cuts and days of runs only go forward.
            let before = previous.unwrap_or(Reach { cut_ingested_no: 0, day_to: day(1) });
            let current = Reach { cut_ingested_no: reach.cut_ingested_no.max(before.cut_ingested_no), day_to: reach.day_to.max(before.day_to) };
            for line in run(previous, current) {
                *sums.entry(line.key()).or_default() += line.amount_minor;
            }
            previous = Some(current);
        }
        let at_once = run(None, last);
        prop_assert_eq!(sums.into_iter().map(|(key, amount)| Leg::of(key, amount)).collect::<Vec<_>>(), at_once);
    }
}
