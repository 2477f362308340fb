//! Hot: cards that are frozen or lost, which stores know of it, and what whoever found one could still take.
//!
//! A store that has the version with which a card was stopped lets it pay no more, and has no part here. Any other living epoch counts with all that it holds
//! of the account, or may hold: granted and not yet adopted; and, for a member's card, with what policy lets an account overdraw there, as far as the store's
//! line of the risk account reaches. The hub's own pool does not: a grant brings the card's state with it. Two things stand apart: what an epoch held when it
//! ended waits in suspense; and a store that knows honours what was set aside before it knew, so that what it still holds is either such a hold or on its way
//! back. The ladder limits one receipt, not what a finder comes to in several, and follows the store's own clock; so it is shown beside the exposure and makes
//! it no smaller. Invariant: where it is not sure that a store knows, it counts as not knowing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use huitong_protocol::card::CardNumber;
use huitong_protocol::id::{AccountId, Epoch, MemberId, StoreId};
use huitong_protocol::member::MemberCard;
use huitong_protocol::policy::{Policy, Rung};
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
    /// What can be taken: what it holds of the account as last heard and what may be overdrawn, in minor units.
    pub exposed_minor: i64,
    /// How much of that would be overdrawn, at the group's risk. Other cards may draw on the same line.
    pub overdraft_minor: i64,
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
    /// When its status was set, by the clock of whoever did; after a restore of head office, when stores were told of it again.
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
    /// What stores that know still hold, by unit: at most this can holds take that were placed before; the rest pays no more with this card.
    pub held_where_known: Vec<Exposed>,
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
    /// What they come to, by unit. What two cards of an account open is counted once, and of a store's line no more than there is.
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
    let policies = policies(tx, &living)?;
    let mut held: BTreeMap<AccountId, Vec<Held>> = BTreeMap::new();
    for line in rows::held(tx, part.account)? {
        held.entry(line.purse.account).or_default().push(line);
    }
    let mut lent = Lent::default();
    for line in rows::held(tx, Some(AccountId::RISK))?.iter().filter(|line| line.waiting_minor.is_none()) {
        lent.lines.insert((line.store, line.epoch, line.purse.unit), saturated(line.line.held()));
    }
    let is_asked = |store: StoreId| part.store.is_none_or(|asked| asked == store);
    let (mut cards, mut sum) = (Vec::new(), Sum::default());
    for stopped in stopped {
        let lines = held.get(&stopped.card.account).map_or(&[][..], Vec::as_slice);
        let mut untold = BTreeMap::new();
        for epoch in living.iter().filter(|epoch| is_asked(epoch.store) && epoch.cards_version < stopped.version) {
            untold.insert(epoch.store, epoch);
        }
        let lines = lines.iter().filter(|line| is_asked(line.store));
        let hot = hot_card(&stopped, lines, &untold, (&policies, &lent), now);
        let hot = HotCard { stores: living.len(), ..hot };
        if part.store.is_some() && hot.untold.is_empty() && hot.suspense.is_empty() {
            continue;
        }
        hot.places.iter().for_each(|place| sum.count(hot.account, place));
        cards.push(hot);
    }
    cards.sort_by_key(HotCard::rank);
    Ok(HotList { as_of_ms: now, cards, exposed: sum.exposed(&lent) })
}

/// What stores may let cards overdraw: what living epochs hold of the risk account.
#[derive(Default)]
struct Lent {
    lines: BTreeMap<(StoreId, Epoch, Unit), i64>,
}

impl Lent {
    /// The lines of a store.
    fn of(&self, at: &Living) -> impl Iterator<Item = (Unit, i64)> {
        let whose = (at.store, at.epoch);
        let lines = self.lines.iter().filter(move |((store, epoch, _), _)| (*store, *epoch) == whose);
        lines.map(|((_, _, unit), line_minor)| (*unit, *line_minor))
    }
}

/// What cards come to together: what two of them open counts once, and a store's line counts once whoever draws on it.
#[derive(Default)]
struct Sum {
    own: BTreeMap<(AccountId, Unit, StoreId, Epoch), i64>,
    overdraft: BTreeMap<(AccountId, Unit, StoreId, Epoch), i64>,
}

impl Sum {
    fn count(&mut self, account: AccountId, place: &Place) {
        let key = (account, place.unit, place.store, place.epoch);
        self.own.insert(key, place.exposed_minor.saturating_sub(place.overdraft_minor));
        let overdraft = self.overdraft.entry(key).or_default();
        *overdraft = place.overdraft_minor.max(*overdraft);
    }

    fn exposed(self, lent: &Lent) -> Vec<Exposed> {
        let mut exposed = Vec::new();
        for ((_, unit, _, _), own_minor) in self.own.into_iter().filter(|(_, own_minor)| *own_minor > 0) {
            add(&mut exposed, unit, own_minor);
        }
        let mut drawn: BTreeMap<(StoreId, Epoch, Unit), i64> = BTreeMap::new();
        for ((_, unit, store, epoch), overdraft_minor) in self.overdraft {
            let sum = drawn.entry((store, epoch, unit)).or_default();
            *sum = sum.saturating_add(overdraft_minor);
        }
        for (key, wished_minor) in drawn {
            let line_minor = lent.lines.get(&key).copied().unwrap_or(0).min(wished_minor);
            if line_minor > 0 {
                add(&mut exposed, key.2, line_minor);
            }
        }
        exposed.sort_by_key(|sum| sum.unit);
        exposed
    }
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

/// Every policy that a store has in force. Of one that cannot be read nothing is known, and so it limits nothing.
fn policies(tx: &mut Tx<'_>, living: &[Living]) -> Result<BTreeMap<u64, Policy>, StoreError> {
    let versions: BTreeSet<u64> = living.iter().map(|epoch| epoch.policy).filter(|version| *version > 0).collect();
    let mut policies = BTreeMap::new();
    for version in versions {
        let document = match policy::find(tx, version) {
            Ok(Some(kept)) => kept.bundle.document,
            Ok(None) | Err(StoreError::Value { .. }) => continue,
            Err(error) => return Err(error),
        };
        if let Ok(policy) = toml::from_str::<Policy>(&document) {
            policies.insert(version, policy);
        }
    }
    Ok(policies)
}

/// What an account may overdraw at a store. Without the chapter in the policy that it said to have in force, still as much as the line: it may have another.
fn overdraft_minor(policy: Option<&Policy>, line_minor: i64) -> i64 {
    let rules = policy.and_then(|policy| policy.overdraft);
    rules.map_or(line_minor, |rules| rules.account_minor_max.min(line_minor)).max(0)
}

fn hot_card<'a>(
    stopped: &Stopped,
    lines: impl Iterator<Item = &'a Held>,
    untold: &BTreeMap<StoreId, &Living>,
    (policies, lent): (&BTreeMap<u64, Policy>, &Lent),
    now: Instant,
) -> HotCard {
    let card = &stopped.card;
    let (mut suspense, mut exposed, mut held_where_known) = (Vec::new(), Vec::new(), Vec::new());
    let mut parts: BTreeMap<(StoreId, Unit), (i64, i64, i64)> = BTreeMap::new();
    for line in lines {
        let (unit, store, epoch) = (line.purse.unit, line.store, line.epoch);
        if let Some(waiting_minor) = line.waiting_minor {
            if waiting_minor > 0 {
                suspense.push(InSuspense { store, epoch, unit, waiting_minor });
            }
            continue;
        }
        let own_minor = saturated(line.line.held());
        if own_minor <= 0 {
            continue;
        }
        if untold.get(&store).is_none_or(|at| at.epoch != epoch) {
            add(&mut held_where_known, unit, own_minor);
            continue;
        }
        let undelivered_minor = line.line.granted_minor.saturating_sub(line.line.seen.adopted_minor);
        parts.insert((store, unit), (own_minor, 0, undelivered_minor.clamp(0, own_minor)));
    }
    for at in untold.values().filter(|_| card.member.is_some()) {
        for (unit, line_minor) in lent.of(at) {
            let overdraft_minor = overdraft_minor(policies.get(&at.policy), line_minor);
            if overdraft_minor > 0 {
                parts.entry((at.store, unit)).or_default().1 = overdraft_minor;
            }
        }
    }
    let mut places = Vec::with_capacity(parts.len());
    for ((store, unit), (own_minor, overdraft_minor, undelivered_minor)) in parts {
        let Some(at) = untold.get(&store) else { continue };
        let exposed_minor = own_minor.saturating_add(overdraft_minor);
        let rung = at.last_heard_ms.zip(policies.get(&at.policy)).and_then(|(heard, policy)| {
            let age_ms = now.0.saturating_sub(heard.0).max(0);
            policy.ladder.rung(Some(age_ms)).copied()
        });
        let limit = rung.filter(|rung| rung.bearer_cards || card.member.is_some()).and_then(|rung| match unit {
            Unit::Money(_) => rung.value_minor_max,
            Unit::Points => rung.points_max,
        });
        add(&mut exposed, unit, exposed_minor);
        places.push(Place {
            store,
            epoch: at.epoch,
            unit,
            exposed_minor,
            overdraft_minor,
            undelivered_minor,
            last_heard_ms: at.last_heard_ms,
            rung,
            receipt_minor_max: limit.map_or(exposed_minor, |limit| limit.clamp(0, exposed_minor)),
            is_unheard: at.is_waited_for,
        });
    }
    places.sort_by_key(|place| (place.unit, std::cmp::Reverse(place.exposed_minor), place.store));
    exposed.sort_by_key(|sum: &Exposed| sum.unit);
    held_where_known.sort_by_key(|sum: &Exposed| sum.unit);
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
        held_where_known,
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
    const CNY: Unit = Unit::Money(Currency::CNY);
    const NOW: Instant = Instant(1_000 * MINUTE_MS);

    fn card(account: i64, member: Option<i64>) -> Stopped {
        let card = Card {
            number: CardNumber::new("6601000000000001").unwrap(),
            product: "SV".parse().unwrap(),
            account: AccountId::new(account).unwrap(),
            status: CardStatus::Lost,
            status_stamp: Stamp(5),
            allocated_store: None,
            member: member.map(|number| MemberId::new(number).unwrap()),
            expires_on: None,
        };
        Stopped { card, version: 1 }
    }

    fn held(account: i64, store: &str, unit: Unit, loaded_minor: i64) -> Held {
        let seen = StoreCounters { loaded_minor, ..StoreCounters::default() };
        let purse = Purse { account: AccountId::new(account).unwrap(), unit };
        let line = Line { granted_minor: 0, seen };
        Held { purse, store: store.parse().unwrap(), epoch: Epoch(1), line, waiting_minor: None }
    }

    fn living(store: &str, heard_minutes_ago: i64, policy: u64) -> Living {
        Living {
            store: store.parse().unwrap(),
            epoch: Epoch(1),
            cards_version: 0,
            is_waited_for: false,
            last_heard_ms: Some(NOW.plus_ms(-heard_minutes_ago * MINUTE_MS)),
            policy,
        }
    }

    fn policy(chapters: &str) -> BTreeMap<u64, Policy> {
        let policy = format!("name = \"Shops\"\ncurrency = \"CNY\"\ntenders = []\n{chapters}");
        BTreeMap::from([(3, toml::from_str(&policy).unwrap())])
    }

    fn sums(exposed: &[Exposed]) -> Vec<(Unit, i64)> {
        exposed.iter().map(|sum| (sum.unit, sum.exposed_minor)).collect()
    }

    /// A card of somebody, of whose account a store holds 90 and 8 points and was last heard so many minutes ago.
    fn seen(member: Option<i64>, heard_minutes_ago: i64, bearer_cards: bool) -> Vec<(i64, Option<u32>)> {
        let lines = [held(1, "S1", CNY, 90), held(1, "S1", Unit::Points, 8)];
        let living = living("S1", heard_minutes_ago, 3);
        let ladder = format!(
            "[[ladder.rungs]]\nafter_minutes = 60\nvalue_minor_max = 50\nbearer_cards = {bearer_cards}\n\
             [[ladder.rungs]]\nafter_minutes = 120\nvalue_minor_max = 0\npoints_max = 3\nbearer_cards = {bearer_cards}\n"
        );
        let untold = BTreeMap::from([(living.store, &living)]);
        let hot = hot_card(&card(1, member), lines.iter(), &untold, (&policy(&ladder), &Lent::default()), NOW);
        assert_eq!(
            sums(&hot.exposed),
            [(CNY, 90), (Unit::Points, 8)],
            "a finder comes again, whatever the ladder says"
        );
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

    #[test]
    fn a_members_card_may_be_overdrawn_where_nobody_knows_and_a_line_counts_once() {
        let chapter = "[overdraft]\nstore_line_minor = 500\nreceipt_minor_max = 40\naccount_minor_max = 100\n\
                       store_day_minor_max = 300\ncards_age_minutes_max = 60\n";
        // S1 holds 90 of the first account and has a line of 150; S2 holds nothing, and nobody knows which policy it has; S3 knows of the stop.
        let (first, second, third) = (living("S1", 5, 3), living("S2", 5, 0), living("S3", 5, 3));
        let mut lent = Lent::default();
        for (store, line_minor) in [(first.store, 150), (second.store, 700), (third.store, 150)] {
            lent.lines.insert((store, Epoch(1), CNY), line_minor);
        }
        let untold = BTreeMap::from([(first.store, &first), (second.store, &second)]);
        let (policies, mut sum) = (policy(chapter), Sum::default());
        let lines = [held(1, "S1", CNY, 90), held(1, "S3", CNY, 25)];
        let mut see = |account, member| {
            let lines = lines.iter().filter(|line| line.purse.account.get() == account);
            let hot = hot_card(&card(account, member), lines, &untold, (&policies, &lent), NOW);
            hot.places.iter().for_each(|place| sum.count(hot.account, place));
            let places: Vec<_> = hot.places.iter().map(|place| (place.exposed_minor, place.overdraft_minor)).collect();
            (places, sums(&hot.exposed), sums(&hot.held_where_known))
        };
        let whole = (vec![(700, 700), (190, 100)], vec![(CNY, 890)], vec![(CNY, 25)]);
        assert_eq!(
            see(1, Some(7)),
            whole,
            "as much as the account may owe, or all that there is where that is not known"
        );
        assert_eq!(see(1, Some(7)), whole, "another card of the same account");
        assert_eq!(see(2, Some(8)), (vec![(700, 700), (100, 100)], vec![(CNY, 800)], vec![]));
        assert_eq!(see(3, None), (vec![], vec![], vec![]), "nobody would owe it");
        assert_eq!(sums(&sum.exposed(&lent)), [(CNY, 90 + 150 + 700)]);
    }
}
