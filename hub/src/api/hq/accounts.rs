//! Accounts and cards: where every cent is. No number of a card is in an answer in full, nor in what is said of a bad one.

use axum::extract::{Path, State};
use axum::response::Response;
use huitong_protocol::card::{Card, CardNumber};
use huitong_protocol::id::{AccountId, MemberId, StoreId};
use huitong_protocol::member::MemberCard;
use huitong_protocol::money::Currency;
use serde::Serialize;

use super::answer;
use super::caller::Caller;
use super::problem::{Code, Problem};
use crate::account::{self as rules, AccountView};
use crate::actor::Permission;
use crate::hub::Hub;
use crate::store::organisation;

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
    let view = hub.store.read(move |tx| rules::show(tx, id)).await?;
    let view = view.ok_or_else(|| Problem::new(Code::NotFound, "no card opens an account of this number"))?;
    answer::json(&Answer { view: view.with_cards(CardRow::of), currency: hub.root.currency })
}

pub(super) async fn card(
    State(hub): State<Hub>,
    Path(number): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.allow(Permission::ReadMembers)?;
    let number =
        CardNumber::new(&number).map_err(|_| Problem::field("number", "is no card number of 6 to 24 digits"))?;
    let card = hub.store.read(move |tx| organisation::card(tx, &number)).await?;
    let card = card.ok_or_else(|| Problem::new(Code::NotFound, "no card has this number"))?;
    answer::json(&CardRow::of(&card))
}

/// An account in full, its cards masked.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "AccountAnswer")]
pub(super) struct Answer {
    #[serde(flatten)]
    view: AccountView<CardRow>,
    /// What its money is counted in.
    currency: Currency,
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
