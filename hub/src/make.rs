//! Makes cards: numbers of a product's range with random bodies, blank, each with an account of its own.
//!
//! Random values come in from outside. A number that is taken is simply not used, so a range is exhausted only when it is nearly full.

use huitong_protocol::card::{Card, CardNumber, CardStatus, RangeFault};
use huitong_protocol::id::{ProductId, StoreId};
use huitong_protocol::time::Stamp;

use crate::publish;
use crate::store::engine::{Store, StoreError, Tx};
use crate::store::organisation;

/// The most cards of one order: more belong into several, so that other writers get their turn.
pub const CARDS_MAX: u32 = 1_000_000;
/// How often a taken number may come up, per card, before the range counts as full.
const TRIES_PER_CARD: usize = 8;

/// Why no cards were made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The order cannot be filled.
    #[error("{fault}\n  hint: {hint}")]
    Refused {
        /// Why.
        fault: String,
        /// What to do.
        hint: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn refused(fault: impl Into<String>, hint: impl Into<String>) -> MakeError {
    MakeError::Refused { fault: fault.into(), hint: hint.into() }
}

/// How many random values an order should bring.
#[must_use]
pub fn randoms_for(count: u32) -> usize {
    (count as usize).saturating_mul(TRIES_PER_CARD)
}

/// Makes `count` cards of a product from `randoms` (see [`randoms_for`]), allocated to a store or to none, in one transaction.
///
/// # Errors
/// [`MakeError`]; no card is made then.
pub fn make(
    store: &Store,
    product: ProductId,
    count: u32,
    allocated_store: Option<StoreId>,
    randoms: Vec<u128>,
) -> Result<Vec<CardNumber>, MakeError> {
    store.write_blocking(move |tx| {
        let Some((_, policy)) = publish::newest_policy(tx)? else {
            return Err(refused(
                "no policy is published, so no card product is known",
                "huitong-hub policy publish FILE --effective-from DAY",
            ));
        };
        let Some(found) = policy.products.iter().find(|other| other.id == product) else {
            let known: Vec<&str> = policy.products.iter().map(|product| product.id.as_str()).collect();
            return Err(refused(
                format!("product {product} is not in the newest policy"),
                format!("it has {}", known.join(", ")),
            ));
        };
        if let Some(store) = allocated_store
            && organisation::store(tx, store)?.is_none()
        {
            return Err(refused(format!("store {store} is unknown"), "huitong-hub store import FILE"));
        }
        let mut numbers = Vec::with_capacity(count as usize);
        let mut randoms = randoms.iter();
        for range in &found.ranges {
            while numbers.len() < count as usize
                && let Some(&random) = randoms.next()
            {
                let number = range.make(random).map_err(|why: RangeFault| {
                    refused(format!("product {product}: {why}"), "publish a policy with a wider range")
                })?;
                if organisation::card(tx, &number)?.is_none() {
                    write(tx, number, product, allocated_store)?;
                    numbers.push(number);
                }
            }
        }
        if numbers.len() < count as usize {
            return Err(refused(
                format!("after many tries only {} of {count} numbers were free", numbers.len()),
                "the product's ranges are nearly full; publish a policy with another range",
            ));
        }
        Ok(numbers)
    })
}

fn write(
    tx: &mut Tx<'_>,
    number: CardNumber,
    product: ProductId,
    allocated_store: Option<StoreId>,
) -> Result<(), StoreError> {
    let account = organisation::next_account(tx)?;
    let card = Card {
        number,
        product,
        account,
        status: CardStatus::Blank,
        status_stamp: Stamp::ZERO,
        allocated_store,
        member: None,
        expires_on: None,
    };
    organisation::write_card(tx, &card)
}
