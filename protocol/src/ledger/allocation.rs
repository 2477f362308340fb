//! Allocation: which tender pays which part of which line of a sale.
//!
//! Decided once, when the sale is posted; returns read it and never compute it again. Invariant: rows sum to tenders and columns to lines, to the cent; no
//! tender pays for goods that it may not pay for; and a sale is refused only when there is no such split.

use std::collections::{BTreeMap, VecDeque};

use super::basket::{PricedBasket, basket_line};
use super::{Decide, Decision, Situation};
use crate::card::{Card, CardNumber};
use crate::decline::DeclineCode;
use crate::entry::TenderLine;
use crate::money::{MoneyError, split};
use crate::policy::{Tender, TenderClass};
use crate::till::{Fault, PostSale};
use crate::unit::Unit;

/// Which lines a tender may pay, and why it may not pay the others.
struct Payable {
    /// Per line; `None` when it may pay all.
    lines: Option<Vec<bool>>,
    /// What it may pay of the basket.
    most_minor: i64,
    /// The card whose product keeps it from some lines that other stored value may pay.
    scoped: Option<CardNumber>,
}

/// Which part of each line each tender pays, by tender and line.
///
/// Stored value goes first, the card that may pay least before others, and only to lines that it may pay; each tender takes its share of what is left of
/// the lines by largest remainder, the last one takes the rest. Where a card would come too late for goods that another card could have left to it, room
/// is made: the other pays for goods that are its alone.
pub(super) fn allocate(
    situation: &Situation<'_>,
    cards: &[Card],
    request: &PostSale,
    basket: &PricedBasket,
    tenders: &[&Tender],
) -> Decide<Vec<Vec<i64>>> {
    let payable = payable(situation, cards, request, basket, tenders);
    let mut order: Vec<usize> = (0..payable.len()).collect();
    order.sort_by_key(|&at| (payable[at].lines.is_none(), payable[at].most_minor));
    let reach: Vec<Option<&[bool]>> = payable.iter().map(|payable| payable.lines.as_deref()).collect();
    let net_minor: Vec<i64> = basket.lines.iter().map(|line| line.net_minor).collect();
    let amount_minor: Vec<i64> = request.tenders.iter().map(|line| line.amount_minor).collect();
    let rows = match in_shares(&reach, &net_minor, &amount_minor, &order) {
        Err(NoSplit::Short { .. }) => by_groups(&reach, &net_minor, &amount_minor, &order),
        decided => decided,
    };
    rows.map_err(|why| match why {
        NoSplit::Short { at, most_minor } => match payable[at].scoped {
            Some(card) => {
                let unit = Unit::Money(request.currency);
                Decision::over_limit(DeclineCode::CardScope, card, unit, most_minor, amount_minor[at])
            }
            None => Decision::declined(DeclineCode::TenderNotAllowed),
        },
        NoSplit::Uncountable { at } => {
            Decision::Faulty(Fault::new(format!("tenders[{at}].amount_minor"), "cannot be shared out over the lines"))
        }
    })
}

/// Which lines each tender may pay. Only stored value is kept from any: by a flag of the goods, or by the scope of the card's product.
fn payable(
    situation: &Situation<'_>,
    cards: &[Card],
    request: &PostSale,
    basket: &PricedBasket,
    tenders: &[&Tender],
) -> Vec<Payable> {
    let net_minor = |at: usize| basket.lines[at].net_minor;
    let of_tender = |(line, tender): (&TenderLine, &&Tender)| {
        if tender.class != TenderClass::StoredValue {
            return Payable { lines: None, most_minor: basket.total_minor, scoped: None };
        }
        let card = line.card.and_then(|number| cards.iter().find(|card| card.number == number));
        let scope = card.and_then(|card| situation.policy.product(card)).map(|product| &product.scope);
        let goods = scope.filter(|scope| !scope.is_for_all_goods()).map(|scope| &scope.goods);
        let open: Vec<bool> = basket.lines.iter().map(|line| !line.flags.no_stored_value).collect();
        let lines: Vec<bool> = match goods {
            Some(goods) => {
                let among = goods.selection();
                open.iter().zip(&basket.lines).map(|(open, line)| *open && among.selects(&basket_line(line))).collect()
            }
            None => open.clone(),
        };
        let most_minor = (0..lines.len()).filter(|&at| lines[at]).map(net_minor).sum();
        Payable { scoped: line.card.filter(|_| lines != open), lines: Some(lines), most_minor }
    };
    request.tenders.iter().zip(tenders).map(of_tender).collect()
}

/// Why there is no split.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NoSplit {
    /// A tender pays more than it may, whatever the tenders before it in the order pay.
    Short {
        /// The tender.
        at: usize,
        /// The most that it could pay beside them.
        most_minor: i64,
    },
    /// Its amount is beyond what can be counted.
    Uncountable {
        /// The tender.
        at: usize,
    },
}

/// Tender after tender takes its share of what is left.
fn in_shares(
    reach: &[Option<&[bool]>],
    net_minor: &[i64],
    amount_minor: &[i64],
    order: &[usize],
) -> Result<Vec<Vec<i64>>, NoSplit> {
    let mut table = Table::new(reach, net_minor);
    for &at in order {
        let most_minor = table.most_minor(at);
        if most_minor < amount_minor[at] {
            return Err(NoSplit::Short { at, most_minor });
        }
        table.take(at, amount_minor[at]).map_err(|_| NoSplit::Uncountable { at })?;
    }
    Ok(table.full())
}

/// As [`in_shares`], with room made where it is needed. Lines that the same tenders may pay are one column, so that what is looked through is as small as
/// the scopes are few, and their part is then shared out over them.
fn by_groups(
    reach: &[Option<&[bool]>],
    net_minor: &[i64],
    amount_minor: &[i64],
    order: &[usize],
) -> Result<Vec<Vec<i64>>, NoSplit> {
    let mut groups: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
    for line in 0..net_minor.len() {
        let payers = reach.iter().map(|lines| lines.is_none_or(|lines| lines[line])).collect();
        groups.entry(payers).or_default().push(line);
    }
    let group_reach: Vec<Vec<bool>> =
        (0..reach.len()).map(|at| groups.keys().map(|payers| payers[at]).collect()).collect();
    let group_reach: Vec<Option<&[bool]>> = group_reach.iter().map(|groups| Some(groups.as_slice())).collect();
    let group_minor: Vec<i64> = groups.values().map(|lines| lines.iter().map(|&line| net_minor[line]).sum()).collect();
    let mut table = Table::new(&group_reach, &group_minor);
    for &at in order {
        let at_once_minor = table.most_minor(at).min(amount_minor[at]);
        table.take(at, at_once_minor).map_err(|_| NoSplit::Uncountable { at })?;
        let missing_minor = table.make_room(at, amount_minor[at] - at_once_minor);
        if missing_minor > 0 {
            return Err(NoSplit::Short { at, most_minor: amount_minor[at] - missing_minor });
        }
    }
    let by_group = table.full();
    let mut lines = Table::new(reach, net_minor);
    for (group, members) in groups.values().enumerate() {
        for &at in order {
            lines.take_of(at, by_group[at][group], members).map_err(|_| NoSplit::Uncountable { at })?;
        }
    }
    Ok(lines.full())
}

/// What tenders pay of columns, which are lines or groups of them.
struct Table<'a> {
    /// By tender: the columns that it may pay; `None` for all.
    reach: &'a [Option<&'a [bool]>],
    /// By column: what nobody has paid yet.
    left_minor: Vec<i64>,
    /// By tender and column.
    rows: Vec<Vec<i64>>,
}

impl<'a> Table<'a> {
    fn new(reach: &'a [Option<&'a [bool]>], column_minor: &[i64]) -> Self {
        Self { reach, left_minor: column_minor.to_vec(), rows: vec![vec![0; column_minor.len()]; reach.len()] }
    }

    fn may_pay(&self, at: usize, column: usize) -> bool {
        self.reach[at].is_none_or(|columns| columns[column])
    }

    /// What is left of the columns that a tender may pay.
    fn most_minor(&self, at: usize) -> i64 {
        let open = (0..self.left_minor.len()).filter(|&column| self.may_pay(at, column));
        open.map(|column| self.left_minor[column]).sum()
    }

    /// A tender pays an amount, of each column that it may pay its share of what is left.
    fn take(&mut self, at: usize, amount_minor: i64) -> Result<(), MoneyError> {
        let columns: Vec<usize> = (0..self.left_minor.len()).filter(|&column| self.may_pay(at, column)).collect();
        self.take_of(at, amount_minor, &columns)
    }

    /// A tender pays an amount, of each of these columns its share of what is left.
    fn take_of(&mut self, at: usize, amount_minor: i64, columns: &[usize]) -> Result<(), MoneyError> {
        let weights: Vec<i64> = columns.iter().map(|&column| self.left_minor[column]).collect();
        for (&column, part) in columns.iter().zip(split(amount_minor, &weights)?) {
            self.rows[at][column] += part;
            self.left_minor[column] -= part;
            assert!(self.left_minor[column] >= 0, "a tender never pays more of a line than is left of it");
        }
        Ok(())
    }

    /// Lets a tender that finds too little left pay so much more, by moving others to columns that they may pay as well; gives what cannot be placed. The
    /// others pay what they paid before. This is a maximum flow by shortest augmenting paths: what it cannot place, nobody can.
    fn make_room(&mut self, at: usize, mut missing_minor: i64) -> i64 {
        while missing_minor > 0 {
            let Some(path) = self.path(at) else { break };
            let moved = path.steps.iter().map(|step| self.rows[step.payer][step.column]);
            let moved_minor = moved.fold(missing_minor.min(self.left_minor[path.end]), i64::min);
            self.rows[path.last][path.end] += moved_minor;
            self.left_minor[path.end] -= moved_minor;
            for step in &path.steps {
                self.rows[step.payer][step.column] -= moved_minor;
                self.rows[step.taker][step.column] += moved_minor;
            }
            missing_minor -= moved_minor;
        }
        missing_minor
    }

    /// The shortest way by which a tender gets more: it takes over of a column what another pays there, who takes over elsewhere, and so on, until one finds
    /// a column of which something is left. The first in the order of columns and tenders, so that the same sale is always split alike.
    fn path(&self, at: usize) -> Option<Path> {
        let mut reached: Vec<Option<Step>> = vec![None; self.rows.len()];
        let mut next = VecDeque::from([at]);
        while let Some(taker) = next.pop_front() {
            let open = || (0..self.left_minor.len()).filter(|&column| self.may_pay(taker, column));
            if let Some(end) = open().find(|&column| self.left_minor[column] > 0) {
                let back = std::iter::successors(reached[taker], |step| reached[step.taker]);
                return Some(Path { steps: back.collect(), last: taker, end });
            }
            for column in open() {
                for (payer, (row, how)) in self.rows.iter().zip(&mut reached).enumerate() {
                    if payer != at && how.is_none() && row[column] > 0 {
                        *how = Some(Step { payer, taker, column });
                        next.push_back(payer);
                    }
                }
            }
        }
        None
    }

    /// The rows, when nothing is left to pay.
    fn full(self) -> Vec<Vec<i64>> {
        assert!(self.left_minor.iter().all(|&left| left == 0), "the tenders pay every line in full");
        self.rows
    }
}

/// One tender takes a part of a column over from another.
#[derive(Clone, Copy, Debug)]
struct Step {
    payer: usize,
    taker: usize,
    column: usize,
}

/// Takings over, the last first, and the column whose rest the last one pays instead.
#[derive(Clone, Debug)]
struct Path {
    steps: Vec<Step>,
    last: usize,
    end: usize,
}
