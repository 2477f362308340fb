//! Adoption: which policy each store has, has in force, and used last. The first two are the store's own words, the last is read from its journal.

use huitong_protocol::bundle::{PolicyFault, PolicyState, RefusedPolicy};
use huitong_protocol::id::{Epoch, Seq, StoreId};
use huitong_protocol::reconcile::{Class, Finding};
use huitong_protocol::time::Instant;

use super::{Row, StoreError, Tx, exception};

/// How many publications a backup may miss. More is no backup but a store that invents numbers.
const LOST_VERSIONS_MAX: i64 = 10_000;

/// What a store said of its policies, and since when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stated {
    /// The incarnation that said it.
    pub epoch: Epoch,
    /// The words.
    pub state: PolicyState,
    /// Since when it holds what it holds, as far as the hub heard.
    pub held_since_ms: Instant,
    /// Since when that one is in force.
    pub in_force_since_ms: Instant,
    /// When it said so.
    pub stated_at_ms: Instant,
}

fn count(row: &Row<'_>, at: usize) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.integer(at)?).unwrap_or(0))
}

fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn epoch(row: &Row<'_>, at: usize) -> Result<Epoch, StoreError> {
    Ok(Epoch(u32::try_from(row.integer(at)?).unwrap_or(0)))
}

/// What a store said last.
///
/// # Errors
/// [`StoreError`].
pub fn stated(tx: &mut Tx<'_>, store: StoreId) -> Result<Option<Stated>, StoreError> {
    let stated = tx.query_one(
        "SELECT epoch, held, in_force, held_since_ms, in_force_since_ms, stated_at_ms FROM policy_state WHERE store_id = $1",
        &[(&store).into()],
        |row| {
            Ok::<_, StoreError>(Stated {
                epoch: epoch(row, 0)?,
                state: PolicyState { held: count(row, 1)?, in_force: count(row, 2)?, refused: Vec::new() },
                held_since_ms: Instant(row.integer(3)?),
                in_force_since_ms: Instant(row.integer(4)?),
                stated_at_ms: Instant(row.integer(5)?),
            })
        },
    )?;
    let Some(mut stated) = stated else { return Ok(None) };
    stated.state.refused = tx.query(
        "SELECT version, fault, detail FROM policy_refused WHERE store_id = $1 ORDER BY position",
        &[(&store).into()],
        |row| {
            Ok::<_, StoreError>(RefusedPolicy {
                version: count(row, 0)?,
                fault: row.parsed::<PolicyFault>(1, "policy_refused", "fault")?,
                detail: row.text(2)?.to_owned(),
            })
        },
    )?;
    Ok(Some(stated))
}

/// Takes what a store says, and raises an exception for each policy that it refused.
///
/// # Errors
/// [`StoreError`].
pub fn state(
    tx: &mut Tx<'_>,
    store: StoreId,
    epoch: Epoch,
    state: &PolicyState,
    now: Instant,
) -> Result<(), StoreError> {
    tx.execute_one(
        "keep a store's word on its policies",
        "policy_state",
        "INSERT INTO policy_state (store_id, epoch, held, in_force, held_since_ms, in_force_since_ms, stated_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $5, $5) ON CONFLICT (store_id) DO UPDATE SET \
         held_since_ms = CASE WHEN policy_state.held = excluded.held AND policy_state.epoch = excluded.epoch \
         THEN policy_state.held_since_ms ELSE excluded.held_since_ms END, \
         in_force_since_ms = CASE WHEN policy_state.in_force = excluded.in_force AND policy_state.epoch = excluded.epoch \
         THEN policy_state.in_force_since_ms ELSE excluded.in_force_since_ms END, \
         epoch = excluded.epoch, held = excluded.held, in_force = excluded.in_force, stated_at_ms = excluded.stated_at_ms",
        &[(&store).into(), epoch.into(), column(state.held).into(), column(state.in_force).into(), now.into()],
    )?;
    tx.execute("DELETE FROM policy_refused WHERE store_id = $1", &[(&store).into()])?;
    for (position, refused) in (0_i64..).zip(&state.refused) {
        tx.execute_one(
            "keep a policy that a store refused",
            "policy_refused",
            "INSERT INTO policy_refused (store_id, position, version, fault, detail) VALUES ($1, $2, $3, $4, $5)",
            &[
                (&store).into(),
                position.into(),
                column(refused.version).into(),
                refused.fault.as_str().into(),
                (&refused.detail).into(),
            ],
        )?;
        let finding = Finding {
            class: Class::PolicyRefused,
            store: Some(store),
            // Not by the version that it claims: who forges one may claim any, and would raise as many exceptions.
            subject: format!("{store}-{epoch} after policy {} {}", state.held, refused.fault),
            evidence: refused.to_string().into(),
        };
        exception::raise(tx, &finding, now)?;
    }
    Ok(())
}

/// The newest version that any store said it holds, as far above `newest` as a restored backup of the hub explains; `newest` when none is above.
///
/// # Errors
/// [`StoreError`].
pub fn highest_held(tx: &mut Tx<'_>, newest: i64) -> Result<i64, StoreError> {
    let highest = tx.query_one(
        "SELECT held FROM policy_state WHERE held > $1 AND held <= $2 ORDER BY held DESC LIMIT 1",
        &[newest.into(), newest.saturating_add(LOST_VERSIONS_MAX).into()],
        |row| row.integer(0),
    )?;
    Ok(highest.unwrap_or(newest))
}

/// The policy of a store's last sale. A projection of its journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// The incarnation.
    pub epoch: Epoch,
    /// The last sale.
    pub seq: Seq,
    /// The version in its header.
    pub version: u64,
    /// When the first sale under it was, of those in a row up to the last one.
    pub since_ms: Instant,
    /// When the last sale was.
    pub at_ms: Instant,
}

impl Used {
    /// What is so after another sale. Sales of an incarnation come in their order; one of an older incarnation changes nothing.
    #[must_use]
    pub fn after(before: Option<Self>, epoch: Epoch, seq: Seq, version: u64, at_ms: Instant) -> Self {
        match before {
            Some(before) if (before.epoch, before.seq) >= (epoch, seq) => before,
            Some(before) if (before.epoch, before.version) == (epoch, version) => Self { seq, at_ms, ..before },
            _ => Self { epoch, seq, version, since_ms: at_ms, at_ms },
        }
    }
}

/// The policy of a store's last sale.
///
/// # Errors
/// [`StoreError`].
pub fn used(tx: &mut Tx<'_>, store: StoreId) -> Result<Option<Used>, StoreError> {
    tx.query_one(
        "SELECT epoch, seq, version, since_ms, at_ms FROM policy_used WHERE store_id = $1",
        &[(&store).into()],
        |row| {
            Ok(Used {
                epoch: epoch(row, 0)?,
                seq: Seq(count(row, 1)?),
                version: count(row, 2)?,
                since_ms: Instant(row.integer(3)?),
                at_ms: Instant(row.integer(4)?),
            })
        },
    )
}

/// Every store's last use.
///
/// # Errors
/// [`StoreError`].
pub fn all_used(tx: &mut Tx<'_>) -> Result<Vec<(StoreId, Used)>, StoreError> {
    let stores: Vec<StoreId> = tx.query("SELECT store_id FROM policy_used ORDER BY store_id", &[], |row| {
        row.parsed(0, "policy_used", "store_id")
    })?;
    let mut found = Vec::with_capacity(stores.len());
    for store in stores {
        found.extend(used(tx, store)?.map(|used| (store, used)));
    }
    Ok(found)
}

/// Writes the policy of a store's last sale.
///
/// # Errors
/// [`StoreError`].
pub fn put_used(tx: &mut Tx<'_>, store: StoreId, used: &Used) -> Result<(), StoreError> {
    tx.execute_one(
        "note the policy of a sale",
        "policy_used",
        "INSERT INTO policy_used (store_id, epoch, seq, version, since_ms, at_ms) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (store_id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, version = excluded.version, \
         since_ms = excluded.since_ms, at_ms = excluded.at_ms",
        &[
            (&store).into(),
            used.epoch.into(),
            used.seq.into(),
            column(used.version).into(),
            used.since_ms.into(),
            used.at_ms.into(),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sale_of_the_newest_incarnation_counts() {
        let sold =
            |before, (epoch, seq, version), at_ms| Used::after(before, Epoch(epoch), Seq(seq), version, Instant(at_ms));
        let first = sold(None, (1, 5, 2), 100);
        let same = sold(Some(first), (1, 7, 2), 200);
        assert_eq!((same.version, same.since_ms, same.at_ms), (2, Instant(100), Instant(200)));
        let next = sold(Some(same), (1, 8, 3), 300);
        assert_eq!((next.version, next.since_ms), (3, Instant(300)));
        assert_eq!(sold(Some(next), (1, 6, 9), 400), next, "one that was counted");
        let again = sold(Some(next), (2, 1, 3), 500);
        assert_eq!(again.since_ms, Instant(500), "another incarnation begins anew");
        assert_eq!(sold(Some(again), (1, 9, 4), 600), again, "an older one comes late");
    }
}
