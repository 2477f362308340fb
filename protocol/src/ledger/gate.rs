//! Gate: whether stored value may move in a store, as far as the store can say that its database has forgotten nothing (see `continuity`).
//!
//! What moves no value passes every gate: cash sales, discounts, points that are earned, look-ups. Who closes and opens it is not decided here.

use super::{Decide, Decision, Work};
use crate::card::CardNumber;
use crate::decline::{Decline, DeclineCode};
use crate::id::TerminalId;
use crate::movement::MovementKind;

/// Whether stored value may move.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ValueGate {
    /// It may.
    #[default]
    Open,
    /// Since its start nobody has proved yet that the database is the one that answered the tills. Value may come in, and none goes out.
    Unproved {
        /// The tills that have not shown their witness.
        tills: Vec<TerminalId>,
        /// Whether head office has not said yet how far it heard the store.
        hub: bool,
    },
    /// The database has forgotten something: value neither comes in nor goes out until the store is enrolled anew.
    Quarantined,
}

impl ValueGate {
    /// Whether value may be taken off, released, reported and adopted.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    fn refusal(&self) -> Option<Decline> {
        match self {
            Self::Open => None,
            Self::Unproved { tills, hub } => Some(Decline {
                awaited_tills: tills.clone(),
                awaits_hub: *hub,
                ..Decline::new(DeclineCode::ValueUnproved)
            }),
            Self::Quarantined => Some(Decline::new(DeclineCode::ValueQuarantined)),
        }
    }
}

impl Work<'_> {
    /// Declines what would take value off through a gate that is not open. Asked first of all: a hub that is asked would grant value for it.
    pub(super) fn may_take_off(&self, card: CardNumber) -> Decide<()> {
        match self.situation.gate.refusal() {
            None => Ok(()),
            Some(decline) => Err(Decision::Declined(Box::new(Decline { card: Some(card), ..decline }))),
        }
    }

    /// Declines what would bring value in while nobody may rely on the store's memory of it. Points that are earned are not value yet that anybody paid.
    pub(super) fn may_put_on(&self, kind: MovementKind, card: Option<CardNumber>) -> Decide<()> {
        match self.situation.gate {
            ValueGate::Quarantined if kind != MovementKind::Earn => {
                Err(Decision::Declined(Box::new(Decline { card, ..Decline::new(DeclineCode::ValueQuarantined) })))
            }
            _ => Ok(()),
        }
    }
}
