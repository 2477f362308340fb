//! Accounts and cards: where every cent is. No number of a card is in an answer in full, nor in what is said of a bad one.

use axum::extract::{Path, State};
use axum::response::Response;
use huitong_protocol::card::{Card, CardNumber};
use huitong_protocol::id::AccountId;
use huitong_protocol::member::MemberCard;
use serde_json::{Value, json};

use super::answer;
use super::caller::Caller;
use super::problem::{Code, Problem};
use crate::account as rules;
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
    let mut value = answer::dated(&view)?;
    value["currency"] = json!(hub.root.currency);
    value["cards"] = view.cards.iter().map(masked).collect::<Result<_, _>>()?;
    answer::json(&value)
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
    answer::json(&masked(&card)?)
}

fn masked(card: &Card) -> Result<Value, Problem> {
    let mut value = answer::dated(&MemberCard::of(card))?;
    value["account"] = json!(card.account);
    value["allocated_store"] = json!(card.allocated_store);
    value["member"] = json!(card.member);
    Ok(value)
}
