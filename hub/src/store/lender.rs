//! Lender rows: the living epochs with a line of the risk account, how far they are known, and how far their journals are held. Who is waited for is
//! `crate::lender`'s to say.

use huitong_protocol::allotment::Line;
use huitong_protocol::id::{AccountId, Epoch, Seq, StoreId};
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;

use super::allotment::read_line;
use super::tenure::{ACCOUNTED_COLUMNS, read_accounted};
use super::{StoreError, Tx};
use crate::knowledge::Accounted;

/// A living epoch with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lender {
    /// The store.
    pub store: StoreId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its line, by its reports.
    pub line: Line,
    /// What was drawn of it and came back, by the journal that is held.
    pub told: (i64, i64),
    /// What it said of its cards.
    pub cards: Accounted,
    /// How far its journal is held.
    pub held: Seq,
    /// Whether its journal has forked, and comes no further.
    pub is_forked: bool,
    /// When it was last heard.
    pub last_heard_ms: Option<Instant>,
}

impl Lender {
    /// Up to which version of the cards it is known what it did before it had it.
    #[must_use]
    pub fn accounted(&self) -> i64 {
        self.cards.version(self.held)
    }

    /// Whether it can lend nothing, and all that it lent stands in its journal.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.line.held() <= 0 && (self.line.seen.spent_minor, self.line.seen.loaded_minor) == self.told
    }
}

/// All of them, by store.
///
/// # Errors
/// [`StoreError`].
pub fn all(tx: &mut Tx<'_>, unit: Unit) -> Result<Vec<Lender>, StoreError> {
    let sql = format!(
        "SELECT t.store_id, t.epoch, a.granted_minor, a.adopted_minor, a.loaded_minor, a.spent_minor, a.released_minor, \
         COALESCE(c.spent_minor, 0), COALESCE(c.loaded_minor, 0), COALESCE(j.seq, 0), COALESCE(j.forked, 0), d.last_seen_ms, {ACCOUNTED_COLUMNS} \
         FROM tenure t JOIN allotment a ON a.account_id = $1 AND a.unit = $2 AND a.store_id = t.store_id AND a.epoch = t.epoch \
         LEFT JOIN journal_counter c ON c.account_id = a.account_id AND c.unit = a.unit AND c.store_id = t.store_id AND c.epoch = t.epoch \
         LEFT JOIN journal j ON j.store_id = t.store_id AND j.epoch = t.epoch \
         LEFT JOIN device d ON d.store_id = t.store_id AND d.epoch = t.epoch WHERE t.standing = 'living' ORDER BY t.store_id"
    );
    tx.query(&sql, &[AccountId::RISK.into(), unit.into()], |row| {
        Ok(Lender {
            store: row.parsed(0, "tenure", "store_id")?,
            epoch: Epoch(u32::try_from(row.integer(1)?).unwrap_or(0)),
            line: read_line(row, 2)?,
            told: (row.integer(7)?, row.integer(8)?),
            held: Seq(u64::try_from(row.integer(9)?).unwrap_or(0)),
            is_forked: row.integer(10)? == 1,
            last_heard_ms: row.maybe_integer(11)?.map(Instant),
            cards: read_accounted(row, 12)?,
        })
    })
}
