//! Explanation: why a posted sale cost what it cost, for whoever stands at the till with the receipt in hand.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::posted::{PathPart, path_part};
use super::{Api, Code, Problem, Till};
use crate::ledger::Explanation;

pub(super) async fn explain(State(api): State<Api>, _till: Till, id: PathPart) -> Result<Response, Problem> {
    let of = path_part("id", id)?;
    let asked = api.clone();
    let explained = tokio::task::spawn_blocking(move || asked.ledger().explain(of))
        .await
        .map_err(|_| Problem::new(Code::Internal, "the price broke off; the log has the place"))??;
    Err(match explained {
        Explanation::Priced(price) => return Ok(Json(price).into_response()),
        Explanation::NoReceipt => {
            Problem::new(Code::NotFound, "this store has no such receipt; declined operations have none")
        }
        Explanation::NoSale { kind } => {
            Problem::new(Code::NotFound, format!("the receipt is a {kind}; only sales of goods have prices by line"))
        }
        Explanation::AsTaken => {
            Problem::new(Code::PriceAsTaken, "it was taken while the edge was down; the till that took it knows why")
        }
        Explanation::PolicyNotHeld { version } => Problem::new(
            Code::PolicyNotHeld,
            format!("it was priced under policy {version}; the answer of its operation, or head office, can tell"),
        ),
        Explanation::Differs(differences) => Problem::new(
            Code::PriceDiffers,
            format!("what is recorded stands; tell head office: {}", differences.join("; ")),
        ),
    })
}
