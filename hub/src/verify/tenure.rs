//! Proofs about epochs: who lives, how far each was heard, and that what was paid back for those that ended is what head office's journal says.

use std::collections::BTreeMap;

use huitong_protocol::id::{AccountId, Hash, Seq, StoreId};
use huitong_protocol::movement::MovementKind;
use huitong_protocol::tenure::Ratchet;
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::from_msgpack;

use super::{Check, readable};
use crate::receipt;
use crate::store::engine::{Row, StoreError, Tx};

pub(super) fn checks(tx: &mut Tx<'_>) -> Result<Vec<Check>, StoreError> {
    let mut check = Check::new(
        "tenures",
        "a store's device is its last epoch, journals hold what was heard, what was paid back for ended epochs is posted, and receipts of them add up",
    );
    let read = epochs(tx, &mut check);
    readable(&mut check, read)?;
    let read = repaid(tx, &mut check);
    readable(&mut check, read)?;
    let read = receipts(tx, &mut check);
    readable(&mut check, read)?;
    Ok(vec![check])
}

fn epochs(tx: &mut Tx<'_>, check: &mut Check) -> Result<(), StoreError> {
    let seq = |number: i64| Seq(u64::try_from(number).unwrap_or(0));
    tx.for_each(
        "SELECT t.store_id, t.epoch, t.standing, t.heard_seq, t.heard_hash, t.turn, t.ratchet, t.told_life, h.incarnation, t.public_key, \
         d.epoch, d.public_key, (SELECT MAX(o.epoch) FROM tenure o WHERE o.store_id = t.store_id), COALESCE(j.seq, 0), e.hash \
         FROM tenure t CROSS JOIN hub h LEFT JOIN device d ON d.store_id = t.store_id \
         LEFT JOIN journal j ON j.store_id = t.store_id AND j.epoch = t.epoch \
         LEFT JOIN entry e ON e.store_id = t.store_id AND e.epoch = t.epoch AND e.seq = t.heard_seq",
        &[],
        |row| {
            let (store, epoch): (StoreId, _) = (row.parsed(0, "tenure", "store_id")?, row.integer(1)?);
            let (key, last, is_living) = (format!("{store}-{epoch}"), row.integer(12)?, row.text(2)? == "living");
            check.looked_at += 1;
            if is_living && epoch != last {
                check.find("tenure", &key, format!("is living, and epoch {last} came after it"));
            }
            if epoch == last {
                check.equal("device", &store, "epoch", row.maybe_integer(10)?.unwrap_or(0), last);
                if row.maybe_bytes(11)? != Some(row.bytes(9)?) {
                    check.find("device", store, "public_key is not that of the last epoch");
                }
            }
            match from_msgpack::<Ratchet>(row.bytes(6)?) {
                Ok(ratchet) => check.equal("tenure", &key, "turn", row.integer(5)?.unsigned_abs(), ratchet.turn),
                Err(fault) => check.find("tenure", &key, format!("ratchet is not valid: {fault}")),
            }
            if row.integer(7)? > row.integer(8)? {
                check.find("tenure", &key, format!("told_life is {}; the hub's life is {}", row.integer(7)?, row.integer(8)?));
            }
            let (heard, held) = (seq(row.integer(3)?), seq(row.integer(13)?));
            let at_heard = if heard == Seq::ZERO { Some(Hash::ZERO.0.as_slice()) } else { row.maybe_bytes(14)? };
            if heard <= held && at_heard != Some(row.bytes(4)?) {
                check.find("tenure", &key, format!("heard_hash is not that of entry {heard}, which the journal holds"));
            }
            Ok(())
        },
    )
}

/// What receipts say of lines is the sum of those that count, each of a file that two people brought, of an epoch that ended and beyond what its
/// reports told, and counts until the journal has its entry.
fn receipts(tx: &mut Tx<'_>, check: &mut Check) -> Result<(), StoreError> {
    tx.for_each(
        "SELECT store_id, epoch, account_id, unit, CAST(SUM(stands_loaded) AS BIGINT), CAST(SUM(stands_spent) AS BIGINT), \
         CAST(SUM(loaded) AS BIGINT), CAST(SUM(spent) AS BIGINT) FROM ( \
         SELECT store_id, epoch, account_id, unit, receipt_loaded_minor AS stands_loaded, receipt_spent_minor AS stands_spent, 0 AS loaded, 0 AS spent \
         FROM suspense UNION ALL \
         SELECT store_id, epoch, account_id, unit, 0, 0, CASE WHEN kind = 'spend' THEN 0 ELSE amount_minor END, \
         CASE WHEN kind = 'spend' THEN amount_minor ELSE 0 END FROM receipt WHERE superseded_at_ms IS NULL) AS line \
         GROUP BY store_id, epoch, account_id, unit",
        &[],
        |row| {
            let key =
                format!("account {} {} at {}-{}", row.integer(2)?, row.text(3)?, row.text(0)?, row.integer(1)?);
            check.looked_at += 1;
            check.equal("suspense", &key, "receipt_loaded_minor", row.integer(4)?, row.integer(6)?);
            check.equal("suspense", &key, "receipt_spent_minor", row.integer(5)?, row.integer(7)?);
            Ok::<(), StoreError>(())
        },
    )?;
    tx.for_each(
        "SELECT r.store_id, r.epoch, r.seq, f.file_no, f.asked_by, f.applied_by, f.store_id, f.epoch, t.heard_seq FROM receipt r \
         LEFT JOIN receipt_file f ON f.file_no = r.file_no \
         LEFT JOIN tenure t ON t.store_id = r.store_id AND t.epoch = r.epoch AND t.standing = 'fenced'",
        &[],
        |row| {
            let key = format!("{}-{}-{}", row.text(0)?, row.integer(1)?, row.integer(2)?);
            check.looked_at += 1;
            let people = (row.maybe_text(4)?, row.maybe_text(5)?);
            if !matches!(people, (Some(asked), Some(applied)) if asked.to_lowercase() != applied.to_lowercase()) {
                check.find("receipt", &key, "was not brought by two people");
            }
            if row.maybe_text(6)? != Some(row.text(0)?) || row.maybe_integer(7)? != Some(row.integer(1)?) {
                check.find("receipt", &key, "is of another epoch than its file");
            }
            match row.maybe_integer(8)? {
                None => check.find("receipt", &key, "counts for an epoch that has not ended"),
                Some(heard) if row.integer(2)? <= heard => {
                    check.find("receipt", &key, format!("is of an entry that was heard, as all are up to {heard}"));
                }
                Some(_) => {}
            }
            Ok::<(), StoreError>(())
        },
    )?;
    for (entry, fault) in receipt::misjudged(tx)? {
        check.find("receipt", entry.to_string(), fault);
    }
    Ok(())
}

type Paid = BTreeMap<(AccountId, Unit), i128>;

fn purse(row: &Row<'_>, table: &'static str) -> Result<(AccountId, Unit), StoreError> {
    let number = row.integer(0)?;
    let account = AccountId::new(number).map_err(|why| StoreError::Value {
        table,
        column: "account_id",
        row: number.to_string(),
        fault: why.to_string(),
    })?;
    Ok((account, row.parsed(1, table, "unit")?))
}

fn repaid(tx: &mut Tx<'_>, check: &mut Check) -> Result<(), StoreError> {
    let (mut paid, mut posted) = (Paid::new(), Paid::new());
    tx.for_each(
        "SELECT s.account_id, s.unit, s.store_id, s.epoch, s.repaid_minor, t.standing FROM suspense s \
         LEFT JOIN tenure t ON t.store_id = s.store_id AND t.epoch = s.epoch",
        &[],
        |row| {
            let (account, unit) = purse(row, "suspense")?;
            check.looked_at += 1;
            *paid.entry((account, unit)).or_default() += i128::from(row.integer(4)?);
            if row.maybe_text(5)? != Some("fenced") {
                let key = format!("account {account} {unit} at {}-{}", row.text(2)?, row.integer(3)?);
                check.find("suspense", key, "was paid back for, and the epoch has not ended");
            }
            Ok::<(), StoreError>(())
        },
    )?;
    tx.for_each(
        "SELECT movement.account_id, movement.unit, CAST(SUM(movement.amount_minor) AS BIGINT) FROM entry \
         JOIN movement ON movement.ingested_no = entry.ingested_no WHERE entry.store_id = $1 AND movement.kind = $2 \
         GROUP BY movement.account_id, movement.unit",
        &[(&StoreId::HUB).into(), MovementKind::SuspenseRepaid.into()],
        |row| {
            *posted.entry(purse(row, "movement")?).or_default() += i128::from(row.integer(2)?);
            Ok::<(), StoreError>(())
        },
    )?;
    let mut purses: Vec<(AccountId, Unit)> = paid.keys().chain(posted.keys()).copied().collect();
    purses.sort_unstable();
    purses.dedup();
    for purse in purses {
        check.looked_at += 1;
        let (stands, should) = (paid.get(&purse).copied().unwrap_or(0), posted.get(&purse).copied().unwrap_or(0));
        let (account, unit) = purse;
        check.equal("suspense", &format_args!("account {account} {unit}"), "what was paid back", stands, should);
    }
    Ok(())
}
