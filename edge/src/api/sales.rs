//! Sales at the till and what follows them: their payment, their invoice, their goods coming back.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::posted::{PathPart, path_part};
use super::{Api, Posted, Problem, Till};
use crate::ledger::Order;

pub(super) async fn post(State(api): State<Api>, posted: Posted) -> Result<Response, Problem> {
    let order = Order::Sale(posted.json()?);
    posted.execute(&api, order).await
}

pub(super) async fn parked(State(api): State<Api>, _till: Till) -> Result<Response, Problem> {
    Ok(Json(api.ledger().parked_sales()?).into_response())
}

pub(super) async fn resolve_payment(State(api): State<Api>, id: PathPart, posted: Posted) -> Result<Response, Problem> {
    let order = Order::ResolvePayment { of: path_part("id", id)?, request: posted.json()? };
    posted.execute(&api, order).await
}

pub(super) async fn register_invoice(
    State(api): State<Api>,
    id: PathPart,
    posted: Posted,
) -> Result<Response, Problem> {
    let order = Order::RegisterInvoice { of: path_part("id", id)?, request: posted.json()? };
    posted.execute(&api, order).await
}

pub(super) async fn give_back(State(api): State<Api>, posted: Posted) -> Result<Response, Problem> {
    let order = Order::Return(posted.json()?);
    posted.execute(&api, order).await
}

pub(super) async fn give_back_unreferenced(State(api): State<Api>, posted: Posted) -> Result<Response, Problem> {
    let order = Order::UnreferencedReturn(posted.json()?);
    posted.execute(&api, order).await
}
