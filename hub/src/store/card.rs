//! Card rows as the sync side changes them: status as stores tell it, allocation as stores ask for it.
//!
//! Invariant: every change gets the next version of the dataset in the same transaction, so that all stores hear of it.

use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::id::{AccountId, MemberId, StoreId};
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::wire::DatasetKind;

use super::dataset::{self, CARD_COLUMNS};
use super::{StoreError, Tx};

/// A card by its number.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, number: CardNumber) -> Result<Option<Card>, StoreError> {
    tx.query_one(&format!("SELECT {CARD_COLUMNS} FROM card WHERE number = $1"), &[(&number).into()], dataset::read_card)
}

/// The version of the cards with which a card last changed.
///
/// # Errors
/// [`StoreError`].
pub fn version(tx: &mut Tx<'_>, number: CardNumber) -> Result<Option<i64>, StoreError> {
    tx.query_one("SELECT version FROM card WHERE number = $1", &[(&number).into()], |row| row.integer(0))
}

/// Whether any card opens the account: the hub mints an account only with its card. The group's risk account is there without one.
///
/// # Errors
/// [`StoreError`].
pub fn opens(tx: &mut Tx<'_>, account: AccountId) -> Result<bool, StoreError> {
    if account == AccountId::RISK {
        return Ok(true);
    }
    let found =
        tx.query_one("SELECT 1 FROM card WHERE account_id = $1 LIMIT 1", &[account.into()], |row| row.integer(0))?;
    Ok(found.is_some())
}

/// Whether another card of the account is in a customer's hands: all but those never sold and those that are over.
///
/// # Errors
/// [`StoreError`].
pub fn others_in_use(tx: &mut Tx<'_>, card: &Card) -> Result<bool, StoreError> {
    let found = tx.query_one(
        "SELECT 1 FROM card WHERE account_id = $1 AND number <> $2 AND status IN ('active', 'frozen', 'lost') LIMIT 1",
        &[card.account.into(), (&card.number).into()],
        |row| row.integer(0),
    )?;
    Ok(found.is_some())
}

/// Whether any card of the account can pay: what is parked of it is of use to somebody.
///
/// # Errors
/// [`StoreError`].
pub fn any_active(tx: &mut Tx<'_>, account: AccountId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM card WHERE account_id = $1 AND status = 'active' LIMIT 1";
    Ok(tx.query_one(sql, &[account.into()], |row| row.integer(0))?.is_some())
}

/// The blank cards of an account.
///
/// # Errors
/// [`StoreError`].
pub fn unsold(tx: &mut Tx<'_>, account: AccountId) -> Result<Vec<CardNumber>, StoreError> {
    tx.query(
        "SELECT number FROM card WHERE account_id = $1 AND status = 'blank' ORDER BY number",
        &[account.into()],
        |row| row.parsed(0, "card", "number"),
    )
}

/// The cards that are kept out of sale until their account is found empty.
///
/// # Errors
/// [`StoreError`].
pub fn withdrawn(tx: &mut Tx<'_>) -> Result<Vec<CardNumber>, StoreError> {
    tx.query("SELECT number FROM card WHERE status = 'withdrawn' ORDER BY number", &[], |row| {
        row.parsed(0, "card", "number")
    })
}

/// The largest stamp with which the card was ever frozen or lost here.
///
/// # Errors
/// [`StoreError`].
pub fn stopped_at(tx: &mut Tx<'_>, number: CardNumber) -> Result<Stamp, StoreError> {
    let found =
        tx.query_one("SELECT stop_stamp FROM card WHERE number = $1", &[(&number).into()], |row| row.integer(0))?;
    Ok(Stamp(found.unwrap_or(0)))
}

/// Not before when a store sold a card that is in somebody's hands, by what stores have reported; nothing when no store has.
///
/// # Errors
/// [`StoreError`].
pub fn sold_since(tx: &mut Tx<'_>, number: CardNumber) -> Result<Option<Stamp>, StoreError> {
    let sql = "SELECT sold_stamp FROM card WHERE number = $1";
    let found = tx.query_one(sql, &[(&number).into()], |row| row.maybe_integer(0))?;
    Ok(found.flatten().map(Stamp))
}

/// Sets a card's status, as a store reports it or because it went back to the rack. A card in nobody's hands is nobody's: whoever buys it next must not get the prices and the name of whoever gave it back.
///
/// # Errors
/// [`StoreError`].
pub fn set_status(tx: &mut Tx<'_>, number: CardNumber, status: CardStatus, stamp: Stamp) -> Result<(), StoreError> {
    let version = dataset::advance(tx, DatasetKind::Cards, 1)?;
    let sql = "SELECT stop_version FROM card WHERE number = $1";
    let was_stopped = tx.query_one(sql, &[(&number).into()], |row| row.maybe_integer(0))?.flatten().is_some();
    if status.is_stopped() != was_stopped {
        dataset::hurry(tx, version)?;
    }
    // A store makes a card active by selling it, and with that entry's stamp. One that was stopped before its sale was told was sold after it was last
    // in nobody's hands.
    tx.execute_one(
        "set a card's status",
        "card",
        "UPDATE card SET status = $2, status_stamp = $3, version = $4, \
         stop_stamp = CASE WHEN $2 IN ('frozen', 'lost') THEN $3 ELSE stop_stamp END, \
         stop_version = CASE WHEN $2 IN ('frozen', 'lost') THEN COALESCE(stop_version, $4) END, \
         sold_stamp = CASE WHEN $2 = 'active' THEN $3 WHEN $2 IN ('blank', 'withdrawn') THEN NULL \
         WHEN status IN ('blank', 'withdrawn') THEN status_stamp ELSE sold_stamp END, \
         member_id = CASE WHEN $2 IN ('blank', 'withdrawn') THEN NULL ELSE member_id END WHERE number = $1",
        &[(&number).into(), status.into(), stamp.into(), version.into()],
    )
}

/// Says every stop again, with the next versions and as of now. Whoever lifted one in a time that the hub has forgotten lifts it again; until then no
/// store lets such a card pay that another refuses.
///
/// # Errors
/// [`StoreError`].
pub fn stop_again(tx: &mut Tx<'_>, now: Instant) -> Result<(), StoreError> {
    let sql = "SELECT number, status_stamp FROM card WHERE stop_version IS NOT NULL ORDER BY stop_version";
    let stopped: Vec<(CardNumber, Stamp)> =
        tx.query(sql, &[], |row| Ok::<_, StoreError>((row.parsed(0, "card", "number")?, Stamp(row.integer(1)?))))?;
    for (number, stamp) in stopped {
        let version = dataset::advance(tx, DatasetKind::Cards, 1)?;
        dataset::hurry(tx, version)?;
        let stamp = Stamp::next(now, stamp, Stamp::ZERO);
        tx.execute_one(
            "stop a card again",
            "card",
            "UPDATE card SET status_stamp = $2, stop_stamp = $2, stop_version = $3, version = $3 WHERE number = $1",
            &[(&number).into(), stamp.into(), version.into()],
        )?;
    }
    Ok(())
}

/// Makes a card a member's.
///
/// # Errors
/// [`StoreError`].
pub fn bind(tx: &mut Tx<'_>, number: CardNumber, member: MemberId) -> Result<(), StoreError> {
    let version = dataset::advance(tx, DatasetKind::Cards, 1)?;
    tx.execute_one(
        "bind a card",
        "card",
        "UPDATE card SET member_id = $2, version = $3 WHERE number = $1",
        &[(&number).into(), member.into(), version.into()],
    )
}

/// Makes a card nobody's.
///
/// # Errors
/// [`StoreError`].
pub fn unbind(tx: &mut Tx<'_>, number: CardNumber) -> Result<(), StoreError> {
    let version = dataset::advance(tx, DatasetKind::Cards, 1)?;
    tx.execute_one(
        "unbind a card",
        "card",
        "UPDATE card SET member_id = NULL, version = $2 WHERE number = $1",
        &[(&number).into(), version.into()],
    )
}

/// Moves a blank card's allocation to a store.
///
/// # Errors
/// [`StoreError`].
pub fn allocate(tx: &mut Tx<'_>, number: CardNumber, store: StoreId) -> Result<(), StoreError> {
    let version = dataset::advance(tx, DatasetKind::Cards, 1)?;
    tx.execute_one(
        "allocate a card",
        "card",
        "UPDATE card SET allocated_store = $2, version = $3 WHERE number = $1",
        &[(&number).into(), (&store).into(), version.into()],
    )
}
