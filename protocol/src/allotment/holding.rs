//! Holding: one purse as its store has it, with what of it is set aside by holds.
//!
//! A hold is a promise of this store alone: the counters do not tell of it, so that neither the hub nor another store has to. What is held may not be
//! spent by anything but the hold's own capture, not released (also not to a recall), and not held twice. Which holds there are, until when and for
//! whom, is the ledger's. Invariant: 0 ≤ held ≤ adopted + loaded − spent − released, so that every open hold can be captured in full at any moment.

use super::rule::{Care, Rule};
use super::{Refusal, Side, StoreCounters, StoreEvent, positive, raise};
use crate::time::Instant;

/// The counters of a purse with what of it is set aside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Holding {
    /// What the hub is told.
    pub counters: StoreCounters,
    /// Σ of the open holds. The only figure of a purse that falls.
    pub held_minor: i64,
}

/// What can happen to a holding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldingEvent {
    /// Value moves; what lowers takes of what is not held.
    Moved(StoreEvent),
    /// Value is set aside.
    Hold {
        /// Above zero, at most what is available.
        amount_minor: i64,
    },
    /// A hold ends and all of it is available again.
    Unhold {
        /// What it held.
        amount_minor: i64,
    },
    /// A hold pays: it ends, and what it does not pay is available again.
    Capture {
        /// What it held.
        held_minor: i64,
        /// What it pays: above zero, at most what it held.
        amount_minor: i64,
    },
}

/// One hold, as far as its end goes. Whether it is open is what was written down of it; the clock only says when it is to be ended, so that a clock which
/// is put back opens nothing again, and one that is put forward ends nothing twice. Whoever meets one that is due ends it first, and then asks whether it pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Term {
    /// Nobody wrote down that it ended.
    pub is_open: bool,
    /// When it is to end.
    pub until: Instant,
}

impl Term {
    /// Whether it may still pay, or be given back.
    #[must_use]
    pub fn pays(&self, care: &impl Care) -> bool {
        self.is_open || !care.keeps(Rule::EndedStaysEnded)
    }

    /// Whether it is to be ended because its time is over.
    #[must_use]
    pub fn is_due(&self, care: &impl Care, now: Instant) -> bool {
        (self.is_open || !care.keeps(Rule::HoldEndsOnce)) && now >= self.until
    }
}

impl From<StoreCounters> for Holding {
    fn from(counters: StoreCounters) -> Self {
        Self { counters, held_minor: 0 }
    }
}

impl Holding {
    /// What the counters leave, less what is held. In 128 bits, as theirs.
    #[must_use]
    pub fn available(&self) -> i128 {
        self.counters.available() - i128::from(self.held_minor)
    }

    /// What may be spent here by anybody, in minor units.
    #[must_use]
    pub fn available_minor(&self) -> i64 {
        i64::try_from(self.available()).unwrap_or(i64::MAX)
    }

    /// What may be released and still leave `park_minor` here. What is held stays besides.
    #[must_use]
    pub fn releasable_minor(&self, park_minor: i64) -> i64 {
        self.available_minor().saturating_sub(park_minor.max(0)).max(0)
    }

    fn holds(&self, amount_minor: i64) -> Result<(), Refusal> {
        let needed_minor = positive(amount_minor)?;
        if self.held_minor < needed_minor {
            return Err(Refusal::NotHeld { held_minor: self.held_minor, needed_minor });
        }
        Ok(())
    }
}

impl Side for Holding {
    type Event = HoldingEvent;

    fn apply<C: Care>(&self, care: &C, event: HoldingEvent) -> Result<Self, Refusal> {
        let leaves = |needed_minor: i64| {
            if self.available() < i128::from(needed_minor) {
                return Err(Refusal::Insufficient { available_minor: self.available_minor(), needed_minor });
            }
            Ok(())
        };
        let mut next = *self;
        match event {
            HoldingEvent::Moved(event) => {
                match event {
                    StoreEvent::Spend { amount_minor } if care.keeps(Rule::SpendWithinHolding) => leaves(amount_minor)?,
                    StoreEvent::Release { amount_minor } if care.keeps(Rule::ReleaseWithinHolding) => {
                        leaves(amount_minor)?;
                    }
                    _ => {}
                }
                next.counters = self.counters.apply(care, event)?;
            }
            HoldingEvent::Hold { amount_minor } => {
                leaves(positive(amount_minor)?)?;
                next.held_minor = raise(self.held_minor, amount_minor)?;
            }
            HoldingEvent::Unhold { amount_minor } => {
                self.holds(amount_minor)?;
                next.held_minor -= amount_minor;
            }
            HoldingEvent::Capture { held_minor, amount_minor } => {
                self.holds(held_minor)?;
                if positive(amount_minor)? > held_minor {
                    return Err(Refusal::NotHeld { held_minor, needed_minor: amount_minor });
                }
                next.held_minor -= held_minor;
                next.counters = self.counters.apply(care, StoreEvent::Spend { amount_minor })?;
            }
        }
        assert!(next.held_minor >= 0, "nothing is held that was not set aside");
        assert!(!C::SOUND || next.available() >= 0, "what is held is there");
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::step;
    use super::*;

    /// One purse with its holds, and what every hold may expect.
    #[derive(Clone, Debug, Default)]
    struct World {
        holding: Holding,
        open: Vec<i64>,
    }

    #[derive(Clone, Debug)]
    enum Act {
        Move(StoreEvent),
        Hold(i64),
        /// The nth open hold ends unused.
        Unhold(usize),
        /// The nth open hold pays so many thousandths of itself.
        Capture(usize, i64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let amount = 1_i64..200;
        let act = prop_oneof![
            amount.clone().prop_map(|amount_minor| Act::Move(StoreEvent::Load { amount_minor })),
            amount.clone().prop_map(|amount_minor| Act::Move(StoreEvent::Spend { amount_minor })),
            amount.clone().prop_map(|amount_minor| Act::Move(StoreEvent::Release { amount_minor })),
            (0_i64..1_000).prop_map(|granted_minor| Act::Move(StoreEvent::Adopt { granted_minor })),
            amount.clone().prop_map(Act::Hold),
            amount.prop_map(Act::Hold),
            any::<u8>().prop_map(|n| Act::Unhold(usize::from(n))),
            (any::<u8>(), 1_i64..=1_000).prop_map(|(n, share)| Act::Capture(usize::from(n), share)),
        ];
        prop::collection::vec(act, 0..120)
    }

    impl World {
        fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
            let before = self.holding;
            match *act {
                Act::Move(event) => self.holding = step(&before, HoldingEvent::Moved(event)).unwrap_or(before),
                Act::Hold(amount_minor) => match step(&before, HoldingEvent::Hold { amount_minor }) {
                    Ok(next) => {
                        prop_assert_eq!(next.counters, before.counters, "the hub knows of no hold");
                        self.holding = next;
                        self.open.push(amount_minor);
                    }
                    Err(refusal) => {
                        let available_minor = before.available_minor();
                        prop_assert_eq!(refusal, Refusal::Insufficient { available_minor, needed_minor: amount_minor });
                        prop_assert!(available_minor < amount_minor, "what is there can be held");
                    }
                },
                Act::Unhold(n) if !self.open.is_empty() => {
                    let amount_minor = self.open.swap_remove(n % self.open.len());
                    self.holding = step(&before, HoldingEvent::Unhold { amount_minor }).unwrap();
                    prop_assert_eq!(self.holding.counters, before.counters);
                    prop_assert_eq!(self.holding.available_minor(), before.available_minor() + amount_minor);
                }
                Act::Capture(n, share) if !self.open.is_empty() => {
                    let held_minor = self.open.swap_remove(n % self.open.len());
                    let amount_minor = (held_minor * share / 1_000).max(1);
                    self.holding = step(&before, HoldingEvent::Capture { held_minor, amount_minor }).unwrap();
                    let back_minor = held_minor - amount_minor;
                    prop_assert_eq!(self.holding.available_minor(), before.available_minor() + back_minor);
                    prop_assert_eq!(self.holding.counters.spent_minor, before.counters.spent_minor + amount_minor);
                }
                Act::Unhold(_) | Act::Capture(..) => {}
            }
            self.check().map_err(TestCaseError::fail)
        }

        fn check(&self) -> Result<(), String> {
            let promised: i64 = self.open.iter().sum();
            if self.holding.held_minor != promised {
                return Err(format!("{} is held, {promised} is promised", self.holding.held_minor));
            }
            if self.holding.available() < 0 {
                return Err(format!("{} is available", self.holding.available()));
            }
            // Whatever was done, every promise can be kept, one after the other, in full.
            let mut holding = self.holding;
            for &held_minor in &self.open {
                holding = step(&holding, HoldingEvent::Capture { held_minor, amount_minor: held_minor })
                    .map_err(|refusal| format!("a hold of {held_minor} cannot be captured: {refusal}"))?;
            }
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn every_open_hold_can_be_captured_in_full_whatever_happens_to_the_purse(acts in acts()) {
            let mut world = World::default();
            for act in &acts {
                world.act(act)?;
            }
        }

        #[test]
        fn a_refusal_changes_nothing_and_odd_amounts_are_refused(amount_minor in any::<i64>(), held_minor in any::<i64>(), which in 0..5) {
            let before = Holding { counters: StoreCounters { loaded_minor: 100, ..StoreCounters::default() }, held_minor: 40 };
            let event = match which {
                0 => HoldingEvent::Hold { amount_minor },
                1 => HoldingEvent::Unhold { amount_minor },
                2 => HoldingEvent::Capture { held_minor, amount_minor },
                3 => HoldingEvent::Moved(StoreEvent::Spend { amount_minor }),
                _ => HoldingEvent::Moved(StoreEvent::Release { amount_minor }),
            };
            if let Ok(after) = step(&before, event) {
                prop_assert!(amount_minor > 0);
                prop_assert!((0..=100).contains(&after.held_minor) && after.available() >= 0);
                prop_assert!(after.counters.covers(&before.counters));
            }
        }
    }

    fn with_60_of_100_held() -> World {
        let mut world = World::default();
        world.act(&Act::Move(StoreEvent::Load { amount_minor: 100 })).unwrap();
        world.act(&Act::Hold(60)).unwrap();
        world
    }

    #[test]
    fn what_is_held_is_not_spent_not_released_and_not_held_twice() {
        let held = with_60_of_100_held().holding;
        let short = Err(Refusal::Insufficient { available_minor: 40, needed_minor: 41 });
        for event in [
            HoldingEvent::Moved(StoreEvent::Spend { amount_minor: 41 }),
            HoldingEvent::Moved(StoreEvent::Release { amount_minor: 41 }),
            HoldingEvent::Hold { amount_minor: 41 },
        ] {
            assert_eq!(step(&held, event), short, "{event:?}");
        }
        assert_eq!((held.available_minor(), held.releasable_minor(0), held.releasable_minor(30)), (40, 40, 10));
        let beyond = HoldingEvent::Capture { held_minor: 60, amount_minor: 61 };
        assert_eq!(step(&held, beyond), Err(Refusal::NotHeld { held_minor: 60, needed_minor: 61 }));
        let twice = step(&held, HoldingEvent::Capture { held_minor: 60, amount_minor: 10 }).unwrap();
        assert_eq!(twice.available_minor(), 90);
        let again = HoldingEvent::Capture { held_minor: 60, amount_minor: 10 };
        assert_eq!(step(&twice, again), Err(Refusal::NotHeld { held_minor: 0, needed_minor: 60 }));
    }

    /// Each is a mistake that the check must see.
    mod mutants {
        use super::*;

        #[test]
        fn a_release_that_looks_at_the_counters_alone_is_caught() {
            let mut world = with_60_of_100_held();
            world.holding.counters = step(&world.holding.counters, StoreEvent::Release { amount_minor: 41 }).unwrap();
            assert!(world.check().is_err());
        }

        #[test]
        fn a_capture_that_forgets_to_end_its_hold_is_caught() {
            let mut world = with_60_of_100_held();
            world.holding.counters = step(&world.holding.counters, StoreEvent::Spend { amount_minor: 10 }).unwrap();
            world.open.clear();
            assert!(world.check().is_err());
        }

        #[test]
        fn a_hold_that_ends_twice_is_caught() {
            let mut world = with_60_of_100_held();
            world.act(&Act::Hold(40)).unwrap();
            world.open.remove(0);
            for _ in 0..2 {
                world.holding.held_minor -= 50;
            }
            assert!(world.check().is_err());
        }
    }
}
