//! The card that an enrolment names: whose it becomes, and when. A card in use is the member's at once; one that lies unsold becomes theirs with its sale.
//!
//! A sale does not say to whom: it is theirs when it is the first of the card at the same store after the form was taken down, within a day. After that
//! somebody else buys it. Invariant: nobody is made the owner of a card by a sale that was undone, or by the second sale after their enrolment.

use huitong_protocol::card::{CardNumber, CardStatus};
use huitong_protocol::entry::{Body, EntryView};
use huitong_protocol::id::{EntryId, MemberId};
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::Instant;

use crate::card_sale::{self, CardSale};
use crate::store::member_request::{self as rows, Asked, Request};
use crate::store::{StoreError, Tx, card, exception, member};

/// How long an unsold card is kept for whoever named it.
const KEPT_MS: i64 = 24 * 3_600_000;

/// Whose a card is by its sales.
enum Owner {
    /// It was not sold after the form was taken down, or never was, as far as is known here.
    Open,
    /// Of whoever was enrolled with it.
    Theirs,
    /// Of somebody who bought it in this entry.
    Other(EntryId),
}

/// Makes the card that an accepted enrolment names its member's, now or when it is sold. Gives in words why the member stays without it.
pub(super) fn give(tx: &mut Tx<'_>, request: &Request, id: MemberId) -> Result<Option<String>, StoreError> {
    let Asked::Enrolment { card: Some(number), .. } = request.asked else { return Ok(None) };
    let Some(card) = card::find(tx, number)? else {
        return Ok(Some(format!("card {number} is unknown, so the member is without it")));
    };
    if let Some(owner) = card.member {
        if owner == id {
            return Ok(None);
        }
        let owner = member::find_by_id(tx, owner)?.map(|owner| owner.member.number.to_string());
        let owner = owner.unwrap_or_else(|| "another member".to_owned());
        return Ok(Some(format!("card {number} is that of {owner}, so the member is without it")));
    }
    let is_unsold = matches!(card.status, CardStatus::Blank | CardStatus::Withdrawn);
    match owner(request, &card_sale::of_card(tx, number, card.account)?) {
        Owner::Other(sale) => {
            Ok(Some(format!("card {number} was sold to somebody else in {sale}, so the member is without it")))
        }
        // Of a card in use whose sale is not here, head office or another journal knows.
        Owner::Open if is_unsold => Ok(None),
        Owner::Open | Owner::Theirs => card::bind(tx, number, id).map(|()| None),
    }
}

/// Takes the sale of a card, in the transaction that takes its entry: it may be the one that an enrolment waits for.
///
/// # Errors
/// [`StoreError`].
pub fn sold(tx: &mut Tx<'_>, sale: EntryId, number: CardNumber, now: Instant) -> Result<(), StoreError> {
    let given = tx.attempt(|tx| give_sold(tx, number))?;
    given.or_else(|why| raise(tx, sale, why, now))
}

/// Takes that an operation was undone, in the transaction that takes its entry: a card whose sale that was is no more the member's who got it with the sale.
///
/// # Errors
/// [`StoreError`].
pub fn sale_undone(tx: &mut Tx<'_>, void: EntryId, of: EntryId, now: Instant) -> Result<(), StoreError> {
    let taken = tx.attempt(|tx| take_back(tx, of))?;
    taken.or_else(|why| raise(tx, void, why, now))
}

/// A row that cannot be read must not hold up the journal that the entry comes with.
fn raise(tx: &mut Tx<'_>, entry: EntryId, why: String, now: Instant) -> Result<(), StoreError> {
    let (evidence, subject) = (Evidence::from(why).entry(entry), format!("member's card in {entry}"));
    let finding = Finding { class: Class::LeftUndone, store: Some(entry.store), subject, evidence };
    exception::raise(tx, &finding, now).map(drop)
}

fn give_sold(tx: &mut Tx<'_>, number: CardNumber) -> Result<(), StoreError> {
    let requests = rows::accepted_with_card(tx, number)?;
    if requests.is_empty() || card::find(tx, number)?.is_none_or(|card| card.member.is_some()) {
        return Ok(());
    }
    for request in requests {
        let Some(id) = request.member else { continue };
        // Why somebody stays without it was said when they were accepted, or is that they did not buy it.
        if give(tx, &request, id)?.is_none() && card::find(tx, number)?.is_some_and(|card| card.member == Some(id)) {
            return Ok(());
        }
    }
    Ok(())
}

fn take_back(tx: &mut Tx<'_>, of: EntryId) -> Result<(), StoreError> {
    let sql = "SELECT bytes FROM entry WHERE store_id = $1 AND epoch = $2 AND seq = $3";
    let values = [(&of.store).into(), of.epoch.into(), of.seq.into()];
    let sale = tx.query_one(sql, &values, |row| {
        Ok::<_, StoreError>(match EntryView::decode(row.bytes(0)?).map(|view| view.body()) {
            Ok(Ok(Body::CardSale(sale))) => Some(sale.card),
            _ => None,
        })
    })?;
    let Some(number) = sale.flatten() else { return Ok(()) };
    let Some(owner) = card::find(tx, number)?.and_then(|card| card.member) else { return Ok(()) };
    let requests = rows::accepted_with_card(tx, number)?;
    if requests.iter().any(|request| request.member == Some(owner) && request.entry.store == of.store) {
        card::unbind(tx, number)?;
    }
    Ok(())
}

fn owner(request: &Request, sales: &[CardSale]) -> Owner {
    let entry = request.entry;
    let is_after = |sale: &CardSale| match (sale.id.store, sale.id.epoch) == (entry.store, entry.epoch) {
        true => sale.id.seq > entry.seq,
        false => sale.at_ms > request.asked_at_ms,
    };
    let Some(last) = card_sale::in_force(sales) else { return Owner::Open };
    if !is_after(last) {
        return Owner::Theirs;
    }
    let first = sales.iter().find(|sale| sale.id.store == entry.store && is_after(sale));
    let is_first = first.is_some_and(|first| first.id == last.id);
    if is_first && last.at_ms <= request.asked_at_ms.plus_ms(KEPT_MS) { Owner::Theirs } else { Owner::Other(last.id) }
}
