//! Sales and returns at the till.

use axum::extract::State;
use axum::response::Response;

use super::{Api, Posted, Problem};
use crate::ledger::Order;

pub(super) async fn post(State(api): State<Api>, posted: Posted) -> Result<Response, Problem> {
    let order = Order::Sale(posted.json()?);
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
