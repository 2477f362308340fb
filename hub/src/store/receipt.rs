//! Receipt rows: what single receipts prove of epochs that ended, and the files in which two people brought them. Whether one counts is `crate::receipt`'s to
//! judge; their sums per line are in `super::suspense`.
//!
//! Invariant: an entry has at most one receipt per account and unit, and one that its journal has overtaken never counts again.

use huitong_protocol::allotment::Purse;
use huitong_protocol::id::{Epoch, Hash, IdError, Seq, StoreId};
use huitong_protocol::movement::{Direction, MovementKind};
use huitong_protocol::time::Instant;

use super::suspense::account;
use super::{Row, StoreError, Tx};

/// What a receipt says was done with a card.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// It paid.
    Spend,
    /// It was sold or loaded, what was given with the load included.
    Load,
    /// Value came back onto it.
    Refund,
}

impl ReceiptKind {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spend => "spend",
            Self::Load => "load",
            Self::Refund => "refund",
        }
    }

    /// Whether it raises or lowers the account.
    #[must_use]
    pub const fn direction(self) -> Direction {
        match self {
            Self::Spend => Direction::Out,
            Self::Load | Self::Refund => Direction::In,
        }
    }
}

impl std::str::FromStr for ReceiptKind {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let all = [Self::Spend, Self::Load, Self::Refund];
        let found = all.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or(IdError::Form { expected: "spend, load or refund" })
    }
}

/// A receipt that somebody brought and a second person let count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptReceipt {
    /// Its entry's position in the journal of the epoch.
    pub seq: Seq,
    /// Whose it is, and what it counts.
    pub purse: Purse,
    /// What was done.
    pub kind: ReceiptKind,
    /// How much, above zero.
    pub amount_minor: i64,
    /// When, by the receipt.
    pub at_ms: Instant,
    /// The file that brought it.
    pub file_no: i64,
    /// When the journal came as far as its entry: it counts no more.
    pub superseded_at_ms: Option<Instant>,
    /// Whether the journal says the same.
    pub agrees: Option<bool>,
}

fn seq(row: &Row<'_>, column: usize) -> Result<Seq, StoreError> {
    let number = row.integer(column)?;
    let fault = |fault: std::num::TryFromIntError| StoreError::Value {
        table: "receipt",
        column: "seq",
        row: number.to_string(),
        fault: fault.to_string(),
    };
    u64::try_from(number).map(Seq).map_err(fault)
}

/// All receipts of an epoch, by entry and account.
///
/// # Errors
/// [`StoreError`].
pub fn list(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<Vec<KeptReceipt>, StoreError> {
    tx.query(
        "SELECT seq, account_id, unit, kind, amount_minor, at_ms, file_no, superseded_at_ms, agrees FROM receipt \
         WHERE store_id = $1 AND epoch = $2 ORDER BY seq, account_id, unit",
        &[(&store).into(), epoch.into()],
        |row| {
            let purse = Purse { account: account(row, 1, "receipt")?, unit: row.parsed(2, "receipt", "unit")? };
            Ok(KeptReceipt {
                seq: seq(row, 0)?,
                purse,
                kind: row.parsed(3, "receipt", "kind")?,
                amount_minor: row.integer(4)?,
                at_ms: Instant(row.integer(5)?),
                file_no: row.integer(6)?,
                superseded_at_ms: row.maybe_integer(7)?.map(Instant),
                agrees: row.maybe_integer(8)?.map(|agrees| agrees == 1),
            })
        },
    )
}

/// Keeps a receipt that counts.
///
/// # Errors
/// [`StoreError`]; also when the entry has one of the account already.
pub fn keep(tx: &mut Tx<'_>, (store, epoch): (StoreId, Epoch), receipt: &KeptReceipt) -> Result<(), StoreError> {
    tx.execute_one(
        "keep a receipt",
        "receipt",
        "INSERT INTO receipt (store_id, epoch, seq, account_id, unit, kind, amount_minor, at_ms, file_no) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            (&store).into(),
            epoch.into(),
            receipt.seq.into(),
            receipt.purse.account.into(),
            receipt.purse.unit.into(),
            receipt.kind.as_str().into(),
            receipt.amount_minor.into(),
            receipt.at_ms.into(),
            receipt.file_no.into(),
        ],
    )
}

/// The epochs that have receipts.
///
/// # Errors
/// [`StoreError`].
pub fn epochs(tx: &mut Tx<'_>) -> Result<Vec<(StoreId, Epoch)>, StoreError> {
    tx.query("SELECT DISTINCT store_id, epoch FROM receipt ORDER BY store_id, epoch", &[], |row| {
        Ok((row.parsed(0, "receipt", "store_id")?, Epoch(u32::try_from(row.integer(1)?).unwrap_or(0))))
    })
}

/// What the journal moved in the entry of a receipt, in the receipt's direction and in the other.
///
/// # Errors
/// [`StoreError`].
pub fn journalled(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    receipt: &KeptReceipt,
) -> Result<(i64, i64), StoreError> {
    let moved = tx.query(
        "SELECT kind, amount_minor FROM movement WHERE account_id = $1 AND unit = $2 AND store_id = $3 AND epoch = $4 AND seq = $5",
        &[
            receipt.purse.account.into(),
            receipt.purse.unit.into(),
            (&store).into(),
            epoch.into(),
            receipt.seq.into(),
        ],
        |row| Ok::<_, StoreError>((row.parsed::<MovementKind>(0, "movement", "kind")?, row.integer(1)?)),
    )?;
    Ok(moved.into_iter().fold((0, 0), |(same, other): (i64, i64), (kind, amount_minor)| {
        if kind.direction() == receipt.kind.direction() {
            (same.saturating_add(amount_minor), other)
        } else {
            (same, other.saturating_add(amount_minor))
        }
    }))
}

/// Notes that the journal has come as far as a receipt's entry, and whether it says the same.
///
/// # Errors
/// [`StoreError`].
pub fn supersede(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    receipt: &KeptReceipt,
    agrees: bool,
    now: Instant,
) -> Result<(), StoreError> {
    tx.execute_one(
        "set a receipt aside",
        "receipt",
        "UPDATE receipt SET superseded_at_ms = $6, agrees = $7 WHERE store_id = $1 AND epoch = $2 AND seq = $3 \
         AND account_id = $4 AND unit = $5 AND superseded_at_ms IS NULL",
        &[
            (&store).into(),
            epoch.into(),
            receipt.seq.into(),
            receipt.purse.account.into(),
            receipt.purse.unit.into(),
            now.into(),
            agrees.into(),
        ],
    )
}

/// A file of receipts.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct ReceiptFile {
    /// Its number.
    pub number: i64,
    /// Over its receipts.
    #[serde(skip)]
    #[schemars(skip)]
    pub rows_hash: Hash,
    /// Over what they would have changed when it was brought.
    #[serde(skip)]
    #[schemars(skip)]
    pub effect_hash: Hash,
    /// Who brought it.
    pub asked_by: String,
    /// When.
    pub asked_at_ms: Instant,
    /// Why.
    pub asked_note: String,
    /// Who let it count, as a second person.
    pub applied_by: Option<String>,
    /// When.
    pub applied_at_ms: Option<Instant>,
    /// With which words.
    pub applied_note: String,
}

fn hash(row: &Row<'_>, column: usize, name: &'static str) -> Result<Hash, StoreError> {
    Hash::from_slice(row.bytes(column)?).map_err(|fault| StoreError::Value {
        table: "receipt_file",
        column: name,
        row: String::new(),
        fault: fault.to_string(),
    })
}

/// The files of receipts of an epoch, oldest first.
///
/// # Errors
/// [`StoreError`].
pub fn files(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<Vec<ReceiptFile>, StoreError> {
    tx.query(
        "SELECT file_no, rows_hash, effect_hash, asked_by, asked_at_ms, asked_note, applied_by, applied_at_ms, applied_note \
         FROM receipt_file WHERE store_id = $1 AND epoch = $2 ORDER BY file_no",
        &[(&store).into(), epoch.into()],
        |row| {
            Ok(ReceiptFile {
                number: row.integer(0)?,
                rows_hash: hash(row, 1, "rows_hash")?,
                effect_hash: hash(row, 2, "effect_hash")?,
                asked_by: row.text(3)?.to_owned(),
                asked_at_ms: Instant(row.integer(4)?),
                asked_note: row.text(5)?.to_owned(),
                applied_by: row.maybe_text(6)?.map(str::to_owned),
                applied_at_ms: row.maybe_integer(7)?.map(Instant),
                applied_note: row.text(8)?.to_owned(),
            })
        },
    )
}

/// Asks that the receipts of a file count; asking anew takes the place of what was asked with the same ones.
///
/// # Errors
/// [`StoreError`].
pub fn ask(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    (rows_hash, effect_hash): (&Hash, &Hash),
    (by, note): (&str, &str),
    now: Instant,
) -> Result<(), StoreError> {
    tx.execute_one(
        "ask that receipts count",
        "receipt_file",
        "INSERT INTO receipt_file (file_no, store_id, epoch, rows_hash, effect_hash, asked_by, asked_at_ms, asked_note) \
         VALUES ((SELECT COALESCE(MAX(file_no), 0) + 1 FROM receipt_file), $1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (store_id, epoch, rows_hash) WHERE applied_by IS NULL DO UPDATE SET effect_hash = excluded.effect_hash, \
         asked_by = excluded.asked_by, asked_at_ms = excluded.asked_at_ms, asked_note = excluded.asked_note",
        &[
            (&store).into(),
            epoch.into(),
            rows_hash.into(),
            effect_hash.into(),
            by.into(),
            now.into(),
            note.into(),
        ],
    )
}

/// Notes who let a file's receipts count.
///
/// # Errors
/// [`StoreError`].
pub fn applied(tx: &mut Tx<'_>, number: i64, (by, note): (&str, &str), now: Instant) -> Result<(), StoreError> {
    tx.execute_one(
        "let receipts count",
        "receipt_file",
        "UPDATE receipt_file SET applied_by = $2, applied_at_ms = $3, applied_note = $4 WHERE file_no = $1 AND applied_by IS NULL",
        &[number.into(), by.into(), now.into(), note.into()],
    )
}
