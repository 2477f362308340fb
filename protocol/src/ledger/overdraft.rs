//! Overdraft: what a store may let a member's card take beyond its value while head office cannot be asked.
//!
//! No looser check but a second escrow: the missing part is spent from the store's line of the group's risk account, an allotment like any other, so that all
//! overdrafts together stay within the budget whatever the network does (`crate::allotment`). Here is only who may draw on the line and how far; who owes
//! what is head office's to keep. What comes back does not make the line larger: head office may have collected what was drawn and lent it elsewhere, so it goes
//! there in the same transaction, and comes again with what fills the line. Invariant: what an account paid of a tender and what it overdrew are the tender's amount. Points are never overdrawn.

use super::{Decide, Decision, Hub, Work, faulty};
use crate::allotment::{HoldingEvent, Purse, StoreEvent};
use crate::card::{Card, CardNumber};
use crate::decline::{Decline, DeclineCode};
use crate::entry::TenderLine;
use crate::id::AccountId;
use crate::movement::{Movement, MovementKind, MovementRef};
use crate::policy::OverdraftRules;
use crate::unit::Unit;

/// How far a store has let its customers overdraw. Its line is among the holdings, as the purse of [`AccountId::RISK`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Exposure {
    /// How old what the store knows of cards is; nothing when nobody ever said that it was the newest.
    pub cards_age_ms: Option<i64>,
    /// What accounts owe for what they overdrew here, as far as head office said that it was collected or given up.
    pub owed_here: Vec<(AccountId, i64)>,
    /// What was overdrawn here on the open day.
    pub today_minor: i64,
}

/// The purse that overdrafts are spent from.
pub(super) const fn risk_purse(unit: Unit) -> Purse {
    Purse { account: AccountId::RISK, unit }
}

impl Work<'_> {
    /// Lets a spend take what is here from the account and the rest from the store's line, where that is allowed; gives whether it did.
    ///
    /// Only after head office could not be asked. A card that may overdraw in general and not so much is told how much it may pay.
    pub(super) fn overdraws(&mut self, number: CardNumber, spend: &Movement, here_minor: i64) -> Decide<bool> {
        let (Some(rules), Some(exposure)) = (&self.situation.policy.overdraft, self.situation.overdraft) else {
            return Ok(false);
        };
        let card = self.cards.iter().find(|card| card.number == number);
        let (Some(card), MovementKind::Spend, Unit::Money(_), Hub::Unreachable) =
            (card, spend.kind, spend.unit, self.situation.hub)
        else {
            return Ok(false);
        };
        if !may_overdraw(rules, exposure, card) {
            return Ok(false);
        }
        let here_minor = here_minor.max(0);
        let held_minor = self.holdings.get(Purse { account: spend.account, unit: spend.unit }).held_minor;
        if here_minor.saturating_add(held_minor) >= spend.amount_minor {
            return Ok(false); // It is there, and set aside for something else: who holds it may let it go.
        }
        let missing_minor = spend.amount_minor - here_minor;
        let most_minor = self.drawable_minor(rules, exposure, card.account, spend.unit);
        if missing_minor > most_minor {
            let payable_minor = here_minor.saturating_add(most_minor);
            let needed_minor = spend.amount_minor;
            let code = DeclineCode::OverdraftLimit;
            return Err(Decision::Declined(Box::new(Decline {
                unit: Some(spend.unit),
                available_here_minor: Some(payable_minor),
                needed_minor: Some(needed_minor),
                held_minor: (held_minor > 0).then_some(held_minor),
                ..Decline::of_card(code, number)
            })));
        }
        let own = Movement { amount_minor: here_minor, ..spend.clone() };
        let overdrawn = Movement {
            account: AccountId::RISK,
            kind: MovementKind::Overdraft,
            amount_minor: missing_minor,
            owed_by: Some(spend.account),
            ..spend.clone()
        };
        for movement in [own, overdrawn].into_iter().filter(|movement| movement.amount_minor > 0) {
            let event = HoldingEvent::Moved(StoreEvent::Spend { amount_minor: movement.amount_minor });
            if let Err(refusal) = self.move_value(movement, event) {
                return faulty("amount_minor", refusal.to_string());
            }
        }
        Ok(true)
    }

    /// What an account may still overdraw with this receipt: the least of what is left of each limit and of the line.
    fn drawable_minor(&self, rules: &OverdraftRules, exposure: &Exposure, account: AccountId, unit: Unit) -> i64 {
        let drawn = self.movements.iter().filter(|moved| moved.kind == MovementKind::Overdraft);
        let by = |whose: Option<AccountId>| {
            let theirs = drawn.clone().filter(|moved| whose.is_none() || moved.owed_by == whose);
            theirs.fold(0_i64, |sum, moved| sum.saturating_add(moved.amount_minor))
        };
        let owed = exposure.owed_here.iter().find(|(known, _)| *known == account);
        let owed_minor = owed.map_or(0, |(_, owed_minor)| *owed_minor);
        let left = [
            rules.receipt_minor_max.saturating_sub(by(None)),
            rules.account_minor_max.saturating_sub(owed_minor).saturating_sub(by(Some(account))),
            rules.store_day_minor_max.saturating_sub(exposure.today_minor).saturating_sub(by(None)),
            self.holdings.get(risk_purse(unit)).available_minor(),
        ];
        left.into_iter().min().unwrap_or(0).max(0)
    }

    /// Gives a part of what was overdrawn back to the line, and with it to head office: the plan releases it.
    pub(super) fn give_back_overdraft(&mut self, drawn: &Movement, amount_minor: i64, of: MovementRef) -> Decide<()> {
        if amount_minor == 0 {
            return Ok(());
        }
        self.may_put_on(MovementKind::OverdraftBack, None)?;
        let movement = Movement { kind: MovementKind::OverdraftBack, amount_minor, of: Some(of), ..drawn.clone() };
        match self.move_value(movement, HoldingEvent::Moved(StoreEvent::Load { amount_minor })) {
            Ok(()) => Ok(()),
            Err(_) => faulty("amount_minor", "would make the line larger than can be counted"),
        }
    }
}

/// Whether a card that is in use may overdraw at all: somebody is known who owes it, and the store would know if the card had been reported lost.
fn may_overdraw(rules: &OverdraftRules, exposure: &Exposure, card: &Card) -> bool {
    let age_ms_max = i64::from(rules.cards_age_minutes_max) * 60_000;
    card.member.is_some() && exposure.cards_age_ms.is_some_and(|age_ms| age_ms <= age_ms_max)
}

/// How a card paid a tender: movements of the sale with their places.
pub(super) struct Paid<'a> {
    /// What its account had.
    pub(super) own: Option<(u16, &'a Movement)>,
    /// What it overdrew.
    pub(super) overdrawn: Option<(u16, &'a Movement)>,
}

impl<'a> Paid<'a> {
    /// Reads on from a place in the movements of a sale, past those of a tender with a card.
    pub(super) fn of(tender: &TenderLine, movements: &'a [Movement], place: &mut u16) -> Self {
        let mut take = |is_so: &dyn Fn(&Movement) -> bool| {
            let found = movements.get(usize::from(*place)).filter(|movement| is_so(movement));
            let taken = found.map(|movement| (*place, movement));
            *place += u16::from(taken.is_some());
            taken
        };
        let own = take(&|movement| movement.kind != MovementKind::Overdraft);
        let is_whole = own.is_some_and(|(_, movement)| {
            movement.kind != MovementKind::Spend || movement.amount_minor == tender.amount_minor
        });
        let overdrawn = if is_whole { None } else { take(&|movement| movement.kind == MovementKind::Overdraft) };
        Self { own, overdrawn }
    }
}
