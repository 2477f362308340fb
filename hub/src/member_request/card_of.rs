//! Whose a card is by what stores sent: by its sale, which names the buyer, and by the form on which somebody was enrolled with it.
//!
//! The sale of a card that stands, the last that was not undone, makes it the member's whom it names: by their number, or by the draft under which they
//! were enrolled at that store, as soon as that is accepted. A sale that names nobody makes it nobody's. A form makes a card that was in use before it
//! the member's at once; one that lay on the rack becomes theirs with the sale that names their draft. All of it is computed anew from what is here, each
//! time a sale, its void or an acceptance arrives, so that it ends the same in whatever order they do. Invariants: nobody is made the owner of a card by a
//! sale that was undone, or that names somebody else; whom head office itself has given a card keeps it.

use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::entry::{Body, CardSale as Sold, EntryView};
use huitong_protocol::id::{EntryId, MemberId};
use huitong_protocol::member::DraftId;
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::Instant;

use crate::card_sale::{CardSale, in_force, of_card};
use crate::store::member_request::{self as rows, Asked, Request, State};
use crate::store::{StoreError, Tx, card, exception, member};

/// Whose a card is by its sales, for somebody who was enrolled.
enum Claim {
    /// No sale that stands is known here.
    Open,
    /// Theirs.
    Theirs,
    /// Of whoever bought it in this entry.
    Other(EntryId),
}

/// Whom a sale names.
enum Buyer {
    /// Nobody, or somebody of whom head office has made no member.
    Nobody,
    /// A member.
    Member(MemberId),
    /// Somebody who cannot have it, in words.
    Unfit(String),
}

/// What a card's owner could not be made of, and as what that is raised.
type Conflict = Option<(Class, String)>;

/// Makes the cards that an accepted enrolment is about its member's: the one that the form names, now or when it is sold to them, and those that were sold
/// to them under their draft. Gives in words why the member stays without the one on the form.
pub(super) fn give(tx: &mut Tx<'_>, request: &Request, id: MemberId) -> Result<Option<String>, StoreError> {
    let Asked::Enrolment { draft, card: named, .. } = &request.asked else { return Ok(None) };
    for number in sold_under(tx, request.entry, *draft)? {
        let Some(card) = card::find(tx, number)? else { continue };
        let sales = of_card(tx, number, card.account)?;
        if card.member.is_none()
            && let Claim::Theirs = claim(request, id, &sales)
            && !is_back(&card, in_force(&sales))
        {
            card::bind(tx, number, id)?;
        }
    }
    match named {
        Some(number) => give_named(tx, request, *number, id),
        None => Ok(None),
    }
}

fn give_named(
    tx: &mut Tx<'_>,
    request: &Request,
    number: CardNumber,
    id: MemberId,
) -> Result<Option<String>, StoreError> {
    let Some(card) = card::find(tx, number)? else {
        return Ok(Some(format!("card {number} is unknown, so the member is without it")));
    };
    if let Some(owner) = card.member {
        if owner == id {
            return Ok(None);
        }
        let owner = in_words(tx, owner)?;
        return Ok(Some(format!("card {number} is that of {owner}, so the member is without it")));
    }
    let sales = of_card(tx, number, card.account)?;
    match claim(request, id, &sales) {
        // They bought it and gave it back, so whose it is now is nothing to them.
        Claim::Other(_) if sales.iter().any(|sale| sale.is_undone && is_to(sale, request, id)) => Ok(None),
        Claim::Other(sale) => {
            Ok(Some(format!("card {number} was sold to somebody else in {sale}, so the member is without it")))
        }
        // Of a card in use whose sale is not here, head office or another journal knows.
        Claim::Open if is_unsold(&card) => Ok(None),
        Claim::Theirs if is_back(&card, in_force(&sales)) => Ok(None),
        Claim::Open | Claim::Theirs => card::bind(tx, number, id).map(|()| None),
    }
}

/// Takes the sale of a card, in the transaction that takes its entry.
///
/// # Errors
/// [`StoreError`].
pub fn sold(tx: &mut Tx<'_>, id: EntryId, sold: &Sold, now: Instant) -> Result<(), StoreError> {
    let names_somebody = sold.member.is_some() || sold.draft.is_some();
    let settled = tx.attempt(|tx| match names_somebody || !rows::accepted_with_card(tx, sold.card)?.is_empty() {
        true => settle(tx, sold.card),
        false => Ok(None),
    })?;
    raise(tx, id, settled, now)
}

/// Takes that an operation was undone, in the transaction that takes its entry: a card whose sale that was is no more the member's who got it with the sale.
///
/// # Errors
/// [`StoreError`].
pub fn sale_undone(tx: &mut Tx<'_>, void: EntryId, of: EntryId, now: Instant) -> Result<(), StoreError> {
    let settled = tx.attempt(|tx| take_back(tx, of))?;
    raise(tx, void, settled, now)
}

/// What cannot be done, and a row that cannot be read, must not hold up the journal that the entry comes with.
fn raise(tx: &mut Tx<'_>, entry: EntryId, of: Result<Conflict, String>, now: Instant) -> Result<(), StoreError> {
    let (class, words) = match of {
        Ok(None) => return Ok(()),
        Ok(Some(conflict)) => conflict,
        Err(why) => (Class::LeftUndone, why),
    };
    let (evidence, subject) = (Evidence::from(words).entry(entry), format!("member's card in {entry}"));
    let finding = Finding { class, store: Some(entry.store), subject, evidence };
    exception::raise(tx, &finding, now).map(drop)
}

/// Makes a card the member's whose it is by the sales and the forms that are here.
fn settle(tx: &mut Tx<'_>, number: CardNumber) -> Result<Conflict, StoreError> {
    let Some(card) = card::find(tx, number)? else { return Ok(None) };
    let sales = of_card(tx, number, card.account)?;
    let Some(last) = in_force(&sales) else { return Ok(None) };
    if is_back(&card, Some(last)) {
        return Ok(None);
    }
    let buyer = match buyer(tx, last)? {
        Buyer::Unfit(words) => return Ok(Some((Class::LeftUndone, words))),
        Buyer::Member(id) => Some(id),
        Buyer::Nobody => None,
    };
    let forms = rows::accepted_with_card(tx, number)?;
    if let Some(owner) = card.member {
        if buyer == Some(owner) {
            return Ok(None);
        }
        let by_form = forms.iter().find(|form| form.member == Some(owner));
        let owner_in_words = in_words(tx, owner)?;
        match by_form.map(|form| claim(form, owner, &sales)) {
            // The form came before the sale was known.
            Some(Claim::Other(sale)) => {
                match buyer {
                    Some(id) => card::bind(tx, number, id)?,
                    None => card::unbind(tx, number)?,
                }
                let words =
                    format!("card {number} was sold to somebody else in {sale}; {owner_in_words} is without it");
                return Ok(Some((Class::MemberConflict, words)));
            }
            _ => {
                let Some(id) = buyer else { return Ok(None) };
                let buyer = in_words(tx, id)?;
                let words = format!("card {number} is that of {owner_in_words}; {buyer}, who bought it, is without it");
                return Ok(Some((Class::MemberConflict, words)));
            }
        }
    }
    if let Some(id) = buyer {
        return card::bind(tx, number, id).map(|()| None);
    }
    // A card in use when somebody was enrolled with it, whose sale arrives only now.
    for form in forms {
        let Some(id) = form.member else { continue };
        if let Claim::Theirs = claim(&form, id, &sales) {
            return card::bind(tx, number, id).map(|()| None);
        }
    }
    Ok(None)
}

fn take_back(tx: &mut Tx<'_>, of: EntryId) -> Result<Conflict, StoreError> {
    let sql = "SELECT bytes FROM entry WHERE store_id = $1 AND epoch = $2 AND seq = $3";
    let values = [(&of.store).into(), of.epoch.into(), of.seq.into()];
    let number = tx.query_one(sql, &values, |row| {
        Ok::<_, StoreError>(match EntryView::decode(row.bytes(0)?).map(|view| view.body()) {
            Ok(Ok(Body::CardSale(sale))) => Some(sale.card),
            _ => None,
        })
    })?;
    let Some(number) = number.flatten() else { return Ok(None) };
    let Some(card) = card::find(tx, number)? else { return Ok(None) };
    let Some(owner) = card.member else { return settle(tx, number) };
    let sales = of_card(tx, number, card.account)?;
    let forms = rows::accepted_with_card(tx, number)?;
    let is_by_form = forms.iter().any(|form| form.member == Some(owner) && form.entry.store == of.store);
    let mut is_by_sale = false;
    for sale in sales.iter().filter(|sale| sale.id == of) {
        is_by_sale = matches!(buyer(tx, sale)?, Buyer::Member(id) if id == owner);
    }
    let is_theirs_still = match in_force(&sales) {
        Some(last) => matches!(buyer(tx, last)?, Buyer::Member(id) if id == owner),
        None => false,
    };
    if (is_by_form || is_by_sale) && !is_theirs_still {
        card::unbind(tx, number)?;
    }
    settle(tx, number)
}

/// Whether a sale names the member of an enrolment.
fn is_to(sale: &CardSale, request: &Request, id: MemberId) -> bool {
    let of_form = match &request.asked {
        Asked::Enrolment { draft, .. } => Some(draft),
        Asked::Change { .. } => None,
    };
    let is_draft = sale.draft.is_some() && sale.draft.as_ref() == of_form && sale.id.store == request.entry.store;
    sale.member.map_or(is_draft, |member| member == id)
}

fn claim(request: &Request, id: MemberId, sales: &[CardSale]) -> Claim {
    let Some(last) = in_force(sales) else { return Claim::Open };
    let entry = request.entry;
    let is_after = match (last.id.store, last.id.epoch) == (entry.store, entry.epoch) {
        true => last.id.seq > entry.seq,
        false => last.at_ms > request.asked_at_ms,
    };
    let names_somebody = last.member.is_some() || last.draft.is_some();
    match is_to(last, request, id) || (!is_after && !names_somebody) {
        true => Claim::Theirs,
        false => Claim::Other(last.id),
    }
}

const fn is_unsold(card: &Card) -> bool {
    matches!(card.status, CardStatus::Blank | CardStatus::Withdrawn)
}

/// Whether a card is known to be on the rack again after a sale: a report came ahead of the void.
fn is_back(card: &Card, sale: Option<&CardSale>) -> bool {
    is_unsold(card) && sale.is_some_and(|sale| card.status_stamp > sale.stamp)
}

fn in_words(tx: &mut Tx<'_>, id: MemberId) -> Result<String, StoreError> {
    let found = member::find_by_id(tx, id)?.map(|found| format!("member {}", found.member.number));
    Ok(found.unwrap_or_else(|| "another member".to_owned()))
}

fn buyer(tx: &mut Tx<'_>, sale: &CardSale) -> Result<Buyer, StoreError> {
    if let Some(id) = sale.member {
        return Ok(match member::find_by_id(tx, id)? {
            Some(found) if found.member.active => Buyer::Member(id),
            Some(found) => Buyer::Unfit(format!(
                "{} sold a card to member {}, who is not active, so they are without it",
                sale.id, found.member.number
            )),
            None => Buyer::Unfit(format!(
                "{} sold a card to member id {id}, whom nobody knows, so they are without it",
                sale.id
            )),
        });
    }
    let Some(draft) = sale.draft else { return Ok(Buyer::Nobody) };
    Ok(match rows::find_by_draft(tx, draft)? {
        Some(Request { entry, member: Some(id), state: State::Accepted(..), .. }) if entry.store == sale.id.store => {
            Buyer::Member(id)
        }
        // Not decided yet, or refused.
        _ => Buyer::Nobody,
    })
}

/// The cards that were sold under a draft: its store sold them after the form was taken down.
fn sold_under(tx: &mut Tx<'_>, form: EntryId, draft: DraftId) -> Result<Vec<CardNumber>, StoreError> {
    let sold = tx.query(
        "SELECT bytes FROM entry WHERE store_id = $1 AND kind = 'card_sale' AND (epoch, seq) > ($2, $3)",
        &[(&form.store).into(), form.epoch.into(), form.seq.into()],
        |row| {
            Ok::<_, StoreError>(match EntryView::decode(row.bytes(0)?).map(|view| view.body()) {
                Ok(Ok(Body::CardSale(sale))) if sale.draft == Some(draft) => Some(sale.card),
                _ => None,
            })
        },
    )?;
    let mut sold: Vec<CardNumber> = sold.into_iter().flatten().collect();
    sold.sort_unstable();
    sold.dedup();
    Ok(sold)
}
