//! Properties of settlement over random histories, and mutants that show each check can fail.
//!
//! Histories are what tills could write if nobody stopped them: spends before loads, returns of more than was spent, voids of what is gone. The oracle for
//! fifo shares no code with the fold: it overlaps intervals on the line of all units loaded and all units spent.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::id::{AccountId, EntryId, Epoch, Seq, StoreId};
use crate::money::Currency;
use crate::movement::{Direction, MovementKind as K, MovementRef, PostedMovement};
use crate::party::Party;
use crate::settlement::agreement::{Agreement, Agreements, DrawOrder, ReturnLots, Scheme};
use crate::settlement::fold::{AccountFold, fold};
use crate::settlement::leg::{Leg, LegKind};
use crate::settlement::run::{RunError, check_zero_sum, daily_positions, delta};
use crate::settlement::testing::{day, golden_terms, history, nets, only};
use crate::time::Stamp;
use crate::unit::Unit;

const STORES: [&str; 4] = ["A", "B", "C", "D"];

fn terms() -> impl Strategy<Value = Agreement> {
    let draw_order = prop::sample::select(DrawOrder::ALL);
    let return_lots = prop::sample::select(ReturnLots::ALL);
    (draw_order, return_lots, 0_i64..60_000, 0_i64..60_000, 0_i64..=1_000_000, 0_i64..3_000_000).prop_map(
        |(draw_order, return_lots, commission, fee, bonus, points)| Agreement {
            draw_order,
            return_lots,
            load_commission_ppm: crate::money::Ppm(commission),
            acceptance_fee_ppm: crate::money::Ppm(fee),
            bonus_hub_share_ppm: crate::money::Ppm(bonus),
            points_cost_ppm: crate::money::Ppm(points),
            ..golden_terms()
        },
    )
}

fn movement(number: i64, store: &str, kind: K, amount_minor: i64, of: Option<MovementRef>) -> PostedMovement {
    let points = matches!(kind, K::Earn | K::EarnReversal | K::Burn | K::BurnReversal | K::Expire);
    PostedMovement {
        account: AccountId::new(1).unwrap(),
        stamp: Stamp(number),
        entry: EntryId {
            store: StoreId::new(store).unwrap(),
            epoch: Epoch(1),
            seq: Seq(u64::try_from(number).unwrap()),
        },
        index: 0,
        business_day: day(i8::try_from(1 + number / 4).unwrap()),
        unit: if points { Unit::Points } else { Unit::Money(Currency::CNY) },
        kind,
        amount_minor,
        of,
        origin_store: (kind == K::Opening).then(|| StoreId::new("B").unwrap()),
    }
}

/// What a reversal may name; `None` for kinds that name nothing.
fn named_by(kind: K) -> Option<K> {
    match kind {
        K::SpendVoid | K::SpendReturn => Some(K::Spend),
        K::LoadVoid => Some(K::Reload),
        K::BonusVoid => Some(K::Bonus),
        K::EarnReversal => Some(K::Earn),
        K::BurnReversal => Some(K::Burn),
        K::OverdraftBack => Some(K::Overdraft),
        _ => None,
    }
}

/// Movements of any kind at any store; what names another names one of the right kind, wherever it stands, or nothing.
fn any_history() -> impl Strategy<Value = Vec<PostedMovement>> {
    // What moves on the risk account only has a history of its own.
    let kinds: Vec<K> = K::ALL.iter().copied().filter(|kind| !kind.is_of_risk_account()).collect();
    history_of(kinds)
}

/// What can move on the group's risk account.
fn risk_history() -> impl Strategy<Value = Vec<PostedMovement>> {
    let mut kinds: Vec<K> = K::ALL.iter().copied().filter(|kind| kind.is_of_risk_account()).collect();
    // What lines of ended epochs held is paid back to this account as to any other.
    kinds.push(K::SuspenseRepaid);
    history_of(kinds).prop_map(|history| {
        history.into_iter().map(|moved| PostedMovement { account: AccountId::RISK, ..moved }).collect()
    })
}

fn history_of(kinds: Vec<K>) -> impl Strategy<Value = Vec<PostedMovement>> {
    let event = (0..STORES.len(), prop::sample::select(kinds), 1_i64..500, any::<Index>());
    prop::collection::vec(event, 0..60).prop_map(|events| {
        let mut movements: Vec<PostedMovement> = (1..)
            .zip(&events)
            .map(|(number, &(store, kind, amount, _))| movement(number, STORES[store], kind, amount, None))
            .collect();
        for (place, (_, kind, _, which)) in events.iter().enumerate() {
            let candidates: Vec<MovementRef> =
                movements.iter().filter(|m| Some(m.kind) == named_by(*kind)).map(PostedMovement::reference).collect();
            if !candidates.is_empty() {
                movements[place].of = Some(*which.get(&candidates));
            }
        }
        movements
    })
}

fn settle(scheme: Scheme, agreements: &Agreements, history: &[PostedMovement]) -> AccountFold {
    fold(scheme, agreements, history).unwrap()
}

fn balance(history: &[PostedMovement]) -> i64 {
    let money = history.iter().filter(|m| m.unit != Unit::Points);
    money.map(|m| if m.kind.direction() == Direction::In { m.amount_minor } else { -m.amount_minor }).sum()
}

/// Loader × acceptor by overlapping intervals: the k-th unit spent is the k-th loaded.
fn fifo_oracle(history: &[PostedMovement]) -> BTreeMap<(Party, Party), i64> {
    let intervals = |direction: Direction| {
        let mut end = 0;
        let mut found = Vec::new();
        for m in history.iter().filter(|m| m.kind.direction() == direction) {
            found.push((end, end + m.amount_minor, Party::Store(m.entry.store)));
            end += m.amount_minor;
        }
        (found, end)
    };
    let ((mut loads, loaded), (spends, spent)) = (intervals(Direction::In), intervals(Direction::Out));
    if spent > loaded {
        loads.push((loaded, spent, Party::Unattributed));
    }
    let mut matrix = BTreeMap::new();
    for &(from, to, acceptor) in &spends {
        for &(load_from, load_to, loader) in &loads {
            let common = to.min(load_to) - from.max(load_from);
            if common > 0 {
                *matrix.entry((loader, acceptor)).or_insert(0) += common;
            }
        }
    }
    matrix
}

fn fifo_matrix(legs: &[Leg]) -> BTreeMap<(Party, Party), i64> {
    let mut matrix = BTreeMap::new();
    for leg in legs.iter().filter(|leg| leg.kind == LegKind::Spend) {
        *matrix.entry((leg.debtor, leg.creditor)).or_insert(0) += leg.amount_minor;
    }
    matrix
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_history_folds_and_conserves(history in any_history(), terms in terms()) {
        for &scheme in Scheme::ALL {
            let folded = settle(scheme, &only(terms), &history);
            let waiting: i64 = folded.unattributed.iter().map(|draw| draw.amount_minor).sum();
            let held: i64 = folded.lots.iter().map(|lot| lot.remaining_minor).sum();
            prop_assert_eq!(held - waiting, balance(&history));
            prop_assert_eq!(folded.balance_minor, balance(&history));
            prop_assert_eq!(folded.principal_minor + folded.bonus_minor, held);
            prop_assert!(held == 0 || waiting == 0, "nothing waits while a lot has something");
            for lot in folded.lots.iter().chain(&folded.points_lots) {
                prop_assert!((0..=lot.amount_minor).contains(&lot.remaining_minor));
            }
            prop_assert!(folded.legs.iter().all(|leg| leg.amount_minor > 0));
            prop_assert!(folded.legs.windows(2).all(|pair| pair[0].key() < pair[1].key()));
            prop_assert_eq!(check_zero_sum(&daily_positions(&folded.legs).unwrap()), Ok(()));
        }
    }

    #[test]
    fn any_arrival_in_any_runs_comes_to_the_same_sums(
        history in any_history(), terms in terms(), runs in prop::collection::vec(0_usize..6, 60), scheme in prop::sample::select(Scheme::ALL),
    ) {
        let agreements = only(terms);
        let (mut closed, mut sums) = (Vec::new(), BTreeMap::new());
        for run in 0..6 {
            let arrived: Vec<PostedMovement> =
                history.iter().zip(&runs).filter(|&(_, &arrival)| arrival <= run).map(|(m, _)| m.clone()).collect();
            let current = settle(scheme, &agreements, &arrived).legs;
            for line in delta(&closed, &current).unwrap() {
                *sums.entry(line.key()).or_insert(0) += line.amount_minor;
            }
            closed = current;
        }
        sums.retain(|_, amount| *amount != 0);
        let at_once = settle(scheme, &agreements, &history).legs;
        prop_assert_eq!(sums.into_iter().map(|(key, amount)| Leg::of(key, amount)).collect::<Vec<_>>(), at_once);
    }

    #[test]
    fn fifo_is_the_overlap_of_what_was_loaded_and_what_was_spent(
        events in prop::collection::vec((0..STORES.len(), prop::bool::ANY, 1_i64..500), 0..80),
    ) {
        let kinds = events.iter().map(|&(_, load, _)| if load { K::Reload } else { K::Spend });
        let history: Vec<PostedMovement> =
            (1..).zip(events.iter().zip(kinds)).map(|(number, (&(store, _, amount), kind))| movement(number, STORES[store], kind, amount, None)).collect();
        let folded = settle(Scheme::Fifo, &only(golden_terms()), &history);
        prop_assert_eq!(fifo_matrix(&folded.legs), fifo_oracle(&history));
    }

    #[test]
    fn when_nothing_is_left_on_the_card_all_schemes_have_the_same_nets(
        history in any_history(), terms in terms(), closing_store in 0..STORES.len(),
    ) {
        // Opening balances are left out: the hub holds that float under pool, its loader under fifo.
        let mut history: Vec<PostedMovement> = history.into_iter().filter(|m| m.kind != K::Opening).collect();
        history.insert(0, movement(0, "A", K::CardSale, 300, None));
        let mut left = balance(&history);
        if left < 0 {
            history.push(movement(100, STORES[closing_store], K::Reload, -left, None));
            left = 0;
        }
        if left > 0 {
            history.push(movement(101, STORES[closing_store], K::Spend, left, None));
        }
        let [pool, fifo, home] = [Scheme::Pool, Scheme::Fifo, Scheme::Home].map(|scheme| nets(&settle(scheme, &only(terms), &history).legs));
        prop_assert_eq!(&home, &pool);
        if !fifo.contains_key(&Party::Unattributed) {
            prop_assert_eq!(&fifo, &pool);
        }
    }

    #[test]
    fn the_risk_account_owes_the_same_in_all_schemes(history in risk_history(), terms in terms()) {
        let folds = [Scheme::Pool, Scheme::Fifo, Scheme::Home].map(|scheme| settle(scheme, &only(terms), &history));
        prop_assert_eq!(&folds[0].legs, &folds[1].legs);
        prop_assert_eq!(&folds[0].legs, &folds[2].legs);
        let sum = |kind: K| history.iter().filter(|moved| moved.kind == kind).map(|moved| moved.amount_minor).sum::<i64>();
        let net = nets(&folds[0].legs).get(&Party::Risk).copied().unwrap_or(0);
        prop_assert_eq!(net, sum(K::OverdraftBack) - sum(K::Overdraft), "it owes what was drawn, and not its budget");
    }

    #[test]
    fn everything_returned_in_any_parts_is_as_if_nothing_had_been_spent(
        loads in prop::collection::vec((0..STORES.len(), prop::bool::ANY, 1_i64..900), 1..6),
        spends in prop::collection::vec((0..STORES.len(), 1_i64..400, prop::collection::vec((0..STORES.len(), 0_i64..300), 0..4)), 0..8),
        order in any::<u64>(), terms in terms(),
    ) {
        // Voids give back the rest, so that every spend is undone whatever its returns were.
        let terms = Agreement { return_lots: ReturnLots::Restore, ..terms };
        let mut number = 0;
        let mut next = || { number += 1; number };
        let mut history = Vec::new();
        for (store, bonus, amount) in loads {
            history.push(movement(next(), STORES[store], if bonus { K::Bonus } else { K::Reload }, amount, None));
        }
        history.push(movement(next(), "A", K::Earn, 5_000, None));
        let before = history.clone();
        let mut undo = Vec::new();
        for (store, wanted, parts) in spends {
            let amount = wanted.min(balance(&history));
            if amount == 0 { continue; }
            let spend = movement(next(), STORES[store], K::Spend, amount, None);
            let burn = movement(next(), STORES[store], K::Burn, wanted, None);
            let mut left = amount;
            for (taker, part) in parts {
                let part = part.min(left);
                if part > 0 {
                    undo.push((taker, K::SpendReturn, part, spend.reference()));
                    left -= part;
                }
            }
            if left > 0 { undo.push((store, K::SpendVoid, left, spend.reference())); }
            undo.extend([(store, K::BurnReversal, wanted / 3, burn.reference()), (store, K::BurnReversal, wanted - wanted / 3, burn.reference())]);
            history.extend([spend, burn]);
        }
        undo.sort_by_key(|step| (step.3.entry.seq.0.wrapping_mul(order | 1) ^ step.2.unsigned_abs(), step.0));
        for (taker, kind, amount, of) in undo {
            history.push(movement(next(), STORES[taker], kind, amount, Some(of)));
        }
        for &scheme in Scheme::ALL {
            let (start, end) = (settle(scheme, &only(terms), &before), settle(scheme, &only(terms), &history));
            prop_assert_eq!(&end.lots, &start.lots);
            prop_assert_eq!(&end.points_lots, &start.points_lots);
            prop_assert_eq!(nets(&end.legs), nets(&start.legs));
        }
    }
}

#[test]
fn a_load_that_comes_late_in_the_order_pays_the_oldest_spend_on_its_own_day() {
    let text = "
        S1 C spend      60.00 day 20
        S2 D spend      50.00 day 21
        L1 A card_sale 100.00 day 22
    ";
    let folded = settle(Scheme::Fifo, &only(golden_terms()), &history(text));
    let spends: Vec<(Party, Party, i64, String)> = folded
        .legs
        .iter()
        .filter(|leg| leg.kind == LegKind::Spend)
        .map(|leg| (leg.debtor, leg.creditor, leg.amount_minor, leg.business_day.to_string()))
        .collect();
    let store = |code: &str| Party::Store(StoreId::new(code).unwrap());
    assert_eq!(
        spends,
        [
            (store("A"), store("C"), 6_000, "2026-11-20".to_owned()),
            (store("A"), store("D"), 4_000, "2026-11-21".to_owned()),
            (Party::Unattributed, store("D"), 1_000, "2026-11-21".to_owned()),
        ]
    );
    assert_eq!((folded.balance_minor, folded.unattributed[0].amount_minor), (-1_000, 1_000));
}

#[test]
fn a_return_whose_spend_is_missing_waits_against_unattributed() {
    let text = "
        L1 A card_sale 100.00
        S1 C spend      60.00
        R1 D spend_return 20.00 of S1
    ";
    let all = history(text);
    let without_spend = [all[0].clone(), all[2].clone()];
    let agreements = only(golden_terms());
    let early = settle(Scheme::Fifo, &agreements, &without_spend);
    assert!(early.legs.iter().any(|leg| leg.kind == LegKind::AgentReturn && leg.creditor == Party::Unattributed));
    let complete = settle(Scheme::Fifo, &agreements, &all);
    assert!(!nets(&complete.legs).contains_key(&Party::Unattributed), "once the spend is there nothing is open");
    let moved = delta(&early.legs, &complete.legs).unwrap();
    assert!(moved.iter().any(|leg| leg.kind == LegKind::AgentReturn
        && leg.creditor == Party::Unattributed
        && leg.amount_minor == -2_000));
}

#[test]
fn a_void_of_a_load_takes_the_very_lot_and_its_commission() {
    let text = "
        L1 A card_sale 100.00
        L2 B reload    100.00
        V2 B load_void 100.00 of L2
    ";
    let folded = settle(Scheme::Fifo, &only(golden_terms()), &history(text));
    assert_eq!(folded.lots.iter().map(|lot| lot.remaining_minor).collect::<Vec<_>>(), [10_000, 0]);
    let b = nets(&folded.legs).get(&Party::Store(StoreId::new("B").unwrap())).copied();
    assert_eq!(b, None, "B is where it was before");
}

#[test]
fn a_rate_is_that_of_the_day_and_a_reversal_keeps_the_rate_of_what_it_reverses() {
    let dearer = Agreement { effective_from: day(23), acceptance_fee_ppm: crate::money::Ppm(20_000), ..golden_terms() };
    let agreements = Agreements::new(vec![golden_terms(), dearer]).unwrap();
    let text = "
        L1 A card_sale    300.00
        S1 C spend        100.00
        R1 C spend_return 100.00 of S1 day 23
        S2 C spend        100.00 day 23
    ";
    let legs = settle(Scheme::Pool, &agreements, &history(text)).legs;
    let of = |kind| legs.iter().filter(|leg| leg.kind == kind).map(|leg| leg.amount_minor).collect::<Vec<_>>();
    assert_eq!((of(LegKind::Fee), of(LegKind::FeeReversal)), (vec![60, 200], vec![60]));
}

#[test]
fn a_new_lot_belongs_to_the_taker_and_the_sale_stands() {
    let terms = Agreement { return_lots: ReturnLots::NewLotHere, ..golden_terms() };
    let text = "
        L1 A card_sale          100.00
        S1 C spend              100.00
        R1 D spend_return        40.00 of S1
        R2 B unreferenced_return 10.00
        S2 C spend               45.00
    ";
    let folded = settle(Scheme::Fifo, &only(terms), &history(text));
    let lots: Vec<(u32, K, String, i64)> =
        folded.lots.iter().map(|lot| (lot.no, lot.origin, lot.owner.to_string(), lot.remaining_minor)).collect();
    assert_eq!(
        lots,
        [
            (1, K::CardSale, "store:A".to_owned(), 0),
            (2, K::SpendReturn, "store:D".to_owned(), 0),
            (3, K::UnreferencedReturn, "store:B".to_owned(), 500),
        ]
    );
    assert!(folded.legs.iter().all(|leg| leg.kind != LegKind::FeeReversal));
}

#[test]
fn what_is_no_history_is_refused_and_gives_no_leg() {
    let good = history("L1 A card_sale 100.00\n S1 C spend 10.00");
    let check = |change: fn(&mut Vec<PostedMovement>), says: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(fold(Scheme::Pool, &only(golden_terms()), &bad).unwrap_err().to_string(), says);
    };
    check(|h| h.swap(0, 1), "movement 1 of account 1 does not follow the one before it in the total order");
    check(|h| h[1].account = AccountId::new(2).unwrap(), "movement 1 belongs to account 2, the history to account 1");
    check(
        |h| h[1].unit = Unit::Money(Currency::USD),
        "movement 1 of account 1 is in USD, but the agreement settles CNY",
    );
    let too_much = "which is negative or makes the account's volume too large";
    check(|h| h[1].amount_minor = -1, &format!("movement 1 of account 1 has the amount -1, {too_much}"));
    check(
        |h| h[1].amount_minor = i64::MAX,
        &format!("movement 1 of account 1 has the amount {}, {too_much}", i64::MAX),
    );
}

#[test]
fn one_cent_is_found_by_the_zero_sum_and_by_the_difference_of_runs() {
    let legs = settle(Scheme::Fifo, &only(golden_terms()), &history("L1 A card_sale 100.00\n S1 C spend 10.00")).legs;
    let positions = daily_positions(&legs).unwrap();
    for key in positions.keys() {
        let mut changed = positions.clone();
        *changed.get_mut(key).unwrap() += 1;
        assert!(matches!(check_zero_sum(&changed), Err(RunError::NotZero { sum_minor: 1, .. })), "{key:?}");
    }
    for place in 0..legs.len() {
        let mut changed = legs.clone();
        changed[place].amount_minor += 1;
        let found = delta(&legs, &changed).unwrap();
        assert_eq!((found.len(), found[0].key(), found[0].amount_minor), (1, legs[place].key(), 1));
    }
    let mut unsorted = legs.clone();
    unsorted.reverse();
    assert_eq!(delta(&[], &unsorted), Err(RunError::Order { index: 1 }));
}

#[test]
fn a_mutant_of_the_history_breaks_the_oracle() {
    let good = history("L1 A card_sale 100.00\n L2 B reload 50.00\n S1 C spend 120.00");
    let matrix = fifo_matrix(&settle(Scheme::Fifo, &only(golden_terms()), &good).legs);
    assert_eq!(matrix, fifo_oracle(&good));
    let mut mutants = vec![good.clone(), good.clone(), good.clone()];
    mutants[0][0].amount_minor += 1;
    mutants[1][2].entry.store = StoreId::new("D").unwrap();
    mutants[2].remove(1);
    for mutant in mutants {
        assert_ne!(fifo_oracle(&mutant), matrix);
    }
}
