//! Lots: whose money lies on an account, as the result of folding its movements of one unit in the total order.
//!
//! The book knows which lot each spent unit came from, so that a return can put it back. It knows no fee, scheme or leg; it reports every
//! unit that finds its lot as an [`Attribution`], and the fold turns those into legs.
//!
//! It is total. What is taken beyond the lots' content (a load whose journal is late) is kept as an unattributed part of its draw and
//! filled, first come first served, as soon as any lot has something: so the k-th unit taken meets the k-th unit loaded.
//! Invariants: Σ remaining − unattributed = Σ in − Σ out; while something is unattributed every lot is empty.
//!
//! A return gives back over what is still out of each part of the draw, by prefix sums rounded half-up in draw order. No part ever receives less than
//! nothing or more than was taken, and returning everything, in any steps, leaves each lot as it was.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::money::{Ppm, Rounding, ratio};
use crate::movement::{MovementKind, MovementRef, PostedMovement};
use crate::party::Party;
use crate::settlement::agreement::DrawOrder;
use crate::time::BusinessDay;

/// What a lot consists of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LotKind {
    /// Paid for, or value back from a return.
    Principal,
    /// Given with a load.
    Bonus,
}

impl LotKind {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Bonus => "bonus",
        }
    }
}

/// Value that came onto an account at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Lot {
    /// Its number on the account, from 1, counting all lots ever opened.
    pub no: u32,
    /// The kind of movement that opened it.
    pub origin: MovementKind,
    /// The store that put the value on; the hub for its own corrections and for openings of no store; unattributed for a return whose spend is missing.
    pub owner: Party,
    /// What it consists of.
    pub kind: LotKind,
    /// What it began with.
    pub amount_minor: i64,
    /// What is left.
    pub remaining_minor: i64,
    /// The movement that opened it.
    pub opened: MovementRef,
    /// The business day of that movement.
    pub business_day: BusinessDay,
}

/// Something taken that no lot stands for yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct UnattributedDraw {
    /// The movement that took it.
    pub movement: MovementRef,
    /// Its kind.
    pub kind: MovementKind,
    /// Its business day: later runs attribute it to this day.
    pub business_day: BusinessDay,
    /// How much has no lot.
    pub amount_minor: i64,
}

/// No index: of a part without lot, and at the end of a chain.
const NONE: u32 = u32::MAX;

/// A lot with what the fold must remember about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LotState {
    /// Index in the history of the movement that opened it.
    pub(super) movement: u32,
    pub(super) kind: LotKind,
    pub(super) owner: Party,
    pub(super) amount: i64,
    pub(super) remaining: i64,
    /// The rate agreed when it was opened: commission of principal, hub's share of a bonus, cost of points.
    pub(super) rate: Ppm,
    /// What was taken back of it so that the fee on it goes back too.
    pub(super) refunded: i64,
    /// The fee that went back.
    pub(super) refunded_fee: i64,
    /// Points burnt of it and not given back.
    pub(super) burnt: i64,
    /// What was paid for those.
    pub(super) burnt_cost: i64,
}

/// What a draw took from one lot, or from none yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) draw: u32,
    lot: u32,
    next: u32,
    pub(super) taken: i64,
    pub(super) restored: i64,
    /// Cost of points paid for the part, and what of it went back.
    pub(super) cost: i64,
    pub(super) cost_back: i64,
}

/// What one movement took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    /// Index in the history.
    pub(super) movement: u32,
    first: u32,
    last: u32,
    pub(super) taken: i64,
    pub(super) restored: i64,
}

/// A number of units that found the lot they came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribution {
    pub(super) part: u32,
    pub(super) lot: u32,
    pub(super) amount: i64,
}

/// A number of units put back where they came from; no lot when their origin is unknown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restoration {
    pub(super) part: u32,
    pub(super) lot: Option<u32>,
    pub(super) amount: i64,
}

/// Where a draw looks first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    Order(DrawOrder),
    First(LotKind),
}

/// The lots of one account and unit. Reused from account to account.
#[derive(Default, Debug)]
pub(super) struct LotBook {
    pub(super) lots: Vec<LotState>,
    pub(super) draws: Vec<Draw>,
    pub(super) parts: Vec<Part>,
    /// Parts without lot, oldest first.
    waiting: VecDeque<u32>,
    /// Per kind: every lot before this index is empty.
    open_from: [usize; 2],
    /// Per kind: what its lots hold.
    held: [i64; 2],
    pub(super) unattributed: i64,
    /// What found its lot since the fold last looked.
    pub(super) attributions: Vec<Attribution>,
    /// What the last restore put back.
    pub(super) restorations: Vec<Restoration>,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an account's history is far below 2^32 movements; the fold checks it"
)]
fn index(length: usize) -> u32 {
    length as u32
}

impl LotBook {
    pub(super) fn clear(&mut self) {
        self.lots.clear();
        self.draws.clear();
        self.parts.clear();
        self.waiting.clear();
        self.open_from = [0; 2];
        self.held = [0; 2];
        self.unattributed = 0;
        self.attributions.clear();
        self.restorations.clear();
    }

    /// What lots of a kind hold.
    pub(super) fn held(&self, kind: LotKind) -> i64 {
        self.held[kind as usize]
    }

    /// What the lots say the balance is.
    pub(super) fn balance(&self) -> i64 {
        self.held[0] + self.held[1] - self.unattributed
    }

    /// Opens a lot, and fills from it what waits.
    pub(super) fn open(&mut self, movement: u32, kind: LotKind, owner: Party, amount: i64, rate: Ppm) {
        if amount == 0 {
            return;
        }
        let lot = self.lots.len();
        self.lots.push(LotState {
            movement,
            kind,
            owner,
            amount,
            remaining: amount,
            rate,
            refunded: 0,
            refunded_fee: 0,
            burnt: 0,
            burnt_cost: 0,
        });
        self.held[kind as usize] += amount;
        self.fill(lot);
    }

    /// Takes from the named lot, then by plan, then from whatever there is; the rest waits.
    pub(super) fn draw(&mut self, movement: u32, amount: i64, plan: Plan, named: Option<u32>) {
        self.draws.push(Draw { movement, first: NONE, last: NONE, taken: amount, restored: 0 });
        let mut left = amount;
        if let Some(lot) = named {
            left -= self.take(lot as usize, left);
        }
        let first = match plan {
            Plan::Order(DrawOrder::Proportional) => {
                let bonus = self.bonus_of(left);
                let principal = left.min(self.held[0] + self.held[1]) - bonus;
                left -= self.take_kind(LotKind::Principal, principal);
                left -= self.take_kind(LotKind::Bonus, bonus);
                LotKind::Principal
            }
            Plan::Order(DrawOrder::FifoPrincipalFirst) => LotKind::Principal,
            Plan::Order(DrawOrder::BonusFirst) => LotKind::Bonus,
            Plan::First(kind) => kind,
        };
        let second = if first == LotKind::Principal { LotKind::Bonus } else { LotKind::Principal };
        left -= self.take_kind(first, left);
        left -= self.take_kind(second, left);
        if left > 0 {
            let part = self.push_part(NONE, left);
            self.waiting.push_back(part);
            self.unattributed += left;
        }
    }

    /// The bonus in a proportional draw: rounded half-up, and within what each kind holds.
    fn bonus_of(&self, amount: i64) -> i64 {
        let [principal, bonus] = self.held;
        let amount = amount.min(principal + bonus);
        if bonus == 0 || amount == 0 {
            return 0;
        }
        let exact = ratio(amount, bonus, principal + bonus, Rounding::HalfUp)
            .expect("a share of an amount fits where the amount does");
        exact.clamp((amount - principal).max(0), bonus.min(amount))
    }

    fn take_kind(&mut self, kind: LotKind, amount: i64) -> i64 {
        let mut left = amount.min(self.held[kind as usize]);
        let taken = left;
        let mut lot = self.open_from[kind as usize];
        while left > 0 {
            if self.lots[lot].kind == kind {
                left -= self.take(lot, left);
                if self.lots[lot].remaining > 0 {
                    break;
                }
            }
            lot += 1;
        }
        self.open_from[kind as usize] = lot;
        taken
    }

    /// Takes from one lot for the latest draw.
    fn take(&mut self, lot: usize, amount: i64) -> i64 {
        let state = &mut self.lots[lot];
        let taken = amount.min(state.remaining);
        if taken > 0 {
            state.remaining -= taken;
            self.held[state.kind as usize] -= taken;
            let part = self.push_part(index(lot), taken);
            self.attributions.push(Attribution { part, lot: index(lot), amount: taken });
        }
        taken
    }

    /// Appends a part to the latest draw.
    fn push_part(&mut self, lot: u32, taken: i64) -> u32 {
        let part = index(self.parts.len());
        let draw = self.draws.len() - 1;
        self.parts.push(Part { draw: index(draw), lot, next: NONE, taken, restored: 0, cost: 0, cost_back: 0 });
        let draw = &mut self.draws[draw];
        if draw.last == NONE {
            draw.first = part;
        } else {
            self.parts[draw.last as usize].next = part;
        }
        draw.last = part;
        part
    }

    /// Gives what a lot holds to the parts that wait, oldest first.
    fn fill(&mut self, lot: usize) {
        while self.lots[lot].remaining > 0
            && let Some(&waiting) = self.waiting.front()
        {
            let part = self.parts[waiting as usize];
            let open = part.taken - part.restored;
            let amount = open.min(self.lots[lot].remaining);
            if amount < open {
                self.waiting[0] = index(self.parts.len());
            } else {
                self.waiting.pop_front();
            }
            if amount == 0 {
                continue;
            }
            if amount < part.taken {
                // The part becomes what the lot fills; what still waits, or went back while nobody stood for it, follows it.
                let rest = index(self.parts.len());
                self.parts.push(Part { taken: part.taken - amount, ..part });
                self.parts[waiting as usize].next = rest;
                let draw = &mut self.draws[part.draw as usize];
                if draw.last == waiting {
                    draw.last = rest;
                }
            }
            let filled = &mut self.parts[waiting as usize];
            (filled.lot, filled.taken, filled.restored) = (index(lot), amount, 0);
            let state = &mut self.lots[lot];
            state.remaining -= amount;
            self.held[state.kind as usize] -= amount;
            self.unattributed -= amount;
            self.attributions.push(Attribution { part: waiting, lot: index(lot), amount });
        }
    }

    /// Puts back up to `amount` of a draw and says how much that was; see the module's head for the rule.
    pub(super) fn restore(&mut self, draw: u32, amount: i64) -> i64 {
        self.restorations.clear();
        let Draw { first, taken, restored, .. } = self.draws[draw as usize];
        let out = taken - restored;
        let amount = amount.min(out);
        if amount == 0 {
            return 0;
        }
        self.draws[draw as usize].restored += amount;
        let (mut prefix, mut given, mut next) = (0, 0, first);
        while next != NONE {
            let part = &mut self.parts[next as usize];
            prefix += part.taken - part.restored;
            let up_to =
                ratio(amount, prefix, out, Rounding::HalfUp).expect("a share of an amount fits where the amount does");
            let back = up_to - given;
            given = up_to;
            part.restored += back;
            if back > 0 {
                let lot = (part.lot != NONE).then_some(part.lot);
                self.restorations.push(Restoration { part: next, lot, amount: back });
                match lot {
                    None => self.unattributed -= back,
                    Some(lot) => {
                        let state = &mut self.lots[lot as usize];
                        state.remaining += back;
                        self.held[state.kind as usize] += back;
                        let from = &mut self.open_from[state.kind as usize];
                        *from = (*from).min(lot as usize);
                    }
                }
            }
            next = part.next;
        }
        for place in 0..self.restorations.len() {
            if let Some(lot) = self.restorations[place].lot {
                self.fill(lot as usize);
            }
        }
        amount
    }

    /// The draw of a movement: the latest of that reference and kind.
    pub(super) fn draw_of(&self, history: &[PostedMovement], of: MovementRef, kind: MovementKind) -> Option<u32> {
        let found = self.draws.iter().rposition(|draw| {
            let movement = &history[draw.movement as usize];
            movement.kind == kind && movement.reference() == of
        });
        found.map(index)
    }

    /// The lot that a movement opened.
    pub(super) fn lot_of(&self, history: &[PostedMovement], of: MovementRef) -> Option<u32> {
        self.lots.iter().rposition(|lot| history[lot.movement as usize].reference() == of).map(index)
    }

    /// Parts that no lot stands for.
    pub(super) fn parts_without_lot(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.lot == NONE)
    }

    /// Lots as the world sees them.
    pub(super) fn lots<'a>(&'a self, history: &'a [PostedMovement]) -> impl Iterator<Item = Lot> + 'a {
        (1..).zip(&self.lots).map(|(no, state)| {
            let movement = &history[state.movement as usize];
            Lot {
                no,
                origin: movement.kind,
                owner: state.owner,
                kind: state.kind,
                amount_minor: state.amount,
                remaining_minor: state.remaining,
                opened: movement.reference(),
                business_day: movement.business_day,
            }
        })
    }

    /// What waits for a lot, oldest first.
    pub(super) fn unattributed<'a>(
        &'a self,
        history: &'a [PostedMovement],
    ) -> impl Iterator<Item = UnattributedDraw> + 'a {
        self.waiting.iter().map(|&part| &self.parts[part as usize]).filter(|part| part.taken > part.restored).map(
            |part| {
                let movement = &history[self.draws[part.draw as usize].movement as usize];
                UnattributedDraw {
                    movement: movement.reference(),
                    kind: movement.kind,
                    business_day: movement.business_day,
                    amount_minor: part.taken - part.restored,
                }
            },
        )
    }
}
