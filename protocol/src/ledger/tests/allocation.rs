//! Cards whose scopes cross: a sale is refused only when no split of its lines exists, and what comes back finds its card.
//!
//! Goods of category L0, L1 …; the product of card n pays only for its own of them. Whether a split exists is asked of every split that there is.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;

use super::*;

/// What each card holds: more than any basket costs.
const HELD: i64 = 10_000;

/// A basket with its scopes and payments.
#[derive(Clone, Debug)]
struct Case {
    /// By line: what it costs, and whether stored value may pay for it at all.
    lines: Vec<(i64, bool)>,
    /// By card: whether its product pays for the goods of each line, and what it pays. Cash pays the rest.
    cards: Vec<(Vec<bool>, i64)>,
}

impl Case {
    fn new<const L: usize>(lines: [i64; L], cards: &[([bool; L], i64)]) -> Self {
        let cards = cards.iter().map(|(scope, pays_minor)| (scope.to_vec(), *pays_minor)).collect();
        Self { lines: lines.iter().map(|net_minor| (*net_minor, true)).collect(), cards }
    }

    fn may_pay(&self, card: usize, line: usize) -> bool {
        self.cards[card].0[line] && self.lines[line].1
    }

    fn cash_minor(&self) -> i64 {
        let total: i64 = self.lines.iter().map(|(net_minor, _)| net_minor).sum();
        total - self.cards.iter().map(|(_, pays_minor)| pays_minor).sum::<i64>()
    }

    /// Whether any split lets each card pay its amount: all of them are tried.
    fn is_possible(&self) -> bool {
        fn place(
            case: &Case,
            known: &mut HashMap<(usize, usize, i64, Vec<i64>), bool>,
            at: (usize, usize, i64),
            left: Vec<i64>,
        ) -> bool {
            let (card, line, rest) = at;
            if line == left.len() {
                if rest > 0 {
                    return false;
                }
                return match card {
                    0 => true,
                    _ => place(case, known, (card - 1, 0, case.cards[card - 1].1), left),
                };
            }
            let key = (card, line, rest, left.clone());
            if let Some(&known) = known.get(&key) {
                return known;
            }
            let most = if case.may_pay(card, line) { rest.min(left[line]) } else { 0 };
            let found = (0..=most).any(|part| {
                let mut left = left.clone();
                left[line] -= part;
                place(case, known, (card, line + 1, rest - part), left)
            });
            known.insert(key, found);
            found
        }
        let left: Vec<i64> = self.lines.iter().map(|(net_minor, _)| *net_minor).collect();
        let cards = self.cards.len();
        place(self, &mut HashMap::new(), (cards - 1, 0, self.cards[cards - 1].1), left)
    }

    /// The card, paying so much, with those whose goods cost less, or as much and which come first.
    fn beside_narrower(&self, at: usize, pays_minor: i64) -> Self {
        let goods_minor = |card: usize| -> i64 {
            let goods = (0..self.lines.len()).filter(|&line| self.may_pay(card, line));
            goods.map(|line| self.lines[line].0).sum()
        };
        let before = (0..self.cards.len()).filter(|&card| (goods_minor(card), card) < (goods_minor(at), at));
        let mut cards: Vec<_> = before.map(|card| self.cards[card].clone()).collect();
        cards.push((self.cards[at].0.clone(), pays_minor));
        Self { lines: self.lines.clone(), cards }
    }

    fn shop(&self) -> Shop {
        let mut shop = Shop::new(Vec::new());
        let template = shop.policy.products.remove(0);
        for (no, (scope, _)) in (1_i64..).zip(&self.cards) {
            let mut product = template.clone();
            product.id = format!("P{no}").parse().unwrap();
            product.ranges[0].prefix = format!("6{no}");
            let out: Vec<String> =
                scope.iter().enumerate().filter(|(_, is_in)| !**is_in).map(|(at, _)| format!("L{at}")).collect();
            if !out.is_empty() {
                product.scope =
                    serde_json::from_value(json!({ "goods": { "exclude": { "categories": out } } })).unwrap();
            }
            shop.cards.push(Card { product: product.id, ..card(no, CardStatus::Active) });
            shop.policy.products.push(product);
            shop = shop.with(no, HELD);
        }
        shop
    }

    fn request(&self) -> PostSale {
        let lines = self.lines.iter().enumerate().map(|(at, &(net_minor, takes_value))| TillLine {
            category_path: format!("L{at}"),
            flags: LineFlags { no_stored_value: !takes_value, ..LineFlags::default() },
            ..line(net_minor, 3_000)
        });
        let by_card = (1_i64..).zip(&self.cards);
        let mut tenders: Vec<TenderLine> =
            by_card.map(|(no, (_, pays_minor))| tender("stored_value", *pays_minor, Some(no))).collect();
        if self.cash_minor() > 0 {
            tenders.push(tender("cash", self.cash_minor(), None));
        }
        sale(lines.collect(), tenders)
    }
}

fn allocation(entry: &Entry) -> &[Vec<i64>] {
    let Body::Sale(sale) = &entry.body else { panic!("a sale") };
    &sale.allocation
}

/// Takes a sale back in thirds of lines, one at a time from line `first` on; every card then holds what it held.
fn give_back(shop: &mut Shop, receipt: &Entry, first: usize) -> Result<(), TestCaseError> {
    let Body::Sale(sold) = &receipt.body else { panic!("a sale") };
    let mut state = ReceiptState::default();
    for turn in 0..3 * sold.lines.len() {
        let request = PostReturn {
            receipt: receipt.header.id(),
            items: vec![ReturnItem {
                line: u16::try_from((first + turn) % sold.lines.len()).unwrap(),
                quantity_thousandths: 1_000,
            }],
            reason: "regret".to_owned(),
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        let back = post_return(&shop.situation(), receipt, &state, &shop.cards, &shop.holdings, &request);
        let (_, plan) = shop.book(back);
        let Some(ReceiptChange::Changed { state: next, .. }) = plan.receipt else { panic!("a return") };
        state = next;
    }
    for no in (1_i64..).take(shop.cards.len()) {
        prop_assert_eq!(shop.here(no), HELD, "card {}", no);
    }
    Ok(())
}

fn check(case: &Case, first: usize) -> Result<(), TestCaseError> {
    let mut shop = case.shop();
    let request = case.request();
    let decision = shop.sale(&request);
    let is_possible = case.is_possible();
    if let Decision::Declined(decline) = &decision {
        prop_assert!(!is_possible, "refused, although it can be split: {:?}", decline);
        let Some(number) = decline.card else {
            prop_assert_eq!(decline.code, DeclineCode::TenderNotAllowed);
            return Ok(());
        };
        prop_assert_eq!(decline.code, DeclineCode::CardScope);
        let at = request.tenders.iter().position(|line| line.card == Some(number)).unwrap();
        prop_assert!(
            (0..case.lines.len()).any(|line| !case.cards[at].0[line]),
            "a card for everything is not to blame"
        );
        // The most that it could pay beside the cards that may pay less: so much, and not a fen more.
        let most_minor = decline.available_here_minor.unwrap();
        prop_assert_eq!(decline.needed_minor, Some(case.cards[at].1));
        for (pays_minor, expected) in [(most_minor, true), (most_minor + 1, false)] {
            prop_assert_eq!(
                case.beside_narrower(at, pays_minor).is_possible(),
                expected,
                "{} of {:?}",
                pays_minor,
                decline
            );
        }
        return Ok(());
    }
    prop_assert!(is_possible, "sold, although it cannot be split");
    let (entry, _) = shop.book(decision);
    let rows = allocation(&entry);
    for (at, line) in request.tenders.iter().enumerate() {
        prop_assert_eq!(rows[at].iter().sum::<i64>(), line.amount_minor, "tender {}", at);
    }
    for (at, (net_minor, _)) in case.lines.iter().enumerate() {
        prop_assert_eq!(rows.iter().map(|row| row[at]).sum::<i64>(), *net_minor, "line {}", at);
        for (card, row) in rows.iter().take(case.cards.len()).enumerate() {
            prop_assert!(row[at] >= 0, "card {} on {}", card, at);
            prop_assert!(row[at] == 0 || case.may_pay(card, at), "card {} on {}", card, at);
        }
    }
    give_back(&mut shop, &entry, first)
}

/// Small baskets of which the cards are to pay nearly all, so that about as many can be split as cannot.
fn a_case() -> impl Strategy<Value = Case> {
    use prop::collection::vec;
    let lines = vec((1_i64..7, prop::bool::weighted(0.9)), 1..5);
    let cards = vec((vec(prop::bool::weighted(0.6), 4), 1_i64..9), 1..5);
    (lines, cards).prop_filter_map("cards pay more than everything costs", |(lines, mut cards)| {
        cards.iter_mut().for_each(|(scope, _)| scope.truncate(lines.len()));
        let case = Case { lines, cards };
        (case.cash_minor() >= 0).then_some(case)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_sale_is_refused_only_when_no_split_exists_and_comes_back_to_its_cards(case in a_case(), first in 0_usize..4) {
        check(&case, first)?;
    }
}

#[test]
fn two_cards_whose_scopes_cross_leave_each_other_what_only_one_may_pay() {
    const A: bool = true;
    // A, B and C for 10 each; one card pays A and B, another B and C, both 15: by shares alone the first would take too much of B.
    let case = Case::new([10, 10, 10], &[([A, A, false], 15), ([false, A, A], 15)]);
    let mut shop = case.shop();
    let decision = shop.sale(&case.request());
    let (entry, _) = shop.book(decision);
    assert_eq!(allocation(&entry), [vec![10, 5, 0], vec![0, 5, 10]]);
    give_back(&mut shop, &entry, 1).unwrap();

    // Room that is only to be had by way of a third card.
    let chain =
        Case::new([4, 4, 4, 4], &[([A, A, false, false], 4), ([false, A, A, false], 4), ([false, false, A, A], 8)]);
    check(&chain, 0).unwrap();
    assert!(chain.is_possible());

    // One fen more than the goods of the second card cost, beside what the first leaves.
    let short = Case::new([10, 10, 10, 1], &[([A, A, false, false], 15), ([false, A, A, false], 16)]);
    let decline = declined(short.shop().sale(&short.request()));
    assert_eq!((decline.code, decline.card), (DeclineCode::CardScope, Some(number(2))));
    assert_eq!((decline.available_here_minor, decline.needed_minor), (Some(15), Some(16)));
}

#[test]
fn what_shares_can_split_stays_in_shares() {
    const A: bool = true;
    let case = Case::new([10, 10, 10], &[([A, A, false], 10), ([false, A, A], 10)]);
    let mut shop = case.shop();
    let decision = shop.sale(&case.request());
    let (entry, _) = shop.book(decision);
    assert_eq!(allocation(&entry), [vec![5, 5, 0], vec![0, 3, 7], vec![5, 2, 3]]);
}

#[test]
fn a_long_basket_is_split_as_well() {
    // A thousand lines, twenty cards in a ring, each of which pays its own goods and its neighbour's, and all of them together everything.
    let scope = |card: usize| (0..1_000).map(|line| line % 20 == card || line % 20 == (card + 1) % 20).collect();
    let case = Case {
        lines: (0..1_000).map(|line| (1 + line % 7, true)).collect(),
        cards: (0..20).map(|card| (scope(card), 0)).collect(),
    };
    let own_minor =
        |card: usize| -> i64 { (0..1_000).filter(|line| line % 20 == card).map(|line| case.lines[line].0).sum() };
    let cards = case.cards.iter().enumerate().map(|(card, (scope, _))| (scope.clone(), own_minor((card + 1) % 20)));
    let case = Case { cards: cards.collect(), ..case.clone() };
    assert_eq!(case.cash_minor(), 0);
    let mut shop = case.shop();
    let decision = shop.sale(&case.request());
    let (entry, _) = shop.book(decision);
    let rows = allocation(&entry);
    assert!((0..1_000).all(|line| rows.iter().map(|row| row[line]).sum::<i64>() == case.lines[line].0));
    assert!((0..20).all(|card| (0..1_000).all(|line| rows[card][line] == 0 || case.may_pay(card, line))));
}
