//! Proposals of store parameters as they are kept: what a store would set for itself, and who decided. Judging them is not here.

use huitong_protocol::id::StoreId;
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{Proposal, ProposalState};

use super::{Row, StoreError, Tx, Value};

/// A proposal with its document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Who, when, and what became of it.
    pub proposal: Proposal,
    /// The parameters as TOML, as they were proposed.
    pub document: String,
}

const KEPT: &str = "SELECT proposal_no, store_id, state, proposed_by, proposed_at_ms, decided_by, decided_at_ms, note, \
                    published_version, document FROM parameter_proposal";

fn count(number: i64) -> u64 {
    number.unsigned_abs()
}

fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn read(row: &Row<'_>) -> Result<Kept, StoreError> {
    Ok(Kept {
        proposal: Proposal {
            number: count(row.integer(0)?),
            store: row.parsed(1, "parameter_proposal", "store_id")?,
            state: row.parsed(2, "parameter_proposal", "state")?,
            proposed_by: row.text(3)?.to_owned(),
            proposed_at_ms: Instant(row.integer(4)?),
            decided_by: row.maybe_text(5)?.map(str::to_owned),
            decided_at_ms: row.maybe_integer(6)?.map(Instant),
            note: row.text(7)?.to_owned(),
            published_version: row.maybe_integer(8)?.map(count),
        },
        document: row.text(9)?.to_owned(),
    })
}

/// A proposal.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, number: u64) -> Result<Option<Kept>, StoreError> {
    tx.query_one(&format!("{KEPT} WHERE proposal_no = $1"), &[column(number).into()], read)
}

/// The newest proposals before a number, the last one first, at most so many; of one store when one is named.
///
/// # Errors
/// [`StoreError`].
pub fn page(
    tx: &mut Tx<'_>,
    store: Option<StoreId>,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Kept>, StoreError> {
    let before = before.map_or(i64::MAX, column);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match store {
        Some(store) => tx.query(
            &format!("{KEPT} WHERE store_id = $1 AND proposal_no < $2 ORDER BY proposal_no DESC LIMIT $3"),
            &[(&store).into(), before.into(), limit.into()],
            read,
        ),
        None => tx.query(
            &format!("{KEPT} WHERE proposal_no < $1 ORDER BY proposal_no DESC LIMIT $2"),
            &[before.into(), limit.into()],
            read,
        ),
    }
}

/// What holds for each store that has anything approved, or will with the next policy: its newest approved proposal.
///
/// # Errors
/// [`StoreError`].
pub fn approved(tx: &mut Tx<'_>) -> Result<Vec<Kept>, StoreError> {
    let newest = "proposal_no = (SELECT MAX(later.proposal_no) FROM parameter_proposal AS later \
                  WHERE later.store_id = parameter_proposal.store_id AND later.state = 'approved')";
    tx.query(&format!("{KEPT} WHERE state = 'approved' AND {newest} ORDER BY store_id"), &[], read)
}

/// Keeps a new proposal and gives its number.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, store: StoreId, document: &str, by: &str, now: Instant) -> Result<u64, StoreError> {
    let last =
        tx.query_one("SELECT COALESCE(MAX(proposal_no), 0) FROM parameter_proposal", &[], |row| row.integer(0))?;
    let number = last.unwrap_or(0) + 1;
    tx.execute_one(
        "keep a proposal",
        "parameter_proposal",
        "INSERT INTO parameter_proposal (proposal_no, store_id, document, proposed_by, proposed_at_ms, state, note) \
         VALUES ($1, $2, $3, $4, $5, 'proposed', '')",
        &[number.into(), (&store).into(), document.into(), by.into(), now.into()],
    )?;
    Ok(count(number))
}

/// Writes what somebody decided.
///
/// # Errors
/// [`StoreError`], also when it was decided before.
pub fn decide(
    tx: &mut Tx<'_>,
    number: u64,
    state: ProposalState,
    by: &str,
    note: &str,
    now: Instant,
) -> Result<(), StoreError> {
    tx.execute_one(
        "decide a proposal",
        "parameter_proposal",
        "UPDATE parameter_proposal SET state = $2, decided_by = $3, decided_at_ms = $4, note = $5 \
         WHERE proposal_no = $1 AND state = 'proposed'",
        &[column(number).into(), state.as_str().into(), by.into(), now.into(), note.into()],
    )
}

/// Writes that the proposals of a store before a number have lost their place to it: those undecided, and those approved that never went out.
///
/// # Errors
/// [`StoreError`].
pub fn supersede_before(tx: &mut Tx<'_>, store: StoreId, number: u64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE parameter_proposal SET state = 'superseded' WHERE store_id = $1 AND proposal_no < $2 \
         AND (state = 'proposed' OR (state = 'approved' AND published_version IS NULL))",
        &[(&store).into(), column(number).into()],
    )
    .map(drop)
}

/// Writes the version in which approved proposals were published that were in none before.
///
/// # Errors
/// [`StoreError`].
pub fn published(tx: &mut Tx<'_>, version: u64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE parameter_proposal SET published_version = $1 WHERE state = 'approved' AND published_version IS NULL",
        &[Value::Integer(column(version))],
    )
    .map(drop)
}
