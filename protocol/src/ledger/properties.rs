//! What was sold comes back, to the last cent and point (I7): random baskets under random policies with every kind of promotion, priced and sold as an
//! edge does it, paid by several tenders, returned in random parts in random order.
//!
//! The sums are this file's own, from the entry of the sale and from the returns, never from the receipt's memory. A last test counts that every kind of
//! price and payment did come back, so that nothing holds for want of cases.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::basket::{self, Earner, Known, Prices};
use super::tests::{CNY, Shop, account, card, known_item, line, number, policy as small_policy, sale, tender};
use super::*;
use crate::allotment::StoreCounters;
use crate::entry::Entry;
use crate::item::Item;
use crate::money::Ppm;
use crate::points::{BurnRule, EarnRule, PointsRules};
use crate::policy::TenderClass;
use crate::pricing::properties::{a_cart, a_policy};
use crate::pricing::testing::Cart;
use crate::pricing::{DiscountSource, PriceBook};
use crate::till::TillLine;
use crate::till::{PostReturn, ReturnItem};
use crate::time::{CivilOffset, Instant};

/// What both cards hold before, in fen and in points: more than any basket costs, so that points which were earned are never short.
const HELD: i64 = 10_000_000;
const UNITS: [Unit; 2] = [CNY, Unit::Points];

/// How a basket is paid and how it comes back.
#[derive(Clone, Debug)]
struct Way {
    /// Where the total is cut into what voucher, points, card 1, card 2 and cash pay.
    cuts: Vec<Index>,
    /// Whether points are earned, on card 2.
    earns: bool,
    /// Where the total is cut for a coupon without goods, on every other way.
    off: Option<Index>,
    /// Where each line's quantity is cut into what comes back at once.
    parts: Vec<Vec<Index>>,
    /// Which part comes back next.
    order: Vec<Index>,
    /// How many parts come back in one return.
    together: Vec<usize>,
}

fn a_way() -> impl Strategy<Value = Way> {
    use prop::collection::vec;
    let index = any::<Index>;
    let parts = vec(vec(index(), 0..4), 8);
    let off = prop::option::of(index());
    (vec(index(), 4), prop::bool::weighted(0.8), off, parts, vec(index(), 64), vec(1_usize..4, 64))
        .prop_map(|(cuts, earns, off, parts, order, together)| Way { cuts, earns, off, parts, order, together })
}

/// The parts that a whole falls into when it is cut; none of them is nothing.
fn cut(whole: i64, cuts: &[Index]) -> Vec<i64> {
    let whole = usize::try_from(whole).unwrap();
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(whole + 1)).chain([0, whole]).collect();
    at.sort_unstable();
    at.windows(2).map(|pair| i64::try_from(pair[1] - pair[0]).unwrap()).filter(|part| *part > 0).collect()
}

/// A shop with everything that takes off, earns and pays.
fn shop(policy: &Policy, way: &Way) -> Shop {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active), card(2, CardStatus::Active)]);
    let mut tenders = small_policy().tenders;
    tenders.push(Tender { earns_points: false, ..Tender::new("points".parse().unwrap(), TenderClass::Points) });
    let burn = BurnRule { points: 3, worth_minor: 2, points_min: 0, share_ppm_max: Ppm::ONE };
    let earn = EarnRule { per_minor: 10, points: 1, base_minor_min: 0 };
    shop.policy = Policy {
        tenders,
        products: shop.policy.products,
        points: PointsRules { earn: Some(earn), burn: Some(burn), pending: None },
        ..policy.clone()
    };
    shop.policy.products[0].balance_minor_max = i64::MAX;
    assert_eq!(shop.policy.validate(), []);
    for unit in UNITS {
        for no in [1, 2] {
            let counters = StoreCounters { loaded_minor: HELD, ..StoreCounters::default() };
            shop.holdings.put(Purse { account: account(no), unit }, counters);
        }
    }
    shop.earns = way.earns.then(|| (number(2), account(2)));
    shop
}

/// The line as a till sends it.
fn sent(line_of: &crate::pricing::BasketLine<'static>) -> TillLine {
    let off: i64 = line_of.markdowns.iter().map(|markdown| markdown.amount_minor).sum();
    TillLine {
        sku: line_of.sku.to_owned(),
        category_path: line_of.category_path.to_owned(),
        brand: line_of.brand.to_owned(),
        counter: line_of.counter,
        supplier: line_of.supplier,
        gross_minor: line_of.gross_minor,
        markdowns: line_of.markdowns.to_vec(),
        flags: line_of.flags,
        ..line(line_of.gross_minor - off, line_of.quantity_thousandths)
    }
}

/// Sells a cart as an edge does. Nothing when it costs nothing, which is not to be paid.
fn sell(shop: &mut Shop, cart: &Cart, way: &Way) -> Option<Entry> {
    let mut cart = cart.clone();
    let mut alone = cart.try_price(&shop.policy).unwrap();
    if let Some(off) = &way.off {
        // Shared out over the lines that take coupons, up to all that they cost.
        let takes = |line: &crate::pricing::BasketLine<'_>| !line.flags.no_discount && !line.flags.no_coupon;
        let priced = cart.lines.iter().zip(&alone.lines).filter(|(line, _)| takes(line));
        let most: i64 = priced.map(|(_, priced)| priced.net_minor).sum();
        let amount_minor = i64::try_from(off.index(usize::try_from(most).unwrap() + 1)).unwrap();
        if amount_minor > 0 {
            cart.markdowns.push(crate::pricing::testing::markdown(amount_minor, Some("partner:P"))[0].clone());
            alone = cart.try_price(&shop.policy).unwrap();
        }
    }
    let lines: Vec<TillLine> = cart.lines.iter().map(sent).collect();
    let items = cart.lines.iter().zip(&lines).map(|(wanted, line)| {
        wanted.known.then(|| Item {
            category_path: line.category_path.clone(),
            brand: line.brand.clone(),
            counter: line.counter,
            supplier: line.supplier,
            member_price_minor: wanted.member_price_minor,
            flags: line.flags,
            ..known_item(line)
        })
    });
    let known = Known {
        items: items.collect(),
        shopper: cart.shopper.clone(),
        earner: shop.earns.map(|(card, account)| Earner::Here(card, account)),
        budgets_left: Vec::new(),
    };
    let wall = cart.at.date.at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond();
    let at = Instant(wall + (i64::from(cart.at.minute_of_day) - 480) * 60_000);
    let offset = CivilOffset::new(480).unwrap();
    let book = PriceBook::new(&shop.policy);
    let prices = Prices { policy: &shop.policy, version: 1, book: &book };
    let sent = basket::Sent { lines: &lines, coupons: &cart.coupons, markdowns: &cart.markdowns };
    let priced = basket::price_basket(prices, cart.store, cart.at.business_day, (at, offset), sent, known);
    let basket = priced.unwrap().basket;
    assert_eq!(basket.total_minor, alone.total_minor, "the ledger sells at the price of the engine");
    if basket.total_minor == 0 {
        return None;
    }
    let by =
        [("voucher", None), ("points", Some(1)), ("stored_value", Some(1)), ("stored_value", Some(2)), ("cash", None)];
    let parts = cut(basket.total_minor, &way.cuts);
    let tenders = by.iter().rev().zip(&parts).map(|(&(code, card), &part)| tender(code, part, card)).collect();
    let mut request = sale(lines, tenders);
    request.coupons.clone_from(&cart.coupons);
    request.markdowns.clone_from(&cart.markdowns);
    request.check().unwrap();
    let sold = post_sale(&shop.situation(), &shop.cards, &shop.holdings, &request, &basket);
    Some(shop.book(sold).0)
}

/// Who bore how much of what came off a sale.
fn borne(sale: &Sale, store: StoreId) -> BTreeMap<String, i64> {
    let mut borne = BTreeMap::new();
    for part in sale.lines.iter().flat_map(|line| line.borne(store)) {
        *borne.entry(part.party.to_string()).or_default() += part.amount_minor;
    }
    borne
}

/// The parts in which a sale comes back: line and quantity, several at once, no line twice in one return.
fn returns(sale: &Sale, way: &Way) -> Vec<Vec<ReturnItem>> {
    let mut parts: Vec<ReturnItem> = Vec::new();
    for (at, line) in (0_u16..).zip(&sale.lines) {
        let cuts = way.parts.get(usize::from(at)).map_or(&[][..], Vec::as_slice);
        let quantities = cut(line.quantity_thousandths, cuts);
        parts.extend(quantities.into_iter().map(|quantity_thousandths| ReturnItem { line: at, quantity_thousandths }));
    }
    let (mut returns, mut turn) = (Vec::<Vec<ReturnItem>>::new(), 0);
    while !parts.is_empty() {
        let part = parts.swap_remove(way.order[turn % way.order.len()].index(parts.len()));
        let most = way.together[turn % way.together.len()];
        turn += 1;
        match returns.last_mut() {
            Some(last) if last.len() < most && last.iter().all(|other| other.line != part.line) => last.push(part),
            _ => returns.push(vec![part]),
        }
    }
    returns
}

fn give_back(shop: &Shop, receipt: &Entry, state: &ReceiptState, items: Vec<ReturnItem>) -> Decision {
    let request = PostReturn {
        receipt: receipt.header.id(),
        items,
        reason: "regret".to_owned(),
        operator: None,
        approver: None,
        terminal_seq: None,
    };
    request.check().unwrap();
    post_return(&shop.situation(), receipt, state, &shop.cards, &shop.holdings, &request)
}

fn held(shop: &Shop) -> Vec<i64> {
    let purses = UNITS.iter().flat_map(|&unit| [1, 2].map(|no| Purse { account: account(no), unit }));
    purses.map(|purse| shop.holdings.get(purse).available_minor()).collect()
}

/// Sells a cart and takes all of it back. Gives the sale, for those who count what came by; nothing when the cart costs nothing.
fn there_and_back(policy: &Policy, cart: &Cart, way: &Way) -> Result<Option<Sale>, TestCaseError> {
    let mut shop = shop(policy, way);
    let before = held(&shop);
    prop_assert_eq!(&before, &vec![HELD; 4]);
    let Some(receipt) = sell(&mut shop, cart, way) else { return Ok(None) };
    let Body::Sale(sale) = &receipt.body else { panic!("a sale") };
    let store = receipt.header.store;
    let paid: BTreeMap<_, _> = sale.tenders.iter().map(|line| ((line.tender, line.card), line.amount_minor)).collect();
    let bore = borne(sale, store);
    let (mut back, mut funded): (BTreeMap<_, i64>, BTreeMap<String, i64>) = Default::default();
    let mut state = ReceiptState::default();
    for items in returns(sale, way) {
        let decision = give_back(&shop, &receipt, &state, items);
        let (entry, plan) = shop.book(decision);
        let Body::Return(body) = &entry.body else { panic!("a return") };
        prop_assert_eq!(body.lines.iter().map(|line| line.amount_minor).sum::<i64>(), body.total_minor);
        prop_assert_eq!(body.tenders.iter().map(|line| line.amount_minor).sum::<i64>(), body.total_minor);
        for line in &body.tenders {
            prop_assert!(line.amount_minor > 0);
            let sum = back.entry((line.tender, line.card)).or_default();
            *sum += line.amount_minor;
            prop_assert!(*sum <= paid[&(line.tender, line.card)], "never more than was paid, at no moment");
        }
        for part in body.lines.iter().flat_map(|line| &line.funded) {
            let sum = funded.entry(part.party.to_string()).or_default();
            *sum += part.amount_minor;
            prop_assert!(*sum <= bore[&part.party.to_string()], "nor than a funder bore");
        }
        let shortfall: i64 = body.movements.iter().map(|movement| movement.shortfall_minor).sum();
        prop_assert_eq!(shortfall, 0, "all points are here");
        let Some(ReceiptChange::Changed { state: next, .. }) = plan.receipt else { panic!("a return") };
        state = next;
    }
    prop_assert_eq!(back, paid, "money");
    prop_assert_eq!(funded, bore, "funders");
    prop_assert_eq!(held(&shop), before, "value and points");
    let once_more = give_back(&shop, &receipt, &state, vec![ReturnItem { line: 0, quantity_thousandths: 1 }]);
    let Decision::Declined(decline) = once_more else { panic!("nothing is left") };
    prop_assert_eq!(decline.code, DeclineCode::ReturnExceedsSale);
    Ok(Some(sale.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_sold_comes_back_in_any_parts_and_order(policy in a_policy(), cart in a_cart(), way in a_way()) {
        there_and_back(&policy, &cart, &way)?;
    }
}

/// The generators sell and take back everything that there is, else the property above would say little.
#[test]
fn every_kind_of_price_and_payment_came_back() {
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeSet::new();
    for _ in 0..600 {
        let policy = a_policy().new_tree(&mut runner).unwrap().current();
        let cart = a_cart().new_tree(&mut runner).unwrap().current();
        let way = a_way().new_tree(&mut runner).unwrap().current();
        let Some(sale) = there_and_back(&policy, &cart, &way).unwrap() else { continue };
        for discount in sale.lines.iter().flat_map(|line| &line.discounts) {
            met.insert(match discount.source {
                DiscountSource::Promotion { promotion } => {
                    let give = policy.promotions.iter().find(|known| known.id == promotion).unwrap().give;
                    serde_json::to_value(give).unwrap()["kind"].as_str().unwrap().to_owned()
                }
                DiscountSource::MemberPrice => "member_price".to_owned(),
                DiscountSource::BasketMarkdown { .. } => "basket markdown".to_owned(),
                DiscountSource::Markdown { .. } => "markdown among the discounts".to_owned(),
            });
            if discount.coupon.is_some() {
                met.insert("coupon".to_owned());
            }
            if discount.funders.len() > 1 {
                met.insert("several funders".to_owned());
            }
        }
        if sale.lines.iter().flat_map(|line| &line.markdowns).any(|markdown| markdown.funder.is_some()) {
            met.insert("funded markdown".to_owned());
        }
        met.extend(sale.tenders.iter().map(|line| format!("paid by {}", line.tender)));
        met.extend(sale.earned.as_ref().map(|_| "earned points".to_owned()));
    }
    let expected = [
        "amount_off",
        "basket markdown",
        "coupon",
        "earned points",
        "fixed_price",
        "funded markdown",
        "member_price",
        "paid by cash",
        "paid by points",
        "paid by stored_value",
        "paid by voucher",
        "percent_off",
        "several funders",
        "threshold",
        "threshold_percent",
    ];
    assert_eq!(met.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
