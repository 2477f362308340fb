//! Sales of a card, as the journals that are here tell them: which of them is in force, and what came before it.
//!
//! They are read from the entries whenever somebody asks; nothing is kept of them. What a store has only reported of a card is `store::card`'s. Invariant:
//! the sale in force is the latest that was not undone, in the order of stamps; whether something came before it needs no business day.

use huitong_protocol::card::CardNumber;
use huitong_protocol::entry::{Body, EntryView};
use huitong_protocol::id::{AccountId, EntryId, Epoch, MemberId, Seq};
use huitong_protocol::member::DraftId;
use huitong_protocol::time::{Instant, Stamp};

use crate::review::is_undone;
use crate::store::{StoreError, Tx};

/// A sale of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardSale {
    /// Its entry.
    pub id: EntryId,
    /// The entry's stamp.
    pub stamp: Stamp,
    /// When it was, by the store's clock.
    pub at_ms: Instant,
    /// The member to whom it was sold, when the store knew them.
    pub member: Option<MemberId>,
    /// The draft of somebody who was just enrolled at the store, and to whom it was sold.
    pub draft: Option<DraftId>,
    /// Whether it was voided, as far as is known here.
    pub is_undone: bool,
}

impl CardSale {
    /// Whether it was before another entry, by their stamps, which rise along a journal. A stamp follows its store's clock, so of two stores whose clocks
    /// differ, what happened within that difference may be told the wrong way round; nothing that is recorded knows better.
    #[must_use]
    pub fn is_before(&self, other: EntryId, stamp: Stamp) -> bool {
        (self.stamp, self.id) < (stamp, other)
    }
}

/// The sales of a card that are here, in the order of their stamps.
///
/// # Errors
/// [`StoreError`].
pub fn of_card(tx: &mut Tx<'_>, number: CardNumber, account: AccountId) -> Result<Vec<CardSale>, StoreError> {
    let found = tx.query(
        "SELECT DISTINCT entry.store_id, entry.epoch, entry.seq, entry.bytes FROM movement JOIN entry ON entry.store_id = movement.store_id \
         AND entry.epoch = movement.epoch AND entry.seq = movement.seq WHERE movement.account_id = $1 AND movement.kind = 'card_sale'",
        &[account.into()],
        |row| {
            let (epoch, seq) = (row.integer(1)?, row.integer(2)?);
            let id = EntryId {
                store: row.parsed(0, "entry", "store_id")?,
                epoch: Epoch(u32::try_from(epoch).unwrap_or(0)),
                seq: Seq(u64::try_from(seq).unwrap_or(0)),
            };
            let Ok(view) = EntryView::decode(row.bytes(3)?) else { return Ok::<_, StoreError>(None) };
            Ok(match view.body() {
                Ok(Body::CardSale(sale)) if sale.card == number => Some((id, view.header, sale.member, sale.draft)),
                _ => None,
            })
        },
    )?;
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    found.sort_by_key(|(id, header, ..)| (header.stamp, *id));
    let mut sales = Vec::with_capacity(found.len());
    for (id, header, member, draft) in found {
        let is_undone = is_undone(tx, id, &header)?;
        sales.push(CardSale { id, stamp: header.stamp, at_ms: header.at_ms, member, draft, is_undone });
    }
    Ok(sales)
}

/// The latest sale that was not undone.
#[must_use]
pub fn in_force(sales: &[CardSale]) -> Option<&CardSale> {
    sales.iter().rfind(|sale| !sale.is_undone)
}
