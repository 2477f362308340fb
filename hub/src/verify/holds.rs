//! Proofs about holds: what a journal says became of them, and that the rows say the same.

use std::collections::BTreeMap;

use huitong_protocol::entry::Body;
use huitong_protocol::holds::{Placed, endings, judge};
use huitong_protocol::id::{EntryId, Epoch, OperationId, StoreId};

use super::{Check, readable};
use crate::inspect::Inspected;
use crate::store::engine::{StoreError, Tx};
use crate::store::hold;

/// The holds of the journal that is being read.
#[derive(Default)]
pub(super) struct Holds {
    placed: BTreeMap<OperationId, Placed>,
}

impl Holds {
    pub(super) fn check() -> Check {
        Check::new("holds", "a hold ends at most once, pays at most what it set aside, and from its own account")
    }

    /// Takes an entry, and finds what is wrong with the holds that it ends.
    pub(super) fn take(&mut self, check: &mut Check, id: EntryId, inspected: &Inspected) {
        let Inspected { header: Some(header), body: Some(body), fault: None, .. } = inspected else { return };
        if let Some(placed) = Placed::by(id, body) {
            check.looked_at += 1;
            self.placed.entry(header.operation).or_insert(placed);
        }
        self.end(check, id, body);
    }

    fn end(&mut self, check: &mut Check, id: EntryId, body: &Body) {
        for (operation, ending) in endings(body) {
            let placed = self.placed.get_mut(&operation);
            if let Some(fault) = judge(placed.as_deref(), &ending) {
                check.find("entry", id, format!("ends hold {operation}: {fault}"));
            }
            if let Some(placed) = placed {
                placed.ended_by.get_or_insert(id);
            }
        }
    }

    /// Compares the rows of a journal that was read to its end.
    pub(super) fn compare(
        mut self,
        tx: &mut Tx<'_>,
        check: &mut Check,
        (store, epoch): (StoreId, Epoch),
    ) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        readable(check, hold::of_epoch(tx, store, epoch).map(|found| rows = found))?;
        for (operation, stands) in rows {
            let name = format!("{store}-{epoch} hold {operation}");
            match self.placed.remove(&operation) {
                Some(should) if should == stands => {}
                Some(_) => check.find("hold", name, "is not as the journal placed or ended it"),
                None => check.find("hold", name, "no entry placed it"),
            }
        }
        for operation in self.placed.into_keys() {
            check.find("hold", format!("{store}-{epoch} hold {operation}"), "is missing");
        }
        Ok(())
    }
}
