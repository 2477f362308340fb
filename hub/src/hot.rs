//! Hot: cards that are frozen or lost, which stores know of it, and what whoever found one could still take.
//!
//! A store that has the version with which a card was stopped lets it pay no more, and has no part here. Any other living epoch counts with all that it holds
//! of the account, or may hold: granted and not yet adopted. The hub's own pool does not: a grant brings the card's state with it. What an epoch held when it
//! ended waits in suspense and stands apart. The ladder limits one receipt, not what a finder comes to in several, and follows the store's own clock; so it
//! is shown beside the exposure and makes it no smaller. Invariant: where it is not sure that a store knows, it counts as not knowing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use huitong_protocol::card::CardNumber;
use huitong_protocol::id::{AccountId, Epoch, MemberId, StoreId};
use huitong_protocol::member::MemberCard;
use huitong_protocol::policy::{LadderRules, Policy, Rung};
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;
use serde::Serialize;

use crate::store::hot::{self as rows, Held, Living, Stopped};
use crate::store::{StoreError, Tx, policy};

/// What the daemon knows and the database only a little later.
#[derive(Clone, Debug, Default)]
pub struct Lately {
    /// When stores were heard.
    pub heard: HashMap<StoreId, Instant>,
    /// Up to which version epochs have all cards.
    pub cards: HashMap<StoreId, (Epoch, i64)>,
}

/// Which part is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// Only cards that open this account.
    pub account: Option<AccountId>,
    /// Only what can be taken at this store, and cards that it does not know of.
    pub store: Option<StoreId>,
}

/// An amount of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Exposed {
    /// What is counted.
    pub unit: Unit,
    /// How much, in minor units.
    pub exposed_minor: i64,
}

/// What can still be taken with a stopped card at one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Place {
    /// The store.
    pub store: StoreId,
    /// Its living epoch.
    pub epoch: Epoch,
    /// What is counted.
    pub unit: Unit,
    /// What it holds of the account as last heard, in minor units.
    pub exposed_minor: i64,
    /// How much of that was granted and is not known to have arrived.
    pub undelivered_minor: i64,
    /// When it was last heard: its knowledge of cards is at least that old.
    pub last_heard_ms: Option<Instant>,
    /// The rung of the ladder on which it stands at least, by its last word and the policy that it said to have in force.
    pub rung: Option<Rung>,
    /// What one receipt may take there.
    pub receipt_minor_max: i64,
    /// Whether the hub was restored and has not heard it since: it may hold more than is known here.
    pub is_unheard: bool,
}

/// What an epoch held of the account when it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct InSuspense {
    /// The store.
    pub store: StoreId,
    /// The ended epoch.
    pub epoch: Epoch,
    /// What is counted.
    pub unit: Unit,
    /// What waits, in minor units.
    pub waiting_minor: i64,
}

/// A stopped card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct HotCard {
    /// The card, its number masked.
    #[serde(flatten)]
    pub card: MemberCard,
    /// For whoever may see it.
    #[serde(skip)]
    pub number: CardNumber,
    /// What it opens.
    pub account: AccountId,
    /// The member it belongs to.
    pub member: Option<MemberId>,
    /// When its status was set, by the clock of whoever did.
    pub stopped_at_ms: Instant,
    /// The version with which stores learn of it.
    pub stop_version: i64,
    /// How many stores there are.
    pub stores: usize,
    /// Those that are not known to know.
    pub untold: Vec<StoreId>,
    /// What can still be taken, by unit.
    pub exposed: Vec<Exposed>,
    /// Where.
    pub places: Vec<Place>,
    /// What waits in epochs that ended.
    pub suspense: Vec<InSuspense>,
}

impl HotCard {
    /// By this they are sorted: money before points, the most exposed first, and of two the one that was stopped first.
    fn rank(&self) -> (i64, i64, i64) {
        let of = |is_points: bool| {
            let sums = self.exposed.iter().filter(|sum| (sum.unit == Unit::Points) == is_points);
            sums.fold(0_i64, |sum, exposed| sum.saturating_add(exposed.exposed_minor))
        };
        (i64::MAX - of(false), i64::MAX - of(true), self.stop_version)
    }

    /// The same as a text that sorts alike, for cursors. It tells no number.
    #[must_use]
    pub fn key(&self) -> String {
        let (money, points, version) = self.rank();
        format!("{money:020}-{points:020}-{version:020}")
    }
}

/// Stopped cards and what they come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct HotList {
    /// When this was so.
    pub as_of_ms: Instant,
    /// The cards, the most exposed first.
    pub cards: Vec<HotCard>,
    /// What they come to, by unit. What two cards of an account open is counted once.
    pub exposed: Vec<Exposed>,
}

/// How it stands with stopped cards, in one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct HotSum {
    /// How many cards are stopped.
    pub cards: usize,
    /// How many of them some store does not know of.
    pub untold: usize,
    /// What can still be taken with them, by unit.
    pub exposed: Vec<Exposed>,
}

impl HotList {
    /// In one look.
    #[must_use]
    pub fn sum(&self) -> HotSum {
        let untold = self.cards.iter().filter(|card| !card.untold.is_empty()).count();
        HotSum { cards: self.cards.len(), untold, exposed: self.exposed.clone() }
    }
}

/// The stopped cards that open an account.
///
/// # Errors
/// [`StoreError`].
pub fn of_account(
    tx: &mut Tx<'_>,
    lately: &Lately,
    account: AccountId,
    now: Instant,
) -> Result<Vec<HotCard>, StoreError> {
    Ok(look(tx, lately, Part { account: Some(account), store: None }, now)?.cards)
}

/// Looks.
///
/// # Errors
/// [`StoreError`].
pub fn look(tx: &mut Tx<'_>, lately: &Lately, part: Part, now: Instant) -> Result<HotList, StoreError> {
    let stopped = rows::stopped(tx, part.account)?;
    if stopped.is_empty() {
        return Ok(HotList { as_of_ms: now, cards: Vec::new(), exposed: Vec::new() });
    }
    let living = living(tx, lately)?;
    let ladders = ladders(tx, &living)?;
    let mut held: BTreeMap<AccountId, Vec<Held>> = BTreeMap::new();
    for line in rows::held(tx, part.account)? {
        held.entry(line.purse.account).or_default().push(line);
    }
    let is_asked = |store: StoreId| part.store.is_none_or(|asked| asked == store);
    let (mut cards, mut counted, mut exposed) = (Vec::new(), BTreeSet::new(), Vec::new());
    for stopped in stopped {
        let lines = held.get(&stopped.card.account).map_or(&[][..], Vec::as_slice);
        let mut untold = BTreeMap::new();
        for epoch in living.iter().filter(|epoch| is_asked(epoch.store) && epoch.cards_version < stopped.version) {
            untold.insert(epoch.store, epoch);
        }
        let hot = hot_card(&stopped, lines.iter().filter(|line| is_asked(line.store)), &untold, &ladders, now);
        let hot = HotCard { stores: living.len(), ..hot };
        if part.store.is_some() && hot.untold.is_empty() && hot.suspense.is_empty() {
            continue;
        }
        for place in &hot.places {
            if counted.insert((hot.account, place.unit, place.store, place.epoch)) {
                add(&mut exposed, place.unit, place.exposed_minor);
            }
        }
        cards.push(hot);
    }
    cards.sort_by_key(HotCard::rank);
    exposed.sort_by_key(|sum: &Exposed| sum.unit);
    Ok(HotList { as_of_ms: now, cards, exposed })
}

/// The living epochs, with what the daemon knows better.
fn living(tx: &mut Tx<'_>, lately: &Lately) -> Result<Vec<Living>, StoreError> {
    let (mut living, newest) = (rows::living(tx)?, rows::newest(tx)?);
    for known in &mut living {
        if let Some((_, version)) = lately.cards.get(&known.store).filter(|(epoch, _)| *epoch == known.epoch) {
            known.cards_version = *version;
        }
        // A version that was never given out says nothing.
        if known.cards_version > newest {
            known.cards_version = 0;
        }
        known.last_heard_ms = known.last_heard_ms.max(lately.heard.get(&known.store).copied());
    }
    Ok(living)
}

/// The ladder of every policy that a store has in force. Of one that cannot be read nothing is known, and so it limits nothing.
fn ladders(tx: &mut Tx<'_>, living: &[Living]) -> Result<BTreeMap<u64, LadderRules>, StoreError> {
    let versions: BTreeSet<u64> = living.iter().map(|epoch| epoch.policy).filter(|version| *version > 0).collect();
    let mut ladders = BTreeMap::new();
    for version in versions {
        let document = match policy::find(tx, version) {
            Ok(Some(kept)) => kept.bundle.document,
            Ok(None) | Err(StoreError::Value { .. }) => continue,
            Err(error) => return Err(error),
        };
        if let Ok(policy) = toml::from_str::<Policy>(&document) {
            ladders.insert(version, policy.ladder);
        }
    }
    Ok(ladders)
}

fn hot_card<'a>(
    stopped: &Stopped,
    lines: impl Iterator<Item = &'a Held>,
    untold: &BTreeMap<StoreId, &Living>,
    ladders: &BTreeMap<u64, LadderRules>,
    now: Instant,
) -> HotCard {
    let card = &stopped.card;
    let (mut places, mut suspense, mut exposed) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        let (unit, store, epoch) = (line.purse.unit, line.store, line.epoch);
        if let Some(waiting_minor) = line.waiting_minor {
            if waiting_minor > 0 {
                suspense.push(InSuspense { store, epoch, unit, waiting_minor });
            }
            continue;
        }
        let Some(at) = untold.get(&store).filter(|at| at.epoch == epoch) else { continue };
        let exposed_minor = saturated(line.line.held());
        if exposed_minor <= 0 {
            continue;
        }
        let rung = at.last_heard_ms.zip(ladders.get(&at.policy)).and_then(|(heard, ladder)| {
            let age_ms = now.0.saturating_sub(heard.0).max(0);
            ladder.rung(Some(age_ms)).copied()
        });
        let limit = rung.filter(|rung| rung.bearer_cards || card.member.is_some()).and_then(|rung| match unit {
            Unit::Money(_) => rung.value_minor_max,
            Unit::Points => rung.points_max,
        });
        add(&mut exposed, unit, exposed_minor);
        places.push(Place {
            store,
            epoch,
            unit,
            exposed_minor,
            undelivered_minor: line
                .line
                .granted_minor
                .saturating_sub(line.line.seen.adopted_minor)
                .clamp(0, exposed_minor),
            last_heard_ms: at.last_heard_ms,
            rung,
            receipt_minor_max: limit.map_or(exposed_minor, |limit| limit.clamp(0, exposed_minor)),
            is_unheard: at.is_waited_for,
        });
    }
    places.sort_by_key(|place| (place.unit, std::cmp::Reverse(place.exposed_minor), place.store));
    exposed.sort_by_key(|sum: &Exposed| sum.unit);
    HotCard {
        card: MemberCard::of(card),
        number: card.number,
        account: card.account,
        member: card.member,
        stopped_at_ms: Instant(card.status_stamp.0),
        stop_version: stopped.version,
        stores: untold.len(),
        untold: untold.keys().copied().collect(),
        exposed,
        places,
        suspense,
    }
}

fn add(sums: &mut Vec<Exposed>, unit: Unit, minor: i64) {
    match sums.iter_mut().find(|sum| sum.unit == unit) {
        Some(sum) => sum.exposed_minor = sum.exposed_minor.saturating_add(minor),
        None => sums.push(Exposed { unit, exposed_minor: minor }),
    }
}

/// What a store holds is never below nothing; a line that says so holds nothing.
fn saturated(amount: i128) -> i64 {
    i64::try_from(amount.max(0)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use huitong_protocol::allotment::{Line, Purse, StoreCounters};
    use huitong_protocol::card::{Card, CardStatus};
    use huitong_protocol::money::Currency;
    use huitong_protocol::time::Stamp;

    use super::*;

    const MINUTE_MS: i64 = 60_000;

    /// A card of somebody, of whose account a store holds 90 and 8 points and was last heard so many minutes ago.
    fn seen(member: Option<i64>, heard_minutes_ago: i64, bearer_cards: bool) -> Vec<(i64, Option<u32>)> {
        let (account, store) = (AccountId::new(1).unwrap(), "S1".parse().unwrap());
        let number = CardNumber::new("6601000000000001").unwrap();
        let card = Card {
            number,
            product: "SV".parse().unwrap(),
            account,
            status: CardStatus::Lost,
            status_stamp: Stamp(5),
            allocated_store: None,
            member: member.map(|number| MemberId::new(number).unwrap()),
            expires_on: None,
        };
        let held = |unit, loaded_minor| {
            let seen = StoreCounters { loaded_minor, ..StoreCounters::default() };
            let line = Line { granted_minor: 0, seen };
            Held { purse: Purse { account, unit }, store, epoch: Epoch(1), line, waiting_minor: None }
        };
        let lines = [held(Unit::Money(Currency::CNY), 90), held(Unit::Points, 8)];
        let now = Instant(1_000 * MINUTE_MS);
        let living = Living {
            store,
            epoch: Epoch(1),
            cards_version: 0,
            is_waited_for: false,
            last_heard_ms: Some(now.plus_ms(-heard_minutes_ago * MINUTE_MS)),
            policy: 3,
        };
        let rung = |after_minutes, value_minor_max, points_max| Rung {
            after_minutes,
            value_minor_max: Some(value_minor_max),
            points_max,
            bearer_cards,
        };
        let ladder = LadderRules { rungs: vec![rung(60, 50, None), rung(120, 0, Some(3))] };
        let (untold, ladders) = (BTreeMap::from([(store, &living)]), BTreeMap::from([(3, ladder)]));
        let hot = hot_card(&Stopped { card, version: 1 }, lines.iter(), &untold, &ladders, now);
        let exposed: Vec<i64> = hot.exposed.iter().map(|sum| sum.exposed_minor).collect();
        assert_eq!(exposed, [90, 8], "the ladder makes it no smaller: a finder comes again");
        hot.places.iter().map(|place| (place.receipt_minor_max, place.rung.map(|rung| rung.after_minutes))).collect()
    }

    #[test]
    fn a_receipt_takes_what_the_rung_lets_pass() {
        assert_eq!(seen(Some(7), 59, false), [(90, None), (8, None)]);
        assert_eq!(seen(Some(7), 60, false), [(50, Some(60)), (8, Some(60))]);
        assert_eq!(seen(Some(7), 120, false), [(0, Some(120)), (3, Some(120))]);
        assert_eq!(seen(None, 120, false), [(90, Some(120)), (8, Some(120))], "nobody can report it lost");
        assert_eq!(seen(None, 120, true), [(0, Some(120)), (3, Some(120))]);
    }
}
