//! Operations: what became of one, its receipt as text, and its undoing on its day.

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use huitong_config::Language;
use huitong_protocol::till::Fault;
use serde::Deserialize;

use super::cards::query_problem;
use super::posted::{PathPart, json_response, path_part};
use super::{Api, Code, Posted, Problem, Till, words};
use crate::ledger::{OperationLook, Order};
use crate::slip::{COLUMNS_MAX, COLUMNS_MIN, Style};

/// The columns of 58 mm paper, which fit on any.
const COLUMNS_DEFAULT: usize = COLUMNS_MIN;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SlipQuery {
    /// Columns of the paper.
    columns: Option<usize>,
    /// The language of its words; Chinese when nobody says: the paper is the customer's, whatever the till's program reads.
    #[schemars(with = "Option<String>")]
    language: Option<Language>,
}

pub(super) async fn receipt(
    State(api): State<Api>,
    _till: Till,
    id: PathPart,
    query: Result<Query<SlipQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| query_problem(&rejection))?;
    let columns = query.columns.unwrap_or(COLUMNS_DEFAULT);
    if !(COLUMNS_MIN..=COLUMNS_MAX).contains(&columns) {
        let fault = format!("is {columns}; it must be from {COLUMNS_MIN} to {COLUMNS_MAX}");
        return Err(Problem::field(Fault::new("columns", fault)));
    }
    let style = Style { columns, language: query.language.unwrap_or(Language::Chinese) };
    match api.ledger().slip(path_part("id", id)?, style)? {
        Some(slip) => {
            let headers =
                [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CONTENT_LANGUAGE, style.language.tag())];
            Ok((headers, slip).into_response())
        }
        None => Err(Problem::new(Code::NotFound, "this store has no such receipt; declined operations have none")),
    }
}

pub(super) async fn void(State(api): State<Api>, id: PathPart, posted: Posted) -> Result<Response, Problem> {
    let order = Order::Void { of: path_part("id", id)?, request: posted.json()? };
    posted.execute(&api, order).await
}

pub(super) async fn look(
    State(api): State<Api>,
    _till: Till,
    Extension(language): Extension<Language>,
    id: PathPart,
) -> Result<Response, Problem> {
    match api.ledger().operation(path_part("id", id)?)? {
        // As the operation itself was answered, byte by byte.
        OperationLook::Decided(decided) => {
            let answer = words::worded(decided, language)?;
            let json = [br#"{"state":"decided","outcome":"#.as_slice(), &answer, b"}"].concat();
            Ok(json_response(json.into()))
        }
        OperationLook::Unknown => Ok(json_response(Bytes::from_static(br#"{"state":"unknown"}"#))),
        OperationLook::InFlight => Err(Problem::new(Code::InFlight, "ask again in a moment")),
    }
}
