//! Accounts and cards: where every cent is. No number of a card is in an answer in full, nor in what is said of a bad one.

use axum::extract::{Path, State};
use axum::response::Response;
use huitong_protocol::card::{Card, CardNumber};
use huitong_protocol::id::{AccountId, MemberId, StoreId};
use huitong_protocol::member::MemberCard;
use huitong_protocol::money::Currency;
use serde::{Deserialize, Serialize};

use super::answer;
use super::caller::{Asked, Caller};
use super::page::{self, Listing};
use super::problem::{Code, Problem};
use crate::account::{self as rules, AccountError, AccountView};
use crate::actor::Permission;
use crate::hot::{self, HotCard, Part};
use crate::hub::Hub;
use crate::store::{StoreError, Tx, organisation};
use crate::unsold::{self, Unsold};

pub(super) async fn account(
    State(hub): State<Hub>,
    Path(account): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.allow(Permission::ReadMembers)?;
    let id = account.parse::<i64>().ok().and_then(|number| AccountId::new(number).ok());
    // Not repeated: it may be a card's number, sent here by mistake.
    let id =
        id.ok_or_else(|| Problem::field("account", "is no number of an account; look a card up under /v1/hq/cards"))?;
    let (now, lately) = (hub.now(), hub.lately());
    let read = move |tx: &mut Tx<'_>| {
        let Some(view) = rules::show(tx, id)? else { return Ok(None) };
        Ok::<_, AccountError>(Some((view, hot::of_account(tx, &lately, id, now)?)))
    };
    let (view, stopped) = (hub.store.read(read).await?)
        .ok_or_else(|| Problem::new(Code::NotFound, "no card opens an account of this number"))?;
    answer::json(&Answer { view: view.with_cards(CardRow::of), currency: hub.root.currency, stopped })
}

pub(super) async fn card(
    State(hub): State<Hub>,
    Path(number): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.allow(Permission::ReadMembers)?;
    let number =
        CardNumber::new(&number).map_err(|_| Problem::field("number", "is no card number of 6 to 24 digits"))?;
    let (now, lately) = (hub.now(), hub.lately());
    let read = move |tx: &mut Tx<'_>| {
        let Some(card) = organisation::card(tx, &number)? else { return Ok(None) };
        let mut stopped = hot::of_account(tx, &lately, card.account, now)?;
        stopped.retain(|stopped| stopped.number == card.number);
        let unsold = unsold::look(tx, &card)?;
        Ok::<_, StoreError>(Some(CardSheet { row: CardRow::of(&card), stopped: stopped.pop(), unsold }))
    };
    let card = hub.store.read(read).await?;
    answer::json(&card.ok_or_else(|| Problem::new(Code::NotFound, "no card has this number"))?)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hot {
    /// Only what can be taken at this store.
    store: Option<StoreId>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// Stopped cards, the most exposed first. What changes between two pages may be on both, or on none.
pub(super) async fn hot(listing: Listing, Asked(asked): Asked<Hot>) -> Result<Response, Problem> {
    let part = listing.allow(Permission::ReadMembers, asked.cursor, asked.limit)?;
    let (now, lately) = (part.hub.now(), part.hub.lately());
    let of = Part { account: None, store: asked.store };
    let read = move |tx: &mut Tx<'_>, after: Option<String>, limit| {
        let cards = hot::look(tx, &lately, of, now)?.cards;
        Ok::<Vec<HotCard>, StoreError>(page::rest(cards, after.as_ref(), limit, HotCard::key))
    };
    part.page(read, HotCard::key).await
}

/// An account in full, its cards masked.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "AccountAnswer")]
pub(super) struct Answer {
    #[serde(flatten)]
    view: AccountView<CardRow>,
    /// What its money is counted in.
    currency: Currency,
    /// Of its cards those that are frozen or lost, and what can still be taken with them.
    stopped: Vec<HotCard>,
}

/// A card, masked, and when it is frozen or lost what can still be taken with it.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct CardSheet {
    #[serde(flatten)]
    row: CardRow,
    /// Nothing when it is not stopped.
    stopped: Option<HotCard>,
    /// Why it is not sold again yet, when its sale was undone.
    unsold: Option<Unsold>,
}

/// A card, masked.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct CardRow {
    #[serde(flatten)]
    card: MemberCard,
    /// What it opens.
    account: AccountId,
    /// The store that may sell it while it is blank.
    allocated_store: Option<StoreId>,
    /// The member it belongs to.
    member: Option<MemberId>,
}

impl CardRow {
    fn of(card: &Card) -> Self {
        let &Card { account, allocated_store, member, .. } = card;
        Self { card: MemberCard::of(card), account, allocated_store, member }
    }
}
