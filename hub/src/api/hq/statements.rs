//! Statements of a run: byte for byte what the command line writes.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use huitong_protocol::party::Party;
use huitong_protocol::settlement::run::RunId;
use serde::Deserialize;

use super::answer;
use super::caller::{Asked, Caller};
use super::numbered::number;
use super::problem::{Code, Problem};
use crate::actor::Permission;
use crate::hub::Hub;
use crate::statement::{self, Format, Lang};

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Show {
    party: Option<String>,
    format: Option<Format>,
    #[serde(default)]
    lang: Lang,
}

pub(super) async fn show(
    State(hub): State<Hub>,
    Path(run): Path<String>,
    headers: HeaderMap,
    caller: Caller,
    Asked(asked): Asked<Show>,
) -> Result<Response, Problem> {
    caller.allow(Permission::Read)?;
    let id = RunId(number(&run)?);
    let party = asked.party.map(|party| party.parse::<Party>());
    let party = party.transpose().map_err(|fault| Problem::field("party", fault))?;
    let format = match asked.format {
        Some(format) => format,
        None => accepted(&headers)?,
    };
    let statements = hub.store.read(move |tx| statement::select(tx, id, party)).await?;
    let media_type = match format {
        Format::Text => "text/plain; charset=utf-8",
        Format::Csv => "text/csv; charset=utf-8",
        Format::Json => "application/json",
    };
    Ok(answer::whole(StatusCode::OK, media_type, statement::render(&statements, format, asked.lang)))
}

/// The first form in `Accept` that there is; JSON when nothing is said. Weights are not looked at: three forms need no bargaining.
fn accepted(headers: &HeaderMap) -> Result<Format, Problem> {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else {
        return Ok(Format::Json);
    };
    let known = |range: &str| match range.split(';').next().unwrap_or_default().trim() {
        "application/json" | "application/*" | "*/*" => Some(Format::Json),
        "text/csv" => Some(Format::Csv),
        "text/plain" | "text/*" => Some(Format::Text),
        _ => None,
    };
    accept.split(',').find_map(known).ok_or_else(|| {
        Problem::new(Code::NotAcceptable, "a statement is application/json, text/csv or text/plain; or say ?format=")
    })
}
