//! Cards: the store's replica, and the changes of status that the hub is to be told: those that were made here, and stops that a hub which began another life
//! may have forgotten.

use huitong_protocol::card::{Card, CardChange, CardNumber, CardStatus};
use huitong_protocol::id::{AccountId, MemberId};
use huitong_protocol::time::Stamp;
use rusqlite::Row;

use super::{ReadTx, StoreError, WriteTx, cell, column, maybe_parsed, parsed};

fn bad(column: &'static str, fault: impl ToString) -> StoreError {
    StoreError::Value { table: "card", column, fault: fault.to_string() }
}

fn read_status(row: &Row<'_>, at: usize) -> Result<CardStatus, StoreError> {
    let text = row.get_ref(at).map_err(StoreError::during("read a column"))?;
    CardStatus::new(text.as_str().map_err(|error| bad("status", error))?).map_err(|error| bad("status", error))
}

/// A card by its number.
///
/// # Errors
/// [`StoreError`] of the engine, or a row that is not a card.
pub fn find(tx: &ReadTx<'_>, number: CardNumber) -> Result<Option<Card>, StoreError> {
    tx.one(
        "read a card",
        "SELECT product, account, status, status_stamp, allocated_store, member, expires_on FROM card WHERE number = ?1",
        [number.reveal()],
        |row| {
            let member: Option<i64> = cell(row, 5)?;
            Ok(Card {
                number,
                product: parsed(row, 0, "card", "product")?,
                account: AccountId::new(cell(row, 1)?).map_err(|error| bad("account", error))?,
                status: read_status(row, 2)?,
                status_stamp: Stamp(cell(row, 3)?),
                allocated_store: maybe_parsed(row, 4, "card", "allocated_store")?,
                member: member.map(MemberId::new).transpose().map_err(|error| bad("member", error))?,
                expires_on: maybe_parsed(row, 6, "card", "expires_on")?,
            })
        },
    )
}

/// Takes a card as the hub has it. A status that was set here later than the hub's stays: the hub has not heard of it yet. `version` is that of the
/// dataset page; an answer to a question has none.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn upsert_from_hub(tx: &mut WriteTx<'_>, card: &Card, version: Option<u64>) -> Result<(), StoreError> {
    tx.observe(card.status_stamp);
    let expires_on = card.expires_on.map(|day| day.to_string());
    tx.execute_one(
        "write a card",
        "INSERT INTO card (number, product, account, status, status_stamp, allocated_store, member, expires_on, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (number) DO UPDATE SET product = excluded.product, account = excluded.account,
           status = CASE WHEN card.status_stamp > excluded.status_stamp THEN card.status ELSE excluded.status END,
           status_stamp = MAX(card.status_stamp, excluded.status_stamp), allocated_store = excluded.allocated_store,
           member = excluded.member, expires_on = excluded.expires_on, version = MAX(card.version, excluded.version)",
        (
            card.number.reveal(),
            card.product.as_str(),
            card.account.get(),
            card.status.as_str(),
            card.status_stamp.0,
            card.allocated_store.as_ref().map(huitong_protocol::id::StoreId::as_str),
            card.member.map(MemberId::get),
            expires_on,
            column(version.unwrap_or(0)),
        ),
    )
}

/// Changes a card's status here, with the stamp of the entry that says so.
///
/// # Errors
/// [`StoreError::Rows`] when there is no such card.
pub fn set_status(
    tx: &mut WriteTx<'_>,
    number: CardNumber,
    status: CardStatus,
    stamp: Stamp,
) -> Result<(), StoreError> {
    let change_no = tx.next_change_no();
    tx.execute_one(
        "change a card's status",
        "UPDATE card SET status = ?2, status_stamp = ?3, local_change_no = ?4 WHERE number = ?1",
        (number.reveal(), status.as_str(), stamp.0, change_no),
    )
}

/// The hub began another life and may have forgotten cards that were stopped, whoever did it: what is known of them here is told to it, each with a number of
/// its own. Until it says something later of a card, the card stays stopped here whatever it publishes. The stops that were made here are told again anyway.
pub(super) fn tell_stops_again(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    tx.execute("forget which stops were told again", "DELETE FROM heard_stop", [])?;
    let last = tx.chain().change_no;
    let rows = tx.execute(
        "keep the stops that are told again",
        "INSERT INTO heard_stop (change_no, number, status, status_stamp)
         SELECT ?1 + row_number() OVER (ORDER BY number), number, status, status_stamp FROM card
         WHERE status IN ('frozen', 'lost') AND local_change_no IS NULL",
        [last],
    )?;
    tx.chain_mut().change_no = last.saturating_add(i64::try_from(rows).unwrap_or(i64::MAX));
    Ok(())
}

pub(super) fn last_change_no(tx: &ReadTx<'_>) -> Result<i64, StoreError> {
    let sql = "SELECT MAX(COALESCE((SELECT MAX(local_change_no) FROM card WHERE local_change_no IS NOT NULL), 0),
               COALESCE((SELECT MAX(change_no) FROM heard_stop), 0))";
    let last = tx.one("find the last change", sql, [], |row| cell::<i64>(row, 0))?;
    Ok(last.unwrap_or(0))
}

/// The status changes that are to be told after a change number, oldest first, each with its number.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn status_changes_after(
    tx: &ReadTx<'_>,
    change_no: i64,
    limit: usize,
) -> Result<Vec<(i64, CardChange)>, StoreError> {
    tx.all(
        "read changed cards",
        "SELECT number, status, status_stamp, local_change_no AS change_no FROM card
         WHERE local_change_no IS NOT NULL AND local_change_no > ?1
         UNION ALL SELECT number, status, status_stamp, change_no FROM heard_stop WHERE change_no > ?1
         ORDER BY change_no LIMIT ?2",
        (change_no, column(limit as u64)),
        |row| {
            let number = parsed(row, 0, "card", "number")?;
            Ok((cell(row, 3)?, CardChange { number, status: read_status(row, 1)?, stamp: Stamp(cell(row, 2)?) }))
        },
    )
}
