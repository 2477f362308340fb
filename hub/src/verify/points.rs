//! Proofs about points that are owed and due: deferred earnings and claims are those of the entries, and what head office gave and took for them is what
//! its own journal says.

use std::collections::BTreeMap;

use huitong_protocol::entry::Body;
use huitong_protocol::id::{EntryId, StoreId};
use huitong_protocol::unit::Unit;

use super::Check;
use crate::store::deferred::State;
use crate::store::engine::{StoreError, Tx};
use crate::store::{claim, deferred};

/// Rows read at once.
const PAGE: usize = 1_000;

/// What the entries say that rows must be.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// Per sale: points, and what of them came back.
    deferred: BTreeMap<EntryId, (i64, i64)>,
    /// How many entries were read for it.
    looked_at: u64,
    /// Per place in an entry: points that could not be taken back.
    claims: BTreeMap<(EntryId, u16), i64>,
}

impl Owed {
    /// Notes what a usable entry says. A sale is noted before what comes back of it.
    pub(super) fn note(&mut self, id: EntryId, body: &Body) {
        self.looked_at += 1;
        for (index, movement) in (0_u16..).zip(body.movements()) {
            if movement.unit == Unit::Points && movement.shortfall_minor > 0 {
                self.claims.insert((id, index), movement.shortfall_minor);
            }
        }
        let (of, back) = match body {
            Body::Sale(sale) => {
                if let Some(deferred) = &sale.deferred {
                    self.deferred.insert(id, (deferred.points, 0));
                }
                return;
            }
            Body::Void(void) => (void.of, i64::MAX),
            Body::Return(back) => (back.of, back.deferred_points),
            _ => return,
        };
        if let Some((points, came)) = self.deferred.get_mut(&of) {
            *came = came.saturating_add(back).min(*points);
        }
    }

    /// Compares with the rows.
    pub(super) fn compare(mut self, tx: &mut Tx<'_>, check: &mut Check) -> Result<(), StoreError> {
        check.looked_at += self.looked_at;
        let (mut after, mut given) = (None, BTreeMap::new());
        loop {
            let rows = deferred::page(tx, after, PAGE)?;
            for row in &rows {
                let (points, back) = self.deferred.remove(&row.sale).unwrap_or_default();
                check.equal("deferred_earning", &row.sale, "points", row.points, points);
                check.equal("deferred_earning", &row.sale, "back_points", row.back_points, back);
                if let State::Given { entry, .. } = row.state {
                    given.insert(entry, (row.sale, row.left()));
                }
            }
            match rows.last() {
                Some(last) => after = Some(last.sale),
                None => break,
            }
        }
        for sale in self.deferred.into_keys() {
            check.find("deferred_earning", sale, "is missing");
        }
        let (mut after, mut settled, mut claimed) = (0, 0_i64, BTreeMap::<EntryId, i64>::new());
        loop {
            let rows = claim::page(tx, true, after, PAGE)?;
            for row in &rows {
                settled = settled.saturating_add(row.settled_points);
                // What came back of points that head office gave is claimed by the entry as a whole, not by one of its movements.
                match (self.claims.remove(&(row.entry, row.index)), row.of) {
                    (Some(points), _) => check.equal("points_claim", &row.number, "points", row.points, points),
                    (None, Some(of)) if given.contains_key(&of.entry) => {
                        *claimed.entry(of.entry).or_default() += row.points;
                    }
                    (None, _) => {
                        check.find("points_claim", row.number, format!("entry {} says nothing of it", row.entry))
                    }
                }
            }
            match rows.last() {
                Some(last) => after = last.number,
                None => break,
            }
        }
        for (entry, index) in self.claims.into_keys() {
            check.find("points_claim", format!("{entry} index {index}"), "is missing");
        }
        let (mut earned, mut taken) = (BTreeMap::<EntryId, i64>::new(), 0_i64);
        tx.for_each(
            "SELECT entry.epoch, entry.seq, movement.kind, movement.amount_minor FROM entry \
             JOIN movement ON movement.ingested_no = entry.ingested_no \
             WHERE entry.store_id = $1 AND movement.kind IN ('earn', 'earn_reversal')",
            &[(&StoreId::HUB).into()],
            |row| {
                let epoch = huitong_protocol::id::Epoch(u32::try_from(row.integer(0)?).unwrap_or(0));
                let seq = huitong_protocol::id::Seq(u64::try_from(row.integer(1)?).unwrap_or(0));
                let amount = row.integer(3)?;
                if row.text(2)? == "earn" {
                    *earned.entry(EntryId { store: StoreId::HUB, epoch, seq }).or_default() += amount;
                } else {
                    taken = taken.saturating_add(amount);
                }
                Ok::<(), StoreError>(())
            },
        )?;
        for (entry, (sale, points)) in given {
            let stands = earned.remove(&entry).unwrap_or(0).saturating_sub(claimed.get(&entry).copied().unwrap_or(0));
            check.equal("deferred_earning", &sale, "what was given less what is claimed", stands, points);
        }
        for entry in earned.into_keys() {
            check.find("entry", entry, "gives points for no sale");
        }
        check.equal("points_claim", &"all", "settled_points", settled, taken);
        Ok(())
    }
}
