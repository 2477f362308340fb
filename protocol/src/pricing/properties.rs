//! Properties of prices over random policies and baskets (I7).
//!
//! Policies and carts come from small sets of codes, so that promotions meet, stack, block and exclude each other all the time; a policy with a fault is
//! thrown away. A last test counts that every kind of verdict does occur, so that no property holds for want of cases.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::testing::*;
use super::*;
use crate::entry::LineFlags;
use crate::money::Ppm;
use crate::policy::{
    AcrossPriorities, Combine, Counters, Funder, Funding, Give, Goods, Policy, Promotion, Selector, TimeWindow, When,
    Where, Who,
};

fn texts(of: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(of, 0..=most).prop_map(|texts| texts.into_iter().map(str::to_owned).collect())
}

fn codes<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>(
    of: &'static [&'static str],
    most: usize,
) -> impl Strategy<Value = Vec<T>> {
    subsequence(of, 0..=most).prop_map(|codes| codes.into_iter().map(|code| code.parse().unwrap()).collect())
}

fn give() -> impl Strategy<Value = Give> {
    let percent = (1_i64..=1_000_000).prop_map(Ppm);
    prop_oneof![
        3 => percent.clone().prop_map(|percent_ppm| Give::PercentOff { percent_ppm }),
        3 => (1_i64..300).prop_map(|amount_minor| Give::AmountOff { amount_minor }),
        2 => (1_i64..1_000).prop_map(|price_minor| Give::FixedPrice { price_minor }),
        3 => (1_i64..2_000, 1_i64..2_000, 1_u32..4).prop_map(|(a, b, repeat_max)| Give::Threshold {
            spend_minor: a.max(b),
            off_minor: a.min(b),
            repeat_max,
        }),
        2 => (1_i64..2_000, percent)
            .prop_map(|(spend_minor, percent_ppm)| Give::ThresholdPercent { spend_minor, percent_ppm }),
    ]
}

fn selector() -> impl Strategy<Value = Selector> {
    (
        texts(&["A", "B", "C", "D"], 2),
        texts(&["食品", "食品/饮料", "服装"], 2),
        texts(&["X", "Y"], 1),
        codes(&["C1", "C2"], 1),
        codes(&["S8"], 1),
    )
        .prop_map(|(skus, categories, brands, counters, suppliers)| Selector {
            skus,
            categories,
            brands,
            counters,
            suppliers,
        })
}

fn goods() -> impl Strategy<Value = Goods> {
    let nothing = prop_oneof![3 => Just(Selector::default()), 1 => selector()];
    (prop::option::of(selector()), nothing).prop_map(|(include, exclude)| Goods { include, exclude })
}

fn counters() -> impl Strategy<Value = Counters> {
    prop_oneof![
        4 => Just(Counters::All {}),
        1 => (codes(&["C1", "C2"], 2), any::<bool>()).prop_map(|(counters, own_goods)| Counters::Only { counters, own_goods }),
        1 => codes(&["C1", "C2"], 2).prop_map(|counters| Counters::Except { counters }),
    ]
}

fn when() -> impl Strategy<Value = When> {
    let window = (0_u16..24, 0_u16..24).prop_map(|(from, until)| {
        let time = |hour: u16| format!("{hour:02}:00").parse().unwrap();
        TimeWindow { from: time(from), until: time(until) }
    });
    let limited = (vec(window, 0..2), subsequence(&[1_u8, 5, 6, 7], 0..4)).prop_map(|(times, weekdays)| When {
        times,
        weekdays,
        ..When::default()
    });
    prop_oneof![3 => Just(When::default()), 1 => limited]
}

fn who() -> impl Strategy<Value = Who> {
    let limited = (any::<bool>(), codes(&["silver", "gold"], 1), codes(&["mums", "staff"], 1), any::<bool>())
        .prop_map(|(members, tiers, segments, birthday_month)| Who { members, tiers, segments, birthday_month });
    prop_oneof![3 => Just(Who::default()), 1 => limited]
}

fn funding() -> impl Strategy<Value = Vec<Funding>> {
    let part = |party: &str, share| Funding { party: Funder::new(party).unwrap(), share_ppm: Ppm(share) };
    prop_oneof![
        Just(Vec::new()),
        Just(vec![part("hub", 1_000_000)]),
        (1_i64..1_000_000).prop_map(move |share| vec![part("hub", share), part("store", 1_000_000 - share)]),
        Just(vec![part("hub", 333_333), part("supplier:S8", 333_333), part("store:S9", 333_334)]),
    ]
}

fn a_promotion() -> impl Strategy<Value = Promotion> {
    let combine = select(vec![Combine::Exclusive, Combine::BestPrice, Combine::Compound, Combine::Compound]);
    let coupon =
        prop_oneof![3 => Just(None), 1 => select(vec!["TEN", "OLD"]).prop_map(|code| Some(code.parse().unwrap()))];
    let place =
        prop_oneof![4 => Just(Where::default()), 1 => codes(&["S1", "S2"], 2).prop_map(|stores| Where { stores })];
    let terms = (give(), 0_i32..3, combine, coupon, funding(), any::<bool>());
    (terms, (when(), place, who(), goods(), counters())).prop_map(
        |((give, priority, combine, coupon, funding, earns_points), (when, place, who, goods, counters))| Promotion {
            priority,
            combine,
            when,
            place,
            who,
            goods,
            counters,
            coupon,
            funding,
            earns_points,
            ..Promotion::new("P".parse().unwrap(), "P", give)
        },
    )
}

/// A policy that passed its validation.
pub(crate) fn a_policy() -> impl Strategy<Value = Policy> {
    (vec(a_promotion(), 0..12), any::<bool>(), any::<bool>()).prop_map(|(promotions, across, member_price)| {
        let mut policy = policy(serde_json::json!([]));
        policy.pricing.across_priorities = if across { AcrossPriorities::Compound } else { AcrossPriorities::Never };
        policy.pricing.member_price = member_price;
        for (number, mut promotion) in promotions.into_iter().enumerate() {
            promotion.id = format!("P{number}").parse().unwrap();
            policy.promotions.push(promotion);
            if !policy.validate().is_empty() {
                policy.promotions.pop();
            }
        }
        policy
    })
}

fn a_line() -> impl Strategy<Value = BasketLine<'static>> {
    let kind = (
        select(vec!["A", "B", "C", "D"]),
        select(vec!["", "食品", "食品/饮料/茶", "服装"]),
        select(vec!["", "X", "Y"]),
        select(vec![None, Some("C1"), Some("C2")]),
        select(vec![None, Some("S8")]),
    );
    let price = (
        select(vec![1_000_i64, 1_000, 2_000, 333, 1_250]),
        prop_oneof![Just(0_i64), Just(100), 1_i64..2_000],
        select(vec![0_i64, 0, 1, 50]),
        prop::option::of(0_i64..1_000),
        select(vec![None, Some("hub")]),
    );
    (kind, price, vec(prop::bool::weighted(0.1), 4)).prop_map(
        |((sku, category_path, brand, counter, supplier), (quantity, gross, off, member_price_minor, funder), odd)| {
            let off_minor = off.min(gross);
            BasketLine {
                category_path,
                brand,
                counter: counter.map(|code| code.parse().unwrap()),
                supplier: supplier.map(|code: &str| code.parse().unwrap()),
                quantity_thousandths: quantity,
                markdowns: if off_minor > 0 { markdown(off_minor, funder) } else { &[] },
                member_price_minor,
                flags: LineFlags { no_discount: odd[0], no_coupon: odd[1], no_points: odd[2], no_stored_value: false },
                known: !odd[3],
                ..piece(sku, gross)
            }
        },
    )
}

pub(crate) fn a_cart() -> impl Strategy<Value = Cart> {
    let shopper = prop::option::of((select(vec![None, Some("silver"), Some("gold")]), any::<bool>()));
    let hours = (select(vec!["2026-11-21", "2026-11-22", "2026-11-23"]), 0_u16..1_440);
    (vec(a_line(), 1..8), shopper, codes(&["TEN", "OLD", "FAKE"], 3), hours).prop_map(
        |(lines, shopper, coupons, (date, minute))| Cart {
            at: at("2026-11-22", date, minute),
            shopper: shopper.map(|(tier, birthday_month)| Shopper { birthday_month, ..member(tier) }),
            coupons,
            ..Cart::of(lines)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// I7. Written against the answer alone, with its own sums.
    #[test]
    fn every_line_adds_up_and_so_does_the_trace(policy in a_policy(), cart in a_cart()) {
        let priced = cart.try_price(&policy).unwrap();
        let (mut total, mut given) = (0, BTreeMap::new());
        for (line, wanted) in priced.lines.iter().zip(&cart.lines) {
            prop_assert_eq!(line.gross_minor, wanted.gross_minor);
            let off: i64 = line.discounts.iter().map(|discount| discount.amount_minor).sum();
            prop_assert!(line.gross_minor - off == line.net_minor && line.net_minor >= 0);
            for discount in &line.discounts {
                prop_assert!(discount.amount_minor > 0 && discount.funders.iter().all(|part| part.amount_minor > 0));
                prop_assert_eq!(discount.funders.iter().map(|part| part.amount_minor).sum::<i64>(), discount.amount_minor);
                let rule = match discount.source {
                    DiscountSource::Promotion { promotion } => Rule::Promotion { promotion },
                    DiscountSource::MemberPrice => Rule::MemberPrice,
                    DiscountSource::Markdown { .. } | DiscountSource::BasketMarkdown { .. } => continue,
                };
                *given.entry(rule).or_insert(0) += discount.amount_minor;
            }
            total += line.net_minor;
        }
        prop_assert_eq!((priced.lines.len(), priced.total_minor), (cart.lines.len(), total));
        let applied = priced.trace.iter().filter_map(|considered| match considered.outcome {
            Verdict::Applied { amount_minor } => Some((considered.rule, amount_minor)),
            Verdict::Rejected(_) => None,
        });
        prop_assert_eq!(applied.collect::<BTreeMap<_, _>>(), given);
    }

    /// On each of its lines a rule has exactly one verdict: it was applied, or there is one reason why not.
    #[test]
    fn every_rule_says_one_thing_about_a_line(policy in a_policy(), cart in a_cart()) {
        let priced = cart.try_price(&policy).unwrap();
        let mut said = BTreeSet::new();
        for considered in &priced.trace {
            for line in &considered.lines {
                prop_assert!(said.insert((considered.rule, *line)), "{:?} twice on line {}", considered.rule, line);
            }
        }
        for candidate in PriceBook::new(&policy).candidates(&cart.basket()) {
            let promotion = policy.promotions.iter().map(|p| p.id).collect::<BTreeSet<_>>();
            let id = *promotion.iter().nth(candidate.listed).unwrap();
            for line in candidate.lines {
                // Lines that a threshold counted without taking a cent of them are part of its offer and say nothing.
                let threshold = policy.promotions.iter().any(|p| p.id == id && p.give.is_threshold());
                prop_assert!(threshold || said.contains(&(Rule::Promotion { promotion: id }, line)), "{id} on {line}");
            }
        }
    }

    #[test]
    fn the_order_of_promotions_changes_not_a_byte(policy in a_policy(), cart in a_cart(), by in any::<u64>()) {
        let mut shuffled = policy.clone();
        shuffled.promotions.sort_by_key(|promotion| crate::id::Hash::of(format!("{by}{}", promotion.id).as_bytes()));
        let bytes = |policy: &Policy| rmp_serde::to_vec_named(&cart.try_price(policy).unwrap()).unwrap();
        prop_assert_eq!(bytes(&policy), bytes(&shuffled));
        prop_assert_eq!(bytes(&policy), bytes(&policy));
    }

    #[test]
    fn the_order_of_lines_changes_not_a_cent(policy in a_policy(), cart in a_cart(), turn in 0_usize..8) {
        let mut turned = cart.clone();
        turned.lines.reverse();
        let by = turn % turned.lines.len();
        turned.lines.rotate_left(by);
        let (there, back) = (cart.try_price(&policy).unwrap(), turned.try_price(&policy).unwrap());
        prop_assert_eq!(there.total_minor, back.total_minor);
        let sorted = |priced: &Priced| { let mut nets = nets(priced); nets.sort_unstable(); nets };
        prop_assert_eq!(sorted(&there), sorted(&back));
    }

    #[test]
    fn a_promotion_that_does_not_match_changes_nothing(policy in a_policy(), cart in a_cart(), other in a_promotion(), why in 0_u8..4) {
        let mut more = policy.clone();
        let mut other = Promotion { id: "P00".parse().unwrap(), priority: 99, combine: Combine::Exclusive, ..other };
        match why {
            0 => other.goods = Goods { include: Some(Selector { skus: vec!["Z".to_owned()], ..Selector::default() }), ..Goods::default() },
            1 => other.place.stores = vec!["S9".parse().unwrap()],
            2 => other.when = When { to: Some("2026-11-19".parse().unwrap()), ..When::default() },
            _ => other.coupon = Some("NOBODY".parse().unwrap()),
        }
        more.promotions.push(other);
        prop_assert_eq!(cart.try_price(&policy).unwrap().lines, cart.try_price(&more).unwrap().lines);
    }

    /// What comes off the basket as a whole comes off exactly, in parts that add up, and changes no promotion.
    #[test]
    fn a_basket_markdown_takes_off_itself_and_no_more(
        policy in a_policy(), cart in a_cart(), shares in vec((0_i64..=1_000, select(vec![None, Some("partner:P"), Some("hub")])), 1..4), turn in 0_usize..8,
    ) {
        let before = cart.try_price(&policy).unwrap();
        let takes = |line: &BasketLine<'_>| !line.flags.no_discount && !line.flags.no_coupon;
        let mut left: i64 = cart.lines.iter().zip(&before.lines).filter(|(line, _)| takes(line)).map(|(_, priced)| priced.net_minor).sum();
        let mut cart = cart;
        for (share, funder) in shares {
            let amount_minor = left * share / 1_000;
            left -= amount_minor;
            if amount_minor > 0 {
                cart.markdowns.push(markdown(amount_minor, funder)[0].clone());
            }
        }
        let off: i64 = cart.markdowns.iter().map(|markdown| markdown.amount_minor).sum();
        let after = cart.try_price(&policy).unwrap();
        prop_assert_eq!((after.total_minor, &after.trace), (before.total_minor - off, &before.trace));
        let mut parts = vec![0; cart.markdowns.len()];
        for (line, (was, is)) in cart.lines.iter().zip(before.lines.iter().zip(&after.lines)) {
            prop_assert!(is.net_minor >= 0 && (takes(line) || is == was));
            prop_assert_eq!(&is.discounts[..was.discounts.len()], &was.discounts[..]);
            for discount in &is.discounts[was.discounts.len()..] {
                let DiscountSource::BasketMarkdown { index } = discount.source else { panic!("{discount:?}") };
                parts[usize::from(index)] += discount.amount_minor;
                let funder = cart.markdowns[usize::from(index)].funder.unwrap_or(crate::party::Party::Store(cart.store));
                prop_assert_eq!(&discount.funders, &[FundedPart { party: funder, amount_minor: discount.amount_minor }]);
            }
        }
        prop_assert_eq!(parts, cart.markdowns.iter().map(|markdown| markdown.amount_minor).collect::<Vec<_>>());
        let by = turn % cart.lines.len();
        let mut turned = cart.clone();
        turned.lines.rotate_left(by);
        let mut nets = nets(&turned.try_price(&policy).unwrap());
        nets.rotate_right(by);
        prop_assert_eq!(nets.iter().sum::<i64>(), after.total_minor);
        turned.markdowns.push(markdown(left + 1, None)[0].clone());
        prop_assert_eq!(turned.try_price(&policy), Err(PricingRefusal::BasketBelowZero { below_minor: 1 }));
    }

    /// A promotion that stands alone never costs the customer anything against having none.
    #[test]
    fn no_promotion_raises_a_price(policy in a_policy(), cart in a_cart()) {
        let bare = Policy { promotions: Vec::new(), ..policy.clone() };
        let (with, without) = (cart.try_price(&policy).unwrap(), cart.try_price(&bare).unwrap());
        prop_assert!(nets(&with).iter().zip(nets(&without)).all(|(with, without)| *with <= without));
    }
}

/// The generators reach every verdict, else the properties above would say little.
#[test]
fn the_random_shop_knows_every_verdict() {
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeSet::new();
    for _ in 0..2_000 {
        let policy = a_policy().new_tree(&mut runner).unwrap().current();
        let cart = a_cart().new_tree(&mut runner).unwrap().current();
        for considered in cart.try_price(&policy).unwrap().trace {
            let json = serde_json::to_value(considered.outcome).unwrap();
            met.insert(json["reason"].as_str().unwrap_or("applied").to_owned());
        }
    }
    let expected = [
        "already_discounted",
        "applied",
        "beaten",
        "below_threshold",
        "blocked_by_exclusive",
        "counter_not_taking_part",
        "coupon_missing",
        "excluded_goods",
        "no_coupon",
        "no_discount",
        "no_effect",
        "no_goods",
        "not_birthday_month",
        "not_member",
        "other_store",
        "outranked",
        "switched_off",
        "unknown_coupon",
        "unknown_item",
        "wrong_segment",
        "wrong_tier",
        "wrong_time",
        "wrong_weekday",
    ];
    assert_eq!(met.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
