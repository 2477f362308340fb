//! Points that head office itself puts on an account or takes off it: its pool, its journal's entry and the movement in one transaction.
//!
//! Invariant: what is taken off was free in the pool, so that no store's points are touched.

use huitong_protocol::allotment::{HubEvent, HubSide, Purse, step};
use huitong_protocol::entry::HubPosting;
use huitong_protocol::id::{AccountId, EntryId, OperationId, StoreId};
use huitong_protocol::movement::{Movement, MovementKind, MovementRef};
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;

use crate::store::{StoreError, Tx, allotment, posting, tenure};

/// When and for what head office posts.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The operation, made from what it is about, so that it is posted once.
    pub operation: OperationId,
    /// What it is about, in words.
    pub reference: &'a str,
    /// The business day.
    pub day: BusinessDay,
    /// Head office's clock.
    pub now: Instant,
}

/// The operation about something, under a purpose of its own.
#[must_use]
pub fn operation(purpose: &str, about: &str) -> OperationId {
    let mut bytes = [0; 16];
    blake3::Hasher::new_derive_key(purpose).update(about.as_bytes()).finalize_xof().fill(&mut bytes);
    OperationId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// Puts earned points on an account. The store whose sale earned them bears them.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Rule`] when the account would hold more than can be counted.
pub fn earn(
    tx: &mut Tx<'_>,
    occasion: Occasion<'_>,
    account: AccountId,
    points: i64,
    store: StoreId,
) -> Result<EntryId, StoreError> {
    let movement = Movement { origin_store: Some(store), ..movement(account, MovementKind::Earn, points, None) };
    post(tx, occasion, movement, HubEvent::Load { amount_minor: points })
}

/// Takes back points that were earned, as far as the pool has them. Gives how many.
///
/// # Errors
/// [`StoreError`].
pub fn take_back(
    tx: &mut Tx<'_>,
    occasion: Occasion<'_>,
    account: AccountId,
    points: i64,
    of: Option<MovementRef>,
) -> Result<i64, StoreError> {
    // What a restored hub's pool shows may be with a store that it has not heard yet.
    if tenure::recovers(tx)? {
        return Ok(0);
    }
    let (pool, _) = allotment::take_pool(tx, Purse { account, unit: Unit::Points })?;
    let free = pool.free_minor().clamp(0, points);
    if free > 0 {
        let movement = movement(account, MovementKind::EarnReversal, free, of);
        post(tx, occasion, movement, HubEvent::Spend { amount_minor: free })?;
    }
    Ok(free)
}

fn movement(account: AccountId, kind: MovementKind, points: i64, of: Option<MovementRef>) -> Movement {
    Movement {
        account,
        unit: Unit::Points,
        kind,
        amount_minor: points,
        of,
        origin_store: None,
        shortfall_minor: 0,
        owed_by: None,
    }
}

fn post(tx: &mut Tx<'_>, occasion: Occasion<'_>, movement: Movement, event: HubEvent) -> Result<EntryId, StoreError> {
    let Occasion { operation, reference, day, now } = occasion;
    let purse = Purse { account: movement.account, unit: movement.unit };
    let (pool, seen) = allotment::take_pool(tx, purse)?;
    let next = step(&HubSide { pool, ..HubSide::default() }, event)
        .map_err(|why| StoreError::Rule { operation: "post points", fault: format!("{reference}: {why}") })?;
    let posting = HubPosting { reference: reference.to_owned(), movements: vec![movement] };
    let posted = posting::post(tx, operation, day, now, posting)?;
    allotment::put_pool(tx, purse, &next.pool, posted.stamp.max(seen))?;
    Ok(posted.id)
}
