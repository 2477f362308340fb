//! Claims: points that goods which came back had earned and that were spent by then. Goods are taken back all the same; what is missing is claimed from
//! whoever holds the account.
//!
//! Later earnings settle a claim as soon as they lie in head office's pool: nothing is taken from a till, and no store has to know. Finance may give up
//! the rest. Invariant: a claim takes back no more than was missing, and each point is taken by one claim.

use huitong_protocol::id::EntryId;
use huitong_protocol::movement::Movement;
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;

use crate::actor::Actor;
use crate::note::{self, NoteFault};
use crate::points::{self, Occasion};
use crate::store::claim::{self as rows, Claim, NewClaim, State};
use crate::store::{Store, StoreError, Tx};

/// Claims that one transaction settles: some milliseconds.
const BATCH: usize = 200;

/// Why a claim was not waived.
#[derive(Debug, thiserror::Error)]
pub enum WaiveError {
    /// No such claim.
    #[error("there is no claim {0}\n  hint: huitong-hub member claims list --all")]
    Unknown(i64),
    /// A note that says nothing, or too much.
    #[error("note: {0}")]
    Note(#[from] NoteFault),
    /// There is nothing to give up.
    #[error("claim {number} {fault}\n  hint: only what is open can be waived")]
    State {
        /// Which.
        number: i64,
        /// Why not.
        fault: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps what a movement of an entry could not take back.
///
/// # Errors
/// [`StoreError`].
pub fn take(
    tx: &mut Tx<'_>,
    entry: EntryId,
    index: u16,
    business_day: BusinessDay,
    movement: &Movement,
) -> Result<(), StoreError> {
    if movement.unit != Unit::Points || movement.shortfall_minor == 0 {
        return Ok(());
    }
    let (account, points, of) = (movement.account, movement.shortfall_minor, movement.of);
    rows::insert(tx, &NewClaim { account, entry, index, business_day, points, of })
}

/// Settles open claims from what lies in the pool. Gives how many points were taken back.
///
/// What can be taken is looked for in a read; only those claims are written, and each is looked at again before it is.
///
/// # Errors
/// [`StoreError`]; what was settled before stays so.
pub async fn settle(store: &Store, day: BusinessDay, now: Instant) -> Result<i64, StoreError> {
    let payable = store.read(rows::payable).await?;
    let mut taken = 0_i64;
    for batch in payable.chunks(BATCH) {
        let batch = batch.to_vec();
        taken = taken.saturating_add(store.write(move |tx| settle_some(tx, &batch, day, now)).await?);
    }
    Ok(taken)
}

fn settle_some(tx: &mut Tx<'_>, claims: &[i64], day: BusinessDay, now: Instant) -> Result<i64, StoreError> {
    let mut taken = 0_i64;
    for &number in claims {
        let Some(claim) = rows::find(tx, number)?.filter(|claim| claim.open_points > 0) else { continue };
        let about = format!("claim {} from {}", claim.number, claim.settled_points);
        let occasion = Occasion {
            operation: points::operation("huitong points claims 1", &about),
            reference: &format!("claim {}", claim.number),
            day,
            now,
        };
        let points = points::take_back(tx, occasion, claim.account, claim.open_points, claim.of)?;
        if points > 0 {
            rows::settle(tx, claim.number, points)?;
            taken = taken.saturating_add(points);
        }
    }
    Ok(taken)
}

/// Gives up the rest of a claim.
///
/// # Errors
/// [`WaiveError`]; nothing changed then.
pub fn waive(tx: &mut Tx<'_>, actor: &Actor, number: i64, note: &str, now: Instant) -> Result<Claim, WaiveError> {
    let note = note::needed(note)?;
    let claim = rows::find(tx, number)?.ok_or(WaiveError::Unknown(number))?;
    match claim.state {
        State::Open => {}
        // Asked again after a lost answer.
        State::Waived { ref waived_by, ref waived_note, .. } if actor.is(waived_by) && waived_note == note => {
            return Ok(claim);
        }
        State::Waived { waived_by, .. } => {
            return Err(WaiveError::State { number, fault: format!("was waived by {waived_by}") });
        }
        State::Settled => return Err(WaiveError::State { number, fault: "is settled".to_owned() }),
    }
    rows::waive(tx, number, actor.name(), note, now)?;
    actor.did(tx, "claim.waive", &number.to_string(), &format!("{} points: {note}", claim.open_points), now)?;
    rows::find(tx, number)?.ok_or(WaiveError::Unknown(number))
}
