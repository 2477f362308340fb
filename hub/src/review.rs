//! Review: looks at every accepted entry once, after it arrived, for what its journal alone does not show: cards and items that head office does not know,
//! cards sold twice, limits that were passed over, payment references used twice, value that came back behind a card that nobody has.
//!
//! It is no part of taking a journal in, which must stay quick, and it changes nothing but exceptions. A balance looks too high when a spend that lowered
//! it has not arrived: it is named only when it was too high whatever the stores whose journals are behind can have spent of it, and looked at again until
//! that is certain. No clock and no report is asked for that: a store has brought what it wrote before a stamp when it has brought an entry of that stamp
//! or a later one, and it cannot have spent more than it holds. Invariant: an entry is reviewed when its number is at most the hub's `reviewed_no`, and
//! findings, doubts and number are written together.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use huitong_protocol::card::{CardNumber, CardStatus};
use huitong_protocol::entry::{Body, CardSale, EntryView, Header, TenderLine};
use huitong_protocol::id::{AccountId, EntryId, Epoch, GroupId, Seq, StoreId, TenderCode};
use huitong_protocol::item::ITEM_CODE_BYTES_MAX;
use huitong_protocol::money::Currency;
use huitong_protocol::movement::{Direction, MovementKind};
use huitong_protocol::policy::{Product, RefundRoute, Tender, TenderClass};
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::unit::Unit;

use crate::exception::close_by_itself;
use crate::inspect::{self, Inspected, Place};
use crate::publish;
use crate::report::{behind, behind_subject};
use crate::store::{
    Row, Store, StoreError, Tx, card, exception, item, journal, policy, root, settlement, tender_reference,
};

/// Entries looked at before what was found is written: some tens of milliseconds.
const BATCH: i64 = 2_000;
/// Loads in doubt that one run looks at again.
const DOUBTS_MAX: i64 = 2_000;
/// The most unknown items that one sale names.
const ITEMS_NAMED_MAX: usize = 10;

/// Reviews what has arrived since the last time. Gives how many exceptions are new.
///
/// # Errors
/// [`StoreError`].
pub async fn run(store: &Store, now: Instant) -> Result<usize, StoreError> {
    let doubts = store.read(find_doubts).await?;
    let mut new = if doubts == Doubts::default() { 0 } else { store.write(move |tx| settle(tx, &doubts, now)).await? };
    loop {
        let Some(batch) = store.read(find).await? else { return Ok(new) };
        // Whoever saved first counts; the entries after theirs are looked at next.
        new += store.write(move |tx| save(tx, &batch, now)).await?.unwrap_or(0);
    }
}

/// What a run of entries gave.
#[derive(Debug, Default)]
pub struct Batch {
    /// The last entry that was reviewed when this was found.
    pub after_no: i64,
    /// The last entry that was looked at.
    pub through_no: i64,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Sales of cards that turned out to be undone.
    pub undone: Vec<EntryId>,
    /// Loads of which nobody can say yet whether the balance after them was too high.
    pub doubts: Vec<Doubt>,
    /// What receipts did with references that count once, in order.
    references: Vec<ReferenceUse>,
    /// Cards that count as unsold and whose account value came back to.
    came_back: Vec<(CardNumber, EntryId)>,
}

/// A load of which nobody can say yet whether the balance after it was too high.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Its entry.
    pub id: EntryId,
    /// The entry's stamp.
    pub stamp: Stamp,
    /// The journals that are not here up to that stamp, of stores that may have spent of the account; at least one.
    pub behind: Vec<(StoreId, Epoch)>,
}

/// What became of loads in doubt.
#[derive(Debug, Default, PartialEq, Eq)]
struct Doubts {
    /// Those after which the balance was too high.
    findings: Vec<Finding>,
    /// All that were looked at.
    looked_at: Vec<EntryId>,
    /// Those of them that still wait for other journals.
    left: Vec<Doubt>,
}

fn settle(tx: &mut Tx<'_>, doubts: &Doubts, now: Instant) -> Result<usize, StoreError> {
    let mut new = 0;
    for finding in &doubts.findings {
        new += usize::from(exception::raise(tx, finding, now)?);
    }
    for id in &doubts.looked_at {
        let values = [(&id.store).into(), id.epoch.into(), id.seq.into()];
        tx.execute("DELETE FROM review_doubt WHERE store_id = $1 AND epoch = $2 AND seq = $3", &values)?;
    }
    doubts.left.iter().try_for_each(|doubt| keep(tx, doubt))?;
    Ok(new)
}

fn keep(tx: &mut Tx<'_>, doubt: &Doubt) -> Result<(), StoreError> {
    let Doubt { id, stamp, behind } = doubt;
    for (store, epoch) in behind {
        tx.execute(
            "INSERT INTO review_doubt (store_id, epoch, seq, stamp, behind_store, behind_epoch) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (store_id, epoch, seq, behind_store, behind_epoch) DO NOTHING",
            &[
                (&id.store).into(),
                id.epoch.into(),
                id.seq.into(),
                (*stamp).into(),
                store.into(),
                (*epoch).into(),
            ],
        )?;
    }
    Ok(())
}

/// What a receipt did with a reference that counts once.
#[derive(Clone, PartialEq, Eq, Debug)]
struct ReferenceUse {
    receipt: EntryId,
    tender: TenderCode,
    reference: String,
    amount_minor: i64,
    /// Given back, not used.
    is_back: bool,
}

/// Writes what a run of entries gave, and how many of its exceptions are new. Nothing when somebody else has reviewed them meanwhile: what a receipt gives
/// back counts once.
///
/// # Errors
/// [`StoreError`].
pub fn save(tx: &mut Tx<'_>, batch: &Batch, now: Instant) -> Result<Option<usize>, StoreError> {
    let numbers = [batch.through_no.into(), batch.after_no.into()];
    if tx.execute("UPDATE hub SET reviewed_no = $1 WHERE reviewed_no = $2", &numbers)? == 0 {
        return Ok(None);
    }
    let mut new = 0;
    for finding in &batch.findings {
        new += usize::from(exception::raise(tx, finding, now)?);
    }
    if !batch.undone.is_empty() {
        let filter = exception::Filter { class: Some(Class::SoldTwice), ..exception::Filter::default() };
        for open in exception::list(tx, &filter)? {
            if let Some(undone) = open.evidence.entries.iter().find(|entry| batch.undone.contains(entry)) {
                close_by_itself(tx, Class::SoldTwice, &open.subject, &format!("{undone} was undone"), now)?;
            }
        }
    }
    batch.doubts.iter().try_for_each(|doubt| keep(tx, doubt))?;
    for used in &batch.references {
        new += usize::from(compare(tx, used, now)?);
    }
    for (number, entry) in &batch.came_back {
        new += usize::from(withdraw(tx, *number, *entry, now)?);
    }
    Ok(Some(new))
}

/// Writes what a receipt did with a reference, and names the reference while several receipts use it. Stores arrive in any order: a receipt that gave its
/// paper back may come after the one that used it again, and then the exception closes by itself.
fn compare(tx: &mut Tx<'_>, used: &ReferenceUse, now: Instant) -> Result<bool, StoreError> {
    let ReferenceUse { receipt, tender, ref reference, amount_minor, is_back } = *used;
    match is_back {
        false => tender_reference::used(tx, receipt, tender, reference, amount_minor)?,
        true => tender_reference::given_back(tx, receipt, tender, reference, amount_minor)?,
    }
    let users = tender_reference::users(tx, tender, reference)?;
    let subject = format!("{tender} {}", shown(&reference.to_ascii_uppercase()));
    if let [] | [_] = &users[..] {
        if is_back {
            close_by_itself(tx, Class::ReferenceReused, &subject, &format!("{receipt} gave it back"), now)?;
        }
        return Ok(false);
    }
    let named: Vec<String> = users.iter().map(ToString::to_string).collect();
    let evidence = Evidence { entries: users, ..format!("used in {}", named.join(", ")).into() };
    exception::raise(tx, &Finding { class: Class::ReferenceReused, store: Some(receipt.store), subject, evidence }, now)
}

/// Takes a card out of sale whose account value came back to, and names it.
fn withdraw(tx: &mut Tx<'_>, number: CardNumber, entry: EntryId, now: Instant) -> Result<bool, StoreError> {
    let Some(card) = card::find(tx, number)?.filter(|card| card.status == CardStatus::Blank) else { return Ok(false) };
    let Some(held) = behind(tx, &card)? else { return Ok(false) };
    card::set_status(tx, number, CardStatus::Withdrawn, Stamp::next(now, card.status_stamp, Stamp::ZERO))?;
    let words =
        format!("value came back to account {} after card {number} was given back; it holds {held}", card.account);
    let evidence = Evidence::from(words).entry(entry);
    exception::raise(
        tx,
        &Finding {
            class: Class::BlankWithValue,
            store: Some(entry.store),
            subject: behind_subject(card.account),
            evidence,
        },
        now,
    )
}

/// Looks at the next entries; nothing when all were looked at. Changes nothing.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>) -> Result<Option<Batch>, StoreError> {
    let reviewed = tx.query_one("SELECT reviewed_no FROM hub", &[], |row| row.integer(0))?.unwrap_or(0);
    let last = settlement::last_ingested_no(tx)?;
    if last <= reviewed {
        return Ok(None);
    }
    let mut review = Review::new(tx, reviewed, last.min(reviewed + BATCH))?;
    let entries = tx.query(
        "SELECT store_id, epoch, seq FROM entry WHERE ingested_no > $1 AND ingested_no <= $2 AND store_id <> 'HUB' \
         AND kind NOT IN ('', 'allotment', 'day_open', 'seal', 'invoice') ORDER BY ingested_no",
        &[reviewed.into(), review.batch.through_no.into()],
        read_id,
    )?;
    // One at a time: each may be as large as an entry may be.
    for id in entries {
        if let Some((header, body)) = review.open(tx, id)? {
            review.look(tx, id, &header, &body)?;
        }
    }
    Ok(Some(review.batch))
}

/// Looks again at loads in doubt for which a journal has come that they waited for. Changes nothing.
fn find_doubts(tx: &mut Tx<'_>) -> Result<Doubts, StoreError> {
    let looked_at = tx.query(
        "SELECT DISTINCT review_doubt.store_id, review_doubt.epoch, review_doubt.seq FROM journal \
         JOIN review_doubt ON review_doubt.behind_store = journal.store_id AND review_doubt.behind_epoch = journal.epoch \
         AND review_doubt.stamp <= journal.stamp LIMIT $1",
        &[DOUBTS_MAX.into()],
        read_id,
    )?;
    if looked_at.is_empty() {
        return Ok(Doubts::default());
    }
    let mut review = Review::new(tx, 0, 0)?;
    for &id in &looked_at {
        if let Some((header, Body::CardSale(load) | Body::CardReload(load))) = review.open(tx, id)? {
            let broken = review.look_at_balance(tx, id, &header, &load)?;
            if !broken.lines.is_empty() {
                review.raise(Class::LimitBroken, id, id.to_string(), broken.entry(id));
            }
        }
    }
    Ok(Doubts { findings: review.batch.findings, looked_at, left: review.batch.doubts })
}

fn read_id(row: &Row<'_>) -> Result<EntryId, StoreError> {
    let (epoch, seq) = (row.integer(1)?, row.integer(2)?);
    Ok(EntryId {
        store: row.parsed(0, "entry", "store_id")?,
        epoch: Epoch(u32::try_from(epoch).unwrap_or(0)),
        seq: Seq(u64::try_from(seq).unwrap_or(0)),
    })
}

fn bytes_of(tx: &mut Tx<'_>, id: EntryId) -> Result<Vec<u8>, StoreError> {
    let sql = "SELECT bytes FROM entry WHERE store_id = $1 AND epoch = $2 AND seq = $3";
    let values = [(&id.store).into(), id.epoch.into(), id.seq.into()];
    let bytes = tx.query_one(sql, &values, |row| row.bytes(0).map(<[u8]>::to_vec))?;
    bytes.ok_or(StoreError::Rows { operation: "read an entry", table: "entry", rows: 0, expected: 1 })
}

struct Review {
    group: GroupId,
    currency: Currency,
    /// Of the policies that the entries name.
    rules: BTreeMap<u64, Rules>,
    /// Whether there is an item master at all: without one, no item is unknown.
    has_items: bool,
    batch: Batch,
}

/// What of a policy is asked for here.
#[derive(Debug, Default)]
struct Rules {
    products: Vec<Product>,
    tenders: Vec<Tender>,
}

impl Review {
    fn new(tx: &mut Tx<'_>, after_no: i64, through_no: i64) -> Result<Self, StoreError> {
        let hub = root::hub(tx)?;
        Ok(Self {
            group: hub.group,
            currency: hub.currency,
            rules: BTreeMap::new(),
            has_items: tx.query_one("SELECT 1 FROM item LIMIT 1", &[], |row| row.integer(0))?.is_some(),
            batch: Batch { after_no, through_no, ..Batch::default() },
        })
    }

    /// An entry that can be used. What was quarantined has its exception.
    fn open(&self, tx: &mut Tx<'_>, id: EntryId) -> Result<Option<(Header, Body)>, StoreError> {
        let bytes = bytes_of(tx, id)?;
        let place = Place { group: self.group, currency: self.currency, store: id.store, epoch: id.epoch };
        Ok(match inspect::inspect(&place, id.seq, &bytes) {
            Inspected { fault: None, header: Some(header), body: Some(body), .. } => Some((header, body)),
            _ => None,
        })
    }

    fn raise(&mut self, class: Class, id: EntryId, subject: String, evidence: Evidence) {
        self.batch.findings.push(Finding { class, store: Some(id.store), subject, evidence });
    }

    fn look(&mut self, tx: &mut Tx<'_>, id: EntryId, header: &Header, body: &Body) -> Result<(), StoreError> {
        self.look_at_cards(tx, id, body)?;
        self.look_at_references(tx, id, header, body)?;
        if matches!(body, Body::Return(_) | Body::Void(_)) {
            self.look_behind_unsold_cards(tx, id, body)?;
        }
        match body {
            Body::CardSale(sale) => {
                self.look_at_sale_of_card(tx, id, header, sale)?;
                self.look_at_load(tx, id, header, sale)?;
            }
            Body::CardReload(reload) => self.look_at_load(tx, id, header, reload)?,
            Body::Sale(sale) if self.has_items => {
                let mut unknown = BTreeSet::new();
                for line in sale.lines.iter().filter(|line| !line.known) {
                    if item::find_by_code(tx, &line.sku)?.is_none() {
                        unknown.insert(shown(&line.sku));
                    }
                }
                for sku in unknown.into_iter().take(ITEMS_NAMED_MAX) {
                    let evidence = Evidence::from(format!("sold as {sku}")).entry(id);
                    // By store and item: it is sold again and again until somebody imports it.
                    self.raise(Class::UnknownItem, id, format!("{} item {sku}", id.store), evidence);
                }
            }
            Body::Void(void) if void.of_kind == "card_sale" => self.batch.undone.push(void.of),
            _ => {}
        }
        Ok(())
    }

    fn look_at_cards(&mut self, tx: &mut Tx<'_>, id: EntryId, body: &Body) -> Result<(), StoreError> {
        let mut cards: BTreeMap<CardNumber, Option<AccountId>> =
            body.tenders().iter().filter_map(|tender| tender.card).map(|card| (card, None)).collect();
        match body {
            Body::CardSale(body) | Body::CardReload(body) => drop(cards.insert(body.card, Some(body.account))),
            Body::CardStatus(body) => drop(cards.insert(body.card, Some(body.account))),
            Body::Hold(body) => drop(cards.insert(body.card, Some(body.account))),
            Body::UnreferencedReturn(body) => drop(cards.insert(body.card, Some(body.account))),
            _ => {}
        }
        let mut evidence = Evidence::default().entry(id);
        for (number, said) in cards {
            evidence = match (card::find(tx, number)?, said) {
                (None, _) => evidence.and(format!("card {number} is unknown")),
                (Some(card), Some(said)) if card.account != said => {
                    evidence.differs(&format!("account of card {number}"), card.account, said)
                }
                _ => evidence,
            };
        }
        let accounts: BTreeSet<AccountId> = body.movements().iter().map(|movement| movement.account).collect();
        for account in accounts {
            if !card::opens(tx, account)? {
                evidence = evidence.and(format!("account {account} is opened by no card"));
            }
        }
        if !evidence.lines.is_empty() {
            self.raise(Class::UnknownCard, id, id.to_string(), evidence);
        }
        Ok(())
    }

    fn look_at_sale_of_card(
        &mut self,
        tx: &mut Tx<'_>,
        id: EntryId,
        header: &Header,
        sale: &CardSale,
    ) -> Result<(), StoreError> {
        let others = tx.query(
            "SELECT DISTINCT store_id, epoch, seq FROM movement WHERE account_id = $1 AND kind = 'card_sale'",
            &[sale.account.into()],
            read_id,
        )?;
        for other in others.into_iter().filter(|other| *other != id) {
            let bytes = bytes_of(tx, other)?;
            let Ok(view) = EntryView::decode(&bytes) else { continue };
            let is_same = matches!(view.body(), Ok(Body::CardSale(body)) if body.card == sale.card);
            if !is_same || is_undone(tx, id, header)? || is_undone(tx, other, &view.header)? {
                continue;
            }
            let (first, second) = (id.min(other), id.max(other));
            let evidence = Evidence::from(format!("card {} was sold in {first} and in {second}", sale.card));
            self.raise(Class::SoldTwice, id, format!("{first} and {second}"), evidence.entry(first).entry(second));
        }
        Ok(())
    }

    /// The rules that an entry was decided under.
    fn rules(&mut self, tx: &mut Tx<'_>, header: &Header) -> Result<&Rules, StoreError> {
        let version = header.replica.policy;
        Ok(match self.rules.entry(version) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(match policy::find(tx, version)? {
                // A document that this program cannot read any more must not hold up what other entries are looked at for; `rerate` says so.
                Some(kept) => publish::open_kept(&kept)
                    .map(|(_, policy)| Rules { products: policy.products, tenders: policy.tenders })
                    .unwrap_or_default(),
                None => Rules::default(),
            }),
        })
    }

    /// What the entry did with references that count once. An acquirer's number stays used, whatever comes back; a paper is free again when it went back
    /// whole, and so does a paper that paid for what was undone.
    fn look_at_references(
        &mut self,
        tx: &mut Tx<'_>,
        id: EntryId,
        header: &Header,
        body: &Body,
    ) -> Result<(), StoreError> {
        let (receipt, lines, is_back) = match body {
            Body::CardSale(load) | Body::CardReload(load) => (id, &load.tenders[..], false),
            Body::Sale(sale) => (id, &sale.tenders[..], false),
            Body::Payment(payment) => (payment.of, std::slice::from_ref(&payment.tender), false),
            Body::Void(void) => (void.of, &void.tenders[..], true),
            Body::Return(back) => (back.of, &back.tenders[..], true),
            _ => return Ok(()),
        };
        if lines.iter().all(|line| line.reference.is_none()) {
            return Ok(());
        }
        let rules = self.rules(tx, header)?;
        let counts_once = |line: &&TenderLine| {
            let tender = rules.tenders.iter().find(|tender| tender.code == line.tender);
            let is_paper = |class| matches!(class, TenderClass::Voucher | TenderClass::Coupon);
            tender.is_some_and(|tender| match (is_back, body) {
                (false, _) => tender.reference_unique,
                // What is undone was not, whatever its refund is; what comes back takes the route of its tender.
                (true, Body::Void(_)) => is_paper(tender.class),
                (true, _) => is_paper(tender.class) && tender.refund == RefundRoute::SameTender,
            })
        };
        let uses: Vec<ReferenceUse> = lines
            .iter()
            .filter(counts_once)
            .filter_map(|line| {
                let (reference, amount_minor) = (line.reference.clone()?, line.amount_minor);
                Some(ReferenceUse { receipt, tender: line.tender, reference, amount_minor, is_back })
            })
            .collect();
        self.batch.references.extend(uses);
        Ok(())
    }

    /// Cards that were given back before what they had paid for was: another store knew no better.
    fn look_behind_unsold_cards(&mut self, tx: &mut Tx<'_>, id: EntryId, body: &Body) -> Result<(), StoreError> {
        let onto = body.movements().iter().filter(|movement| movement.kind.direction() == Direction::In);
        let accounts: BTreeSet<AccountId> = onto.map(|movement| movement.account).collect();
        for account in accounts {
            self.batch.came_back.extend(card::unsold(tx, account)?.into_iter().map(|number| (number, id)));
        }
        Ok(())
    }

    fn look_at_load(
        &mut self,
        tx: &mut Tx<'_>,
        id: EntryId,
        header: &Header,
        load: &CardSale,
    ) -> Result<(), StoreError> {
        let Some((load_max, _)) = self.limits(tx, header, load)? else { return Ok(()) };
        let mut evidence = Evidence::default().entry(id);
        let loaded = load.principal_minor.saturating_add(load.bonus_minor);
        if loaded > load_max {
            evidence = evidence.differs("load_minor", format!("at most {load_max}"), loaded);
        }
        evidence.lines.extend(self.look_at_balance(tx, id, header, load)?.lines);
        if !evidence.lines.is_empty() {
            self.raise(Class::LimitBroken, id, id.to_string(), evidence);
        }
        Ok(())
    }

    /// What a load and the balance after it may be at most, by the policy under which it was taken.
    fn limits(&mut self, tx: &mut Tx<'_>, header: &Header, load: &CardSale) -> Result<Option<(i64, i64)>, StoreError> {
        let product = self.rules(tx, header)?.products.iter().find(|product| product.id == load.product);
        Ok(product.map(|product| (product.load_minor_max, product.balance_minor_max)))
    }

    /// What is wrong with the balance after a load; nothing when nothing is, or when it is in doubt, which is noted.
    fn look_at_balance(
        &mut self,
        tx: &mut Tx<'_>,
        id: EntryId,
        header: &Header,
        load: &CardSale,
    ) -> Result<Evidence, StoreError> {
        let Some((_, balance_max)) = self.limits(tx, header, load)? else { return Ok(Evidence::default()) };
        if balance_max == i64::MAX {
            return Ok(Evidence::default());
        }
        let unit = Unit::Money(self.currency);
        let here = balance_at(tx, load.account, unit, header)?;
        if here <= balance_max {
            return Ok(Evidence::default());
        }
        let (unseen, behind) = unseen_at_most(tx, load.account, unit, header.stamp)?;
        let least = here.saturating_sub(unseen);
        if least <= balance_max {
            self.batch.doubts.push(Doubt { id, stamp: header.stamp, behind });
            return Ok(Evidence::default());
        }
        let found = if least == here { here.to_string() } else { format!("{least} or more") };
        Ok(Evidence::default().differs("balance_minor after it", format!("at most {balance_max}"), found))
    }
}

/// How much of an account can have been spent up to a stamp by entries that are not here: what those stores hold whose journals are not here so far. Gives
/// those journals too.
fn unseen_at_most(
    tx: &mut Tx<'_>,
    account: AccountId,
    unit: Unit,
    stamp: Stamp,
) -> Result<(i64, Vec<(StoreId, Epoch)>), StoreError> {
    // Granted by the hub itself; the rest by what is here of the store's journal. What it released later than that, it holds no more: the sum is safe.
    let holders = tx.query(
        "SELECT holder.store_id, holder.epoch, COALESCE(allotment.granted_minor, 0) + COALESCE(counted.loaded_minor, 0) \
         - COALESCE(counted.spent_minor, 0) - COALESCE(counted.released_minor, 0) FROM \
         (SELECT store_id, epoch FROM allotment WHERE account_id = $1 AND unit = $2 \
         UNION SELECT store_id, epoch FROM journal_counter WHERE account_id = $1 AND unit = $2) AS holder \
         LEFT JOIN allotment ON allotment.account_id = $1 AND allotment.unit = $2 AND allotment.store_id = holder.store_id \
         AND allotment.epoch = holder.epoch \
         LEFT JOIN journal_counter AS counted ON counted.account_id = $1 AND counted.unit = $2 \
         AND counted.store_id = holder.store_id AND counted.epoch = holder.epoch",
        &[account.into(), unit.into()],
        |row| {
            let epoch = Epoch(u32::try_from(row.integer(1)?).unwrap_or(0));
            Ok::<_, StoreError>((row.parsed::<StoreId>(0, "allotment", "store_id")?, epoch, row.integer(2)?))
        },
    )?;
    let (mut unseen, mut behind) = (0_i64, Vec::new());
    for (store, epoch, held_minor) in holders {
        // Everything is here that a store wrote up to a stamp when an entry of that stamp or a later one is: its stamps rise along its journal.
        if held_minor > 0 && journal::find(tx, store, epoch)?.stamp < stamp {
            unseen = unseen.saturating_add(held_minor);
            behind.push((store, epoch));
        }
    }
    Ok((unseen, behind))
}

/// Whether an operation was undone: that happens at the same store, on the same day, later.
pub(crate) fn is_undone(tx: &mut Tx<'_>, id: EntryId, header: &Header) -> Result<bool, StoreError> {
    let day = header.business_day.map(|day| day.to_string());
    let mut undone = false;
    tx.for_each(
        "SELECT bytes FROM entry WHERE store_id = $1 AND epoch = $2 AND seq > $3 AND kind = 'void' AND business_day = $4",
        &[(&id.store).into(), id.epoch.into(), id.seq.into(), day.as_deref().into()],
        |row| {
            let view = EntryView::decode(row.bytes(0)?);
            undone |= matches!(view.map(|view| view.body()), Ok(Ok(Body::Void(void))) if void.of == id);
            Ok::<_, StoreError>(())
        },
    )?;
    Ok(undone)
}

/// What an account held after an entry, in the order of stamps, by what has arrived.
fn balance_at(tx: &mut Tx<'_>, account: AccountId, unit: Unit, header: &Header) -> Result<i64, StoreError> {
    let mut balance = 0_i64;
    tx.for_each(
        "SELECT kind, CAST(SUM(amount_minor) AS BIGINT) FROM movement WHERE account_id = $1 AND stamp <= $2 AND unit = $3 GROUP BY kind",
        &[account.into(), header.stamp.into(), unit.into()],
        |row| {
            let sum = row.integer(1)?;
            balance = match row.parsed::<MovementKind>(0, "movement", "kind")?.direction() {
                Direction::In => balance.saturating_add(sum),
                Direction::Out => balance.saturating_sub(sum),
            };
            Ok::<_, StoreError>(())
        },
    )?;
    Ok(balance)
}

/// A code as a till sent it: cut, and with nothing that moves a cursor.
fn shown(sku: &str) -> String {
    let cut: String = sku.chars().take(ITEM_CODE_BYTES_MAX).collect();
    cut.escape_debug().to_string()
}
