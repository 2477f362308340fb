//! Hot rows: stopped cards, what is held of their accounts, and which living epochs there are to know of them. What a finder could take is `crate::hot`'s.

use huitong_protocol::allotment::{Fenced, Line, Pool, Purse};
use huitong_protocol::card::Card;
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::DatasetKind;

use super::allotment::read_line;
use super::dataset::{self, CARD_COLUMNS, read_card};
use super::{Row, StoreError, Tx, allotment, card, suspense};

/// A card that is stopped, and the version with which it became so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopped {
    /// The card.
    pub card: Card,
    /// Who has this version knows.
    pub version: i64,
}

/// The stopped cards, of one account or all, in the order in which they were stopped.
///
/// # Errors
/// [`StoreError`].
pub fn stopped(tx: &mut Tx<'_>, account: Option<AccountId>) -> Result<Vec<Stopped>, StoreError> {
    let read = |row: &Row<'_>| Ok::<_, StoreError>(Stopped { card: read_card(row)?, version: row.integer(8)? });
    let select = format!("SELECT {CARD_COLUMNS}, stop_version FROM card WHERE stop_version IS NOT NULL");
    match account {
        Some(account) => {
            tx.query(&format!("{select} AND account_id = $1 ORDER BY stop_version"), &[account.into()], read)
        }
        None => tx.query(&format!("{select} ORDER BY stop_version"), &[], read),
    }
}

/// A living epoch, and what the database knows of its knowledge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Living {
    /// The store.
    pub store: StoreId,
    /// Its epoch.
    pub epoch: Epoch,
    /// It has everything of the cards up to this version.
    pub cards_version: i64,
    /// Whether the hub was restored and has not heard it since.
    pub is_waited_for: bool,
    /// When it was last heard.
    pub last_heard_ms: Option<Instant>,
    /// The policy that it said to have in force; 0 when it said nothing.
    pub policy: u64,
}

fn epoch(number: i64) -> Epoch {
    Epoch(u32::try_from(number).unwrap_or(0))
}

/// The living epochs, by store.
///
/// # Errors
/// [`StoreError`].
pub fn living(tx: &mut Tx<'_>) -> Result<Vec<Living>, StoreError> {
    tx.query(
        "SELECT t.store_id, t.epoch, t.cards_version, CASE WHEN t.told_life < h.incarnation THEN 1 ELSE 0 END, d.last_seen_ms, \
         COALESCE(p.in_force, 0) FROM tenure t CROSS JOIN hub h LEFT JOIN device d ON d.store_id = t.store_id AND d.epoch = t.epoch \
         LEFT JOIN policy_state p ON p.store_id = t.store_id AND p.epoch = t.epoch WHERE t.standing = 'living' ORDER BY t.store_id",
        &[],
        |row| {
            Ok(Living {
                store: row.parsed(0, "tenure", "store_id")?,
                epoch: epoch(row.integer(1)?),
                cards_version: row.integer(2)?,
                is_waited_for: row.integer(3)? == 1,
                last_heard_ms: row.maybe_integer(4)?.map(Instant),
                policy: u64::try_from(row.integer(5)?).unwrap_or(0),
            })
        },
    )
}

/// The newest version of the cards.
///
/// # Errors
/// [`StoreError`].
pub fn newest(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    dataset::newest(tx, DatasetKind::Cards)
}

/// What an epoch holds of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Whose, and what is counted.
    pub purse: Purse,
    /// Where.
    pub store: StoreId,
    /// By which epoch.
    pub epoch: Epoch,
    /// What the hub knows.
    pub line: Line,
    /// Of an epoch that ended: what waits.
    pub waiting_minor: Option<i64>,
}

/// What epochs hold of the accounts of stopped cards, of one account or all; by account, unit, store and epoch.
///
/// # Errors
/// [`StoreError`].
pub fn held(tx: &mut Tx<'_>, account: Option<AccountId>) -> Result<Vec<Held>, StoreError> {
    let whose = match account {
        Some(_) => "a.account_id = $1",
        None => "a.account_id IN (SELECT account_id FROM card WHERE stop_version IS NOT NULL)",
    };
    let sql = format!(
        "SELECT a.account_id, a.unit, a.store_id, a.epoch, a.granted_minor, a.adopted_minor, a.loaded_minor, a.spent_minor, \
         a.released_minor, CASE WHEN t.standing = 'fenced' THEN 1 ELSE 0 END, {} FROM allotment a \
         LEFT JOIN tenure t ON t.store_id = a.store_id AND t.epoch = a.epoch \
         LEFT JOIN suspense s ON s.account_id = a.account_id AND s.unit = a.unit AND s.store_id = a.store_id AND s.epoch = a.epoch \
         WHERE {whose} ORDER BY a.account_id, a.unit, a.store_id, a.epoch",
        suspense::COLUMNS
    );
    let read = |row: &Row<'_>| {
        let unit: Unit = row.parsed(1, "allotment", "unit")?;
        let (account, line) = (read_account(row)?, read_line(row, 4)?);
        let (is_fenced, suspense) = (row.integer(9)? == 1, suspense::read(row, 10)?);
        Ok::<_, StoreError>(Held {
            purse: Purse { account, unit },
            store: row.parsed(2, "allotment", "store_id")?,
            epoch: epoch(row.integer(3)?),
            line,
            waiting_minor: is_fenced.then(|| Fenced { pool: Pool::default(), line, suspense }.waiting_minor()),
        })
    };
    match account {
        Some(account) => tx.query(&sql, &[account.into()], read),
        None => tx.query(&sql, &[], read),
    }
}

fn read_account(row: &Row<'_>) -> Result<AccountId, StoreError> {
    let number = row.integer(0)?;
    AccountId::new(number).map_err(|why| StoreError::Value {
        table: "allotment",
        column: "account_id",
        row: number.to_string(),
        fault: why.to_string(),
    })
}

/// Where value of an account lies that no card can take any more, so that it belongs into the pool: the living epochs that hold some. Nothing while another
/// card can pay with it.
///
/// # Errors
/// [`StoreError`].
pub fn idle(tx: &mut Tx<'_>, account: AccountId) -> Result<Vec<(StoreId, Purse)>, StoreError> {
    // No card opens the risk account, and stores need their lines of it all the same.
    if account == AccountId::RISK || card::any_active(tx, account)? {
        return Ok(Vec::new());
    }
    let units = tx.query(
        "SELECT DISTINCT unit FROM allotment WHERE account_id = $1 ORDER BY unit",
        &[account.into()],
        |row| row.parsed::<Unit>(0, "allotment", "unit"),
    )?;
    let mut idle = Vec::new();
    for unit in units {
        let purse = Purse { account, unit };
        let lines = allotment::lines(tx, purse)?;
        // What an ended epoch held nobody can give back.
        idle.extend(
            lines.iter().filter(|line| line.suspense.is_none() && line.line.held() > 0).map(|line| (line.store, purse)),
        );
    }
    Ok(idle)
}

/// As [`idle`], what one epoch holds of the accounts of cards that it has just learnt to be stopped: those between two versions.
///
/// # Errors
/// [`StoreError`].
pub fn idle_at(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    (after, through): (i64, i64),
) -> Result<Vec<Purse>, StoreError> {
    let lines = tx.query(
        "SELECT a.account_id, a.unit, a.granted_minor, a.adopted_minor, a.loaded_minor, a.spent_minor, a.released_minor FROM allotment a \
         WHERE a.store_id = $1 AND a.epoch = $2 \
         AND a.account_id IN (SELECT account_id FROM card WHERE stop_version > $3 AND stop_version <= $4) \
         AND NOT EXISTS (SELECT 1 FROM card o WHERE o.account_id = a.account_id AND o.status = 'active') ORDER BY a.account_id, a.unit",
        &[(&store).into(), epoch.into(), after.into(), through.into()],
        |row| {
            let purse = Purse { account: read_account(row)?, unit: row.parsed(1, "allotment", "unit")? };
            Ok::<_, StoreError>((purse, read_line(row, 2)?))
        },
    )?;
    Ok(lines.into_iter().filter(|(_, line)| line.held() > 0).map(|(purse, _)| purse).collect())
}
