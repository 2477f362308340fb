//! Proofs about journals: chains, the rows that are read from entries, and the days that seals close.

use std::collections::{BTreeMap, HashMap};

use huitong_protocol::allotment::{Purse, StoreCounters};
use huitong_protocol::entry::{Body, Header};
use huitong_protocol::id::{EntryId, Epoch, Hash, Seq, StoreId};
use huitong_protocol::journal::Head;
use huitong_protocol::movement::{Direction, PostedMovement};
use huitong_protocol::reconcile;
use huitong_protocol::seal::Tally;
use huitong_protocol::time::{BusinessDay, Stamp};
use huitong_protocol::wire::to_msgpack;

use super::holds::Holds;
use super::overdraft::Debts;
use super::points::Owed;
use super::{Check, readable};
use crate::inspect::{Inspected, Place, inspect};
use crate::store::account::{MOVEMENT_COLUMNS, MovementReader};
use crate::store::adoption::{self, Used};
use crate::store::engine::{Row, StoreError, Tx};
use crate::store::funding::{self, PostedFunding};
use crate::store::root;

/// What journals, read again, say that day rows must be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DayRow {
    epoch: i64,
    seal_seq: Option<i64>,
    state: String,
    ingested_no: i64,
    totals: Option<Vec<u8>>,
    differences: String,
}

struct Walk {
    chains: Check,
    entries: Check,
    movements: Check,
    counters: Check,
    seals: Check,
    expected_counters: HashMap<(Purse, StoreId, Epoch), StoreCounters>,
    expected_days: BTreeMap<(StoreId, BusinessDay), DayRow>,
    movements_expected: u64,
    funding: Check,
    funding_expected: u64,
    policies: Check,
    holds: Check,
    expected_used: BTreeMap<StoreId, Used>,
    owed: Owed,
    debts: Debts,
}

/// One journal as its head row states it.
struct Journal {
    place: Place,
    head: Head,
    sealed: Seq,
    stamp: Stamp,
}

/// One entry as its row states it.
struct EntryRow {
    seq: i64,
    hash: Vec<u8>,
    ingested_no: i64,
    kind: String,
    operation: Vec<u8>,
    business_day: Option<String>,
    bytes: Vec<u8>,
}

pub(super) fn checks(tx: &mut Tx<'_>) -> Result<Vec<Check>, StoreError> {
    let mut walk = Walk {
        chains: Check::new("chains", "every journal leads from its first entry to its head, byte by byte (I4)"),
        entries: Check::new("entries", "what stands beside an entry's bytes is what they say"),
        movements: Check::new("movements", "movements are those of the entries, each once (I10)"),
        counters: Check::new("counters", "journal counters are what the entries add up to (I10)"),
        seals: Check::new("seals", "days are open, accepted or contradicted as the hub's own count says"),
        expected_counters: HashMap::new(),
        expected_days: BTreeMap::new(),
        movements_expected: 0,
        funding: Check::new("funding", "who bears which discounts is what the entries say, each once (I10)"),
        funding_expected: 0,
        policies: Check::new("policies", "the policy of each store's last sale is the one in its journal (I10)"),
        holds: Holds::check(),
        expected_used: BTreeMap::new(),
        owed: Owed::default(),
        debts: Debts::default(),
    };
    let journals = journals(tx)?;
    let mut reader = MovementReader::default();
    for journal in &journals {
        walk.journal(tx, journal, &mut reader)?;
    }
    walk.strays(tx)?;
    walk.compare_counters(tx)?;
    walk.compare_days(tx)?;
    walk.compare_policies(tx)?;
    let mut points = Check::new("points", "deferred earnings and claims are those of the entries, each once (I10)");
    let read = walk.owed.compare(tx, &mut points);
    readable(&mut points, read)?;
    let proves =
        "debts are those of the entries, and what they took from the risk account is missing from its budget (I10)";
    let mut overdrafts = Check::new("overdrafts", proves);
    let read = walk.debts.compare(tx, &mut overdrafts);
    readable(&mut overdrafts, read)?;
    let Walk { chains, entries, movements, funding, counters, seals, policies, holds, .. } = walk;
    Ok(vec![chains, entries, movements, funding, counters, seals, policies, holds, points, overdrafts])
}

fn journals(tx: &mut Tx<'_>) -> Result<Vec<Journal>, StoreError> {
    let Some(hub) = root::hub_or_none(tx)? else { return Ok(Vec::new()) };
    tx.query("SELECT store_id, epoch, seq, hash, sealed_seq, stamp FROM journal ORDER BY store_id, epoch", &[], |row| {
        let store: StoreId = row.parsed(0, "journal", "store_id")?;
        let hash = Hash::from_slice(row.bytes(3)?).map_err(|why| StoreError::Value {
            table: "journal",
            column: "hash",
            row: store.to_string(),
            fault: why.to_string(),
        })?;
        Ok(Journal {
            place: Place {
                group: hub.group,
                currency: hub.currency,
                store,
                epoch: Epoch(u32::try_from(row.integer(1)?).unwrap_or(0)),
            },
            head: Head { seq: seq(row.integer(2)?), hash },
            sealed: seq(row.integer(4)?),
            stamp: Stamp(row.integer(5)?),
        })
    })
}

fn seq(number: i64) -> Seq {
    Seq(u64::try_from(number).unwrap_or(0))
}

fn read_entry(row: &Row<'_>) -> Result<EntryRow, StoreError> {
    Ok(EntryRow {
        seq: row.integer(0)?,
        hash: row.bytes(1)?.to_vec(),
        ingested_no: row.integer(2)?,
        kind: row.text(3)?.to_owned(),
        operation: row.bytes(4)?.to_vec(),
        business_day: row.maybe_text(5)?.map(str::to_owned),
        bytes: row.bytes(6)?.to_vec(),
    })
}

/// Entries read at once: a few megabytes.
const PAGE_ENTRIES: i64 = 1_000;

impl Walk {
    fn journal(&mut self, tx: &mut Tx<'_>, journal: &Journal, reader: &mut MovementReader) -> Result<(), StoreError> {
        let Place { store, epoch, .. } = journal.place;
        let (mut head, mut sealed, mut stamp) = (Head::START, Seq::ZERO, Stamp::ZERO);
        let (mut tally, mut fits) = (Tally::default(), true);
        let mut holds = Holds::default();
        let mut after = 0_i64;
        loop {
            let page = tx.query(
                "SELECT seq, hash, ingested_no, kind, operation, business_day, bytes FROM entry
                 WHERE store_id = $1 AND epoch = $2 AND seq > $3 ORDER BY seq LIMIT $4",
                &[(&store).into(), epoch.into(), after.into(), PAGE_ENTRIES.into()],
                read_entry,
            )?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for row in &page {
                let id = EntryId { store, epoch, seq: seq(row.seq) };
                let next = head.push(&row.bytes);
                self.chains.looked_at += 1;
                if id.seq != next.seq {
                    self.chains.find("entry", id, format!("comes after entry {}; {} is missing", head.seq, next.seq));
                } else if row.hash != next.hash.0 {
                    self.chains.find("entry", id, "its hash is not that of its bytes and the hash before");
                }
                // What was stored goes on, so that one bad entry is one finding and not the rest of the journal.
                head = Head { seq: id.seq, hash: Hash::from_slice(&row.hash).unwrap_or(next.hash) };
                let inspected = inspect(&journal.place, id.seq, &row.bytes);
                stamp = inspected.header.as_ref().map_or(stamp, |header| header.stamp);
                self.entry(id, row, inspected.header.as_ref());
                self.projections(tx, id, row, &inspected, reader)?;
                holds.take(&mut self.holds, id, &inspected);
                if let (Some(Body::Seal(seal)), None, Some(_)) = (&inspected.body, &inspected.fault, &inspected.header)
                {
                    // A day whose amounts do not fit has no totals, and differs.
                    let counted = fits.then(|| tally.totals());
                    let before = Head { seq: Seq(id.seq.0 - 1), hash: self.hash_before(tx, id)? };
                    let differences = reconcile::seal(seal, before, sealed, counted.as_ref());
                    self.expect_sealed(
                        seal.business_day,
                        id,
                        row.ingested_no,
                        counted.as_ref().map(to_msgpack),
                        &differences,
                    );
                    sealed = id.seq;
                    // The next seal begins after this one.
                    (tally, fits) = (Tally::default(), true);
                } else if let Some(header) = &inspected.header {
                    fits &= tally.add(header, inspected.body.as_ref()).is_ok();
                }
            }
        }
        holds.compare(tx, &mut self.holds, (store, epoch))?;
        let name = format!("{store}-{epoch}");
        self.chains.equal("journal", &name, "seq", journal.head.seq, head.seq);
        self.chains.equal("journal", &name, "hash", journal.head.hash, head.hash);
        self.chains.equal("journal", &name, "stamp", journal.stamp.0, stamp.0);
        if store != StoreId::HUB {
            self.seals.equal("journal", &name, "sealed_seq", journal.sealed, sealed);
        }
        Ok(())
    }

    fn hash_before(&self, tx: &mut Tx<'_>, id: EntryId) -> Result<Hash, StoreError> {
        let before = Seq(id.seq.0 - 1);
        Ok(crate::store::journal::hash_at(tx, id.store, id.epoch, before)?.unwrap_or(Hash::ZERO))
    }

    fn entry(&mut self, id: EntryId, row: &EntryRow, header: Option<&Header>) {
        self.entries.looked_at += 1;
        let day = header.and_then(|header| header.business_day).map(|day| day.to_string());
        let operation: &[u8] = header.map_or(&[], |header| header.operation.0.as_bytes());
        self.entries.equal("entry", &id, "kind", row.kind.as_str(), header.map_or("", |header| header.kind.as_str()));
        self.entries.equal(
            "entry",
            &id,
            "business_day",
            row.business_day.as_deref().unwrap_or("none"),
            day.as_deref().unwrap_or("none"),
        );
        if row.operation != operation {
            self.entries.find("entry", id, "operation is not that of its bytes");
        }
    }

    fn projections(
        &mut self,
        tx: &mut Tx<'_>,
        id: EntryId,
        row: &EntryRow,
        inspected: &Inspected,
        reader: &mut MovementReader,
    ) -> Result<(), StoreError> {
        let mut stands: Vec<PostedMovement> = Vec::new();
        let read = tx.for_each(
            &format!("SELECT {MOVEMENT_COLUMNS} FROM movement WHERE ingested_no = $1"),
            &[row.ingested_no.into()],
            |row| {
                stands.push(reader.read(row)?);
                Ok::<(), StoreError>(())
            },
        );
        readable(&mut self.movements, read)?;
        stands.sort_by_key(|movement| movement.index);
        let usable = inspected.fault.is_none();
        let empty: &[huitong_protocol::movement::Movement] = &[];
        let said = inspected.body.as_ref().filter(|_| usable).map_or(empty, Body::movements);
        if let (Some(header), Some(day)) =
            (&inspected.header, inspected.header.as_ref().and_then(|header| header.business_day))
        {
            for (index, movement) in (0_u16..).zip(said) {
                self.movements_expected += 1;
                self.movements.looked_at += 1;
                let should = PostedMovement {
                    account: movement.account,
                    stamp: header.stamp,
                    entry: id,
                    index,
                    business_day: day,
                    unit: movement.unit,
                    kind: movement.kind,
                    amount_minor: movement.amount_minor,
                    of: movement.of,
                    origin_store: movement.origin_store,
                };
                match stands.iter().position(|stands| stands.index == index) {
                    None => self.movements.find("movement", format!("{id} index {index}"), "is missing"),
                    Some(at) => {
                        let stands = stands.swap_remove(at);
                        if stands != should {
                            self.movements.find(
                                "movement",
                                format!("{id} index {index}"),
                                difference(&stands, &should),
                            );
                        }
                    }
                }
                if id.store != StoreId::HUB {
                    let counters = self.counters_of(Purse { account: movement.account, unit: movement.unit }, id);
                    let counter = match movement.kind.direction() {
                        Direction::In => &mut counters.loaded_minor,
                        Direction::Out => &mut counters.spent_minor,
                    };
                    *counter = counter.saturating_add(movement.amount_minor);
                }
            }
        }
        for stray in stands {
            self.movements.find(
                "movement",
                format!("{} index {}", stray.entry, stray.index),
                format!("entry {id} states no such movement"),
            );
        }
        // As ingest does: what belongs to no day owes nothing.
        if let (true, Some(body), Some(Header { business_day: Some(_), .. })) =
            (usable, &inspected.body, &inspected.header)
        {
            self.owed.note(id, body);
            self.debts.note(id, body);
        }
        self.funding(tx, id, row.ingested_no, inspected)?;
        if let Some(header) = inspected.sale() {
            let before = self.expected_used.get(&id.store).copied();
            let used = Used::after(before, id.epoch, id.seq, header.replica.policy, header.at_ms);
            self.expected_used.insert(id.store, used);
        }
        match (&inspected.body, &inspected.header) {
            (Some(Body::Allotment(allotment)), Some(_)) if usable => {
                for change in &allotment.changes {
                    let counters = self.counters_of(Purse { account: change.account, unit: change.unit }, id);
                    counters.adopted_minor = counters.adopted_minor.max(change.adopted_minor.unwrap_or(0));
                    counters.released_minor = counters.released_minor.max(change.released_minor.unwrap_or(0));
                }
            }
            (Some(Body::DayOpen(_)), Some(Header { business_day: Some(day), .. })) if usable => {
                self.expect_open(*day, id, row.ingested_no)
            }
            _ => {}
        }
        Ok(())
    }

    fn funding(
        &mut self,
        tx: &mut Tx<'_>,
        id: EntryId,
        ingested_no: i64,
        inspected: &Inspected,
    ) -> Result<(), StoreError> {
        let mut stands = Vec::new();
        let read = funding::of_ingested(tx, ingested_no).map(|rows| stands = rows);
        readable(&mut self.funding, read)?;
        for (index, &funding) in (0_i64..).zip(&inspected.fundings) {
            self.funding_expected += 1;
            self.funding.looked_at += 1;
            let should = PostedFunding { entry: id, index, ingested_no, funding };
            let name = format!("{id} index {index}");
            match stands.iter().position(|row| (row.entry, row.index) == (id, index)) {
                None => self.funding.find("funding", name, "is missing"),
                Some(at) => {
                    let stands = stands.swap_remove(at);
                    if stands != should {
                        let says = |row: &PostedFunding| {
                            let f = row.funding;
                            format!(
                                "{} bears {} {} at {} on {} ({})",
                                f.funder, f.amount_minor, f.currency, f.seller, f.business_day, f.kind
                            )
                        };
                        let fault = format!("says that {}; the entry says that {}", says(&stands), says(&should));
                        self.funding.find("funding", name, fault);
                    }
                }
            }
        }
        for stray in stands {
            let name = format!("{} index {}", stray.entry, stray.index);
            self.funding.find("funding", name, format!("entry {id} says no such thing"));
        }
        Ok(())
    }

    fn counters_of(&mut self, purse: Purse, id: EntryId) -> &mut StoreCounters {
        self.expected_counters.entry((purse, id.store, id.epoch)).or_default()
    }

    fn expect_open(&mut self, day: BusinessDay, id: EntryId, ingested_no: i64) {
        self.expected_days.entry((id.store, day)).or_insert_with(|| DayRow {
            epoch: i64::from(id.epoch.0),
            seal_seq: None,
            state: "open".to_owned(),
            ingested_no,
            totals: None,
            differences: String::new(),
        });
    }

    fn expect_sealed(
        &mut self,
        day: BusinessDay,
        id: EntryId,
        ingested_no: i64,
        totals: Option<Vec<u8>>,
        differences: &[String],
    ) {
        let row = DayRow {
            epoch: i64::from(id.epoch.0),
            seal_seq: i64::try_from(id.seq.0).ok(),
            state: if differences.is_empty() { "accepted" } else { "differs" }.to_owned(),
            ingested_no,
            totals,
            differences: differences.join("\n"),
        };
        let held = self.expected_days.get(&(id.store, day));
        // Two incarnations may have sealed the same day: the later one counts.
        if held.is_none_or(|held| held.ingested_no < ingested_no || held.seal_seq.is_none()) {
            self.expected_days.insert((id.store, day), row);
        }
    }

    /// Rows that belong to nothing.
    fn strays(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let count = |tx: &mut Tx<'_>, sql: &str| tx.query_one(sql, &[], |row| row.integer(0));
        let stands = count(tx, "SELECT COUNT(*) FROM movement")?.unwrap_or(0);
        if u64::try_from(stands).ok() != Some(self.movements_expected) {
            tx.for_each(
                "SELECT store_id, epoch, seq, idx FROM movement WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.ingested_no = movement.ingested_no)
                 LIMIT 100",
                &[],
                |row| {
                    let id = format!("{}-{}-{} index {}", row.text(0)?, row.integer(1)?, row.integer(2)?, row.integer(3)?);
                    self.movements.find("movement", id, "belongs to no entry");
                    Ok::<(), StoreError>(())
                },
            )?;
        }
        let stands = count(tx, "SELECT COUNT(*) FROM funding")?.unwrap_or(0);
        if u64::try_from(stands).ok() != Some(self.funding_expected) {
            tx.for_each(
                "SELECT store_id, epoch, seq, idx FROM funding WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.ingested_no = funding.ingested_no)
                 LIMIT 100",
                &[],
                |row| {
                    let id = format!("{}-{}-{} index {}", row.text(0)?, row.integer(1)?, row.integer(2)?, row.integer(3)?);
                    self.funding.find("funding", id, "belongs to no entry");
                    Ok::<(), StoreError>(())
                },
            )?;
        }
        tx.for_each(
            "SELECT store_id, epoch, seq FROM entry WHERE NOT EXISTS
             (SELECT 1 FROM journal WHERE journal.store_id = entry.store_id AND journal.epoch = entry.epoch) LIMIT 100",
            &[],
            |row| {
                let id = format!("{}-{}-{}", row.text(0)?, row.integer(1)?, row.integer(2)?);
                self.chains.find("entry", id, "belongs to no journal");
                Ok::<(), StoreError>(())
            },
        )?;
        tx.for_each(
            "SELECT store_id, epoch, seq FROM hold WHERE NOT EXISTS
             (SELECT 1 FROM journal WHERE journal.store_id = hold.store_id AND journal.epoch = hold.epoch) LIMIT 100",
            &[],
            |row| {
                let id = format!("{}-{}-{}", row.text(0)?, row.integer(1)?, row.integer(2)?);
                self.holds.find("hold", id, "belongs to no journal");
                Ok::<(), StoreError>(())
            },
        )
    }

    fn compare_counters(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let (check, expected) = (&mut self.counters, &mut self.expected_counters);
        tx.for_each(
            "SELECT account_id, unit, store_id, epoch, adopted_minor, loaded_minor, spent_minor, released_minor FROM journal_counter",
            &[],
            |row| {
                check.looked_at += 1;
                let name = format!("account {} {} at {}-{}", row.integer(0)?, row.text(1)?, row.text(2)?, row.integer(3)?);
                let stands = StoreCounters {
                    adopted_minor: row.integer(4)?,
                    loaded_minor: row.integer(5)?,
                    spent_minor: row.integer(6)?,
                    released_minor: row.integer(7)?,
                };
                let account = row.integer(0)?.try_into().ok();
                let key = account.and_then(|account| {
                    let unit = row.text(1).ok()?.parse().ok()?;
                    let store = row.text(2).ok()?.parse().ok()?;
                    Some((Purse { account, unit }, store, Epoch(u32::try_from(row.integer(3).ok()?).ok()?)))
                });
                let should = key.and_then(|key| expected.remove(&key)).unwrap_or_default();
                for (what, stands, should) in [
                    ("adopted_minor", stands.adopted_minor, should.adopted_minor),
                    ("loaded_minor", stands.loaded_minor, should.loaded_minor),
                    ("spent_minor", stands.spent_minor, should.spent_minor),
                    ("released_minor", stands.released_minor, should.released_minor),
                ] {
                    check.equal("journal_counter", &name, what, stands, should);
                }
                Ok::<(), StoreError>(())
            },
        )?;
        for ((purse, store, epoch), _) in
            self.expected_counters.drain().filter(|(_, counters)| *counters != StoreCounters::default())
        {
            self.counters.find(
                "journal_counter",
                format!("account {} {} at {store}-{epoch}", purse.account, purse.unit),
                "is missing",
            );
        }
        Ok(())
    }

    fn compare_policies(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for (store, stands) in adoption::all_used(tx)? {
            self.policies.looked_at += 1;
            match self.expected_used.remove(&store) {
                None => self.policies.find("policy_used", store, "no entry is a sale"),
                Some(should) if should == stands => {}
                Some(should) => self.policies.find(
                    "policy_used",
                    store,
                    format!(
                        "is version {} at entry {}; the journal says {} at {}",
                        stands.version, stands.seq, should.version, should.seq
                    ),
                ),
            }
        }
        for store in std::mem::take(&mut self.expected_used).into_keys() {
            self.policies.find("policy_used", store, "is missing");
        }
        Ok(())
    }

    fn compare_days(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let (check, expected) = (&mut self.seals, &mut self.expected_days);
        let read = tx.for_each(
            "SELECT store_id, business_day, epoch, seal_seq, state, ingested_no, totals, differences FROM day",
            &[],
            |row| {
                check.looked_at += 1;
                let key: (StoreId, BusinessDay) =
                    (row.parsed(0, "day", "store_id")?, row.parsed(1, "day", "business_day")?);
                let stands = DayRow {
                    epoch: row.integer(2)?,
                    seal_seq: row.maybe_integer(3)?,
                    state: row.text(4)?.to_owned(),
                    ingested_no: row.integer(5)?,
                    totals: row.maybe_bytes(6)?.map(<[u8]>::to_vec),
                    differences: row.text(7)?.to_owned(),
                };
                let name = format!("{} {}", key.0, key.1);
                match expected.remove(&key) {
                    None => check.find("day", name, "no entry opens or seals it"),
                    Some(should) if should == stands => {}
                    Some(should) if should.state != stands.state => {
                        check.find(
                            "day",
                            name,
                            format!("state is {}; {} follows from the journal", stands.state, should.state),
                        );
                    }
                    Some(should) if should.totals != stands.totals => {
                        check.find("day", name, "totals are not what the entries add up to")
                    }
                    Some(_) => {
                        check.find("day", name, "epoch, seal, number or differences are not those of the journal")
                    }
                }
                Ok::<(), StoreError>(())
            },
        );
        readable(&mut self.seals, read)?;
        for ((store, day), _) in std::mem::take(&mut self.expected_days) {
            self.seals.find("day", format!("{store} {day}"), "is missing");
        }
        Ok(())
    }
}

/// What differs first between two movements.
fn difference(stands: &PostedMovement, should: &PostedMovement) -> String {
    let fields: [(&str, String, String); 6] = [
        ("account_id", stands.account.to_string(), should.account.to_string()),
        ("amount_minor", stands.amount_minor.to_string(), should.amount_minor.to_string()),
        ("kind", stands.kind.to_string(), should.kind.to_string()),
        ("business_day", stands.business_day.to_string(), should.business_day.to_string()),
        ("unit", stands.unit.to_string(), should.unit.to_string()),
        ("stamp", stands.stamp.0.to_string(), should.stamp.0.to_string()),
    ];
    match fields.into_iter().find(|(_, stands, should)| stands != should) {
        Some((field, stands, should)) => format!("{field} is {stands}; the entry says {should}"),
        None => "store, epoch, seq, of or origin_store are not those of the entry".to_owned(),
    }
}
