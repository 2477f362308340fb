//! The proof's three facts as properties: conservation, no overdraft, and that messages may be lost, doubled and reordered.

use proptest::prelude::*;

use super::*;

const STORES: usize = 3;

/// One purse in a small world: a hub, three stores, and every message ever sent, any of which may arrive at any time, again and again.
#[derive(Default)]
struct World {
    pool: Pool,
    lines: [Line; STORES],
    stores: [StoreCounters; STORES],
    grants: Vec<(usize, i64)>,
    reports: Vec<(usize, StoreCounters)>,
    loads: i128,
    spends: i128,
}

#[derive(Clone, Debug)]
enum Act {
    Load(usize, i64),
    Spend(usize, i64),
    Release(usize, i64),
    Report(usize),
    Grant(usize, i64),
    DeliverGrant(usize),
    DeliverReport(usize),
    HubLoad(i64),
    HubSpend(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (store, amount) = (0..STORES, 1_i64..100);
    let act = prop_oneof![
        (store.clone(), amount.clone()).prop_map(|(s, a)| Act::Load(s, a)),
        (store.clone(), amount.clone()).prop_map(|(s, a)| Act::Spend(s, a)),
        (store.clone(), amount.clone()).prop_map(|(s, a)| Act::Release(s, a)),
        store.clone().prop_map(Act::Report),
        (store, amount.clone()).prop_map(|(s, a)| Act::Grant(s, a)),
        any::<u16>().prop_map(|n| Act::DeliverGrant(usize::from(n))),
        any::<u16>().prop_map(|n| Act::DeliverReport(usize::from(n))),
        amount.clone().prop_map(Act::HubLoad),
        amount.prop_map(Act::HubSpend),
    ];
    prop::collection::vec(act, 0..200)
}

impl World {
    fn store(&mut self, store: usize, event: StoreEvent) -> bool {
        step(&self.stores[store], event).map(|next| self.stores[store] = next).is_ok()
    }

    fn hub(&mut self, store: usize, event: HubEvent) -> Result<(), Refusal> {
        let next = step(&HubSide { pool: self.pool, line: self.lines[store] }, event)?;
        (self.pool, self.lines[store]) = (next.pool, next.line);
        Ok(())
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Load(s, a) => {
                self.loads += if self.store(s, StoreEvent::Load { amount_minor: a }) { i128::from(a) } else { 0 }
            }
            Act::Spend(s, a) => {
                self.spends += if self.store(s, StoreEvent::Spend { amount_minor: a }) { i128::from(a) } else { 0 }
            }
            Act::Release(s, a) => {
                self.store(s, StoreEvent::Release { amount_minor: a });
            }
            Act::Report(s) => self.reports.push((s, self.stores[s])),
            Act::Grant(s, a) => {
                if self.hub(s, HubEvent::Grant { amount_minor: a }).is_ok() {
                    self.grants.push((s, self.lines[s].granted_minor));
                }
            }
            Act::DeliverGrant(n) => {
                if let Some(&(s, granted_minor)) = self.grants.get(n % self.grants.len().max(1)) {
                    assert!(
                        self.store(s, StoreEvent::Adopt { granted_minor }),
                        "a grant that was sent can always be adopted"
                    );
                }
            }
            Act::DeliverReport(n) => {
                if let Some(&(s, counters)) = self.reports.get(n % self.reports.len().max(1)) {
                    self.hub(s, HubEvent::Report { counters })
                        .expect("an honest report is never refused, however late");
                }
            }
            Act::HubLoad(a) => {
                self.hub(0, HubEvent::Load { amount_minor: a }).expect("a small load fits");
                self.loads += i128::from(a);
            }
            Act::HubSpend(a) => {
                if self.hub(0, HubEvent::Spend { amount_minor: a }).is_ok() {
                    self.spends += i128::from(a);
                }
            }
        }
    }

    /// Conservation, and that what could be spent anywhere never exceeds what is there.
    fn check(&self) -> Result<(), String> {
        let available: i128 = self.stores.iter().map(StoreCounters::available).sum();
        let grants_in_flight: i128 = self
            .lines
            .iter()
            .zip(&self.stores)
            .map(|(l, s)| i128::from(l.granted_minor) - i128::from(s.adopted_minor))
            .sum();
        let releases_in_flight: i128 = self
            .lines
            .iter()
            .zip(&self.stores)
            .map(|(l, s)| i128::from(s.released_minor) - i128::from(l.seen.released_minor))
            .sum();
        let free = self.pool.free();
        if free + available + grants_in_flight + releases_in_flight != self.loads - self.spends {
            return Err(format!(
                "conservation: {free} + {available} + {grants_in_flight} + {releases_in_flight} != {} - {}",
                self.loads, self.spends
            ));
        }
        if free < 0 || grants_in_flight < 0 || releases_in_flight < 0 || self.stores.iter().any(|s| s.available() < 0) {
            return Err("a term of the identity is negative".to_owned());
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn nothing_is_ever_overdrawn_whatever_messages_do(acts in acts()) {
        let mut world = World::default();
        for act in &acts {
            world.act(act);
            world.check().unwrap();
        }
    }

    #[test]
    fn a_counter_never_falls_and_a_refusal_changes_nothing(counters in prop::array::uniform4(0..=i64::MAX >> 2), amount_minor in any::<i64>(), which in 0..4) {
        // What was taken off and given back is cut to what was there.
        let [adopted_minor, loaded_minor, spent, released] = counters;
        let spent_minor = spent.min(adopted_minor + loaded_minor);
        let released_minor = released.min(adopted_minor + loaded_minor - spent_minor);
        let before = StoreCounters { adopted_minor, loaded_minor, spent_minor, released_minor };
        let event = match which {
            0 => StoreEvent::Load { amount_minor },
            1 => StoreEvent::Spend { amount_minor },
            2 => StoreEvent::Release { amount_minor },
            _ => StoreEvent::Adopt { granted_minor: amount_minor },
        };
        if let Ok(after) = step(&before, event) {
            prop_assert!(after.covers(&before) && after.available() >= 0);
        }
    }
}

/// The mutants: each is a mistake that others made. The world's check must see it.
mod mutants {
    use super::*;

    fn world_with_a_grant_of_50() -> World {
        let mut world = World::default();
        world.act(&Act::HubLoad(50));
        world.act(&Act::Grant(0, 50));
        world.act(&Act::DeliverGrant(0));
        world.check().unwrap();
        world
    }

    #[test]
    fn incremental_grants_are_caught() {
        let mut world = world_with_a_grant_of_50();
        world.stores[0].adopted_minor += 50; // The same grant again, added instead of maximised.
        assert!(world.check().is_err());
    }

    #[test]
    fn reclaiming_by_timeout_is_caught() {
        let mut world = world_with_a_grant_of_50();
        world.pool.granted_minor -= 50; // The hub gives up waiting and takes the grant back.
        assert!(world.check().is_err());
    }

    #[test]
    fn a_spend_without_its_check_is_caught() {
        let mut world = world_with_a_grant_of_50();
        world.stores[0].spent_minor += 51;
        world.spends += 51;
        assert!(world.check().is_err());
    }

    #[test]
    fn a_release_counted_from_the_request_is_caught() {
        let mut world = world_with_a_grant_of_50();
        world.lines[0].seen.released_minor += 10; // The hub books a recall before the store answered it.
        world.pool.released_minor += 10;
        assert!(world.check().is_err());
    }
}

#[test]
fn a_report_of_a_rolled_back_store_is_refused() {
    let counters = StoreCounters { adopted_minor: 50, loaded_minor: 10, spent_minor: 20, released_minor: 5 };
    let side = HubSide {
        pool: Pool { loaded_minor: 50, granted_minor: 50, ..Pool::default() },
        line: Line { granted_minor: 50, ..Line::default() },
    };
    let side = step(&side, HubEvent::Report { counters }).unwrap();
    assert_eq!(side.pool.free_minor(), 5);
    assert_eq!(side.line.held(), 35);
    let rolled_back = StoreCounters { loaded_minor: 11, spent_minor: 19, ..counters };
    assert_eq!(step(&side, HubEvent::Report { counters: rolled_back }), Err(Refusal::Diverged));
    let forged = StoreCounters { adopted_minor: 51, ..counters };
    assert_eq!(
        step(&side, HubEvent::Report { counters: forged }),
        Err(Refusal::AdoptedBeyondGrant { adopted_minor: 51, granted_minor: 50 })
    );
    let overdrawn = StoreCounters { spent_minor: 56, ..counters };
    assert_eq!(step(&side, HubEvent::Report { counters: overdrawn }), Err(Refusal::Overdrawn { available_minor: -1 }));
    assert_eq!(
        step(&side, HubEvent::Report { counters: StoreCounters::default() }),
        Ok(side),
        "an old report changes nothing"
    );
}

#[test]
fn amounts_of_nothing_and_beyond_64_bits_are_refused() {
    let store = StoreCounters::default();
    assert_eq!(step(&store, StoreEvent::Load { amount_minor: 0 }), Err(Refusal::Amount { amount_minor: 0 }));
    assert_eq!(step(&store, StoreEvent::Spend { amount_minor: -1 }), Err(Refusal::Amount { amount_minor: -1 }));
    let full = step(&store, StoreEvent::Load { amount_minor: i64::MAX }).unwrap();
    assert_eq!(step(&full, StoreEvent::Load { amount_minor: 1 }), Err(Refusal::Overflow));
    assert_eq!(step(&full, StoreEvent::Adopt { granted_minor: 1 }), Err(Refusal::Overflow));
    assert_eq!(
        step(&store, StoreEvent::Spend { amount_minor: 1 }),
        Err(Refusal::Insufficient { available_minor: 0, needed_minor: 1 })
    );
}

proptest! {
    /// A restored hub believes what a store says it adopted. However much that is, pool and holding together only rise by what was loaded there.
    #[test]
    fn believing_what_a_store_adopted_makes_no_value(
        seen in prop::array::uniform4(0_i64..100),
        said in prop::array::uniform4(0_i64..1_000),
        (granted_minor, pool_minor) in (0_i64..200, 0_i64..1_000),
    ) {
        let counters = |[adopted_minor, loaded_minor, spent_minor, released_minor]: [i64; 4]| {
            StoreCounters { adopted_minor, loaded_minor, spent_minor, released_minor }
        };
        let (seen, said) = (counters(seen), counters(said));
        prop_assume!(seen.available() >= 0 && seen.adopted_minor <= granted_minor);
        let pool = Pool { loaded_minor: pool_minor + granted_minor, granted_minor, ..Pool::default() };
        let before = HubSide { pool, line: Line { granted_minor, seen } };
        if let Ok(after) = step(&before, HubEvent::Recover { counters: said }) {
            let value = |side: &HubSide| side.pool.free() + side.line.held();
            let loaded = i128::from(after.line.seen.loaded_minor - seen.loaded_minor);
            prop_assert!(value(&after) <= value(&before) + loaded);
            prop_assert!(after.line.granted_minor >= said.adopted_minor);
        }
    }
}
