//! Dataset: a page of what changed after the version that the store has.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{Answer, DATASET_ROWS_MAX, DatasetPage, DatasetRequest, path};

use super::{Body, answer, proved, take_report};
use crate::api::problem::respond;
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::store::dataset as rows;

pub(in crate::api) async fn dataset(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    let outcome = serve(&hub, &headers, body).await;
    respond(&hub, path::DATASET, &headers, outcome).await
}

async fn serve(hub: &Hub, headers: &HeaderMap, body: Body) -> Result<Answer<DatasetPage>, Refusal> {
    let (caller, request) = proved::<DatasetRequest>(hub, path::DATASET, headers, body).await?;
    let asked = request.body;
    if asked.limit == 0 || asked.limit > DATASET_ROWS_MAX {
        return Err(Refusal::malformed(format!(
            "body.limit: is {}; 1 to {DATASET_ROWS_MAX} rows are allowed",
            asked.limit
        )));
    }
    let (taken, grants) = take_report(hub, caller, request.report).await?;
    let page = hub.store.read(move |tx| rows::page(tx, &asked)).await?;
    Ok(answer(hub, taken, grants, page))
}
