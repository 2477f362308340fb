//! Dataset: a page of what changed after the version that the store has.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{Answer, DATASET_ROWS_MAX, DatasetKind, DatasetPage, DatasetRequest, Request, path};

use super::{Body, answer, serve_proved, take_report};
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::session::Caller;
use crate::store::dataset as rows;

pub(in crate::api) async fn dataset(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    serve_proved(&hub, path::DATASET, &headers, body, |caller, request| serve(&hub, caller, request)).await
}

async fn serve(hub: &Hub, caller: Caller, request: Request<DatasetRequest>) -> Result<Answer<DatasetPage>, Refusal> {
    let asked = request.body;
    if asked.limit == 0 || asked.limit > DATASET_ROWS_MAX {
        return Err(Refusal::malformed(format!(
            "body.limit: is {}; 1 to {DATASET_ROWS_MAX} rows are allowed",
            asked.limit
        )));
    }
    let (taken, grants) = take_report(hub, caller, request.report).await?;
    if asked.dataset == DatasetKind::Cards {
        hub.take_cards_version(caller, asked.after_version).await?;
    }
    let page = hub.store.read(move |tx| rows::page(tx, &asked, caller.store)).await?;
    Ok(answer(hub, taken, grants, page))
}
