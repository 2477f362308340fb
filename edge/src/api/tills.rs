//! Tills: a person answers for one that is gone, and that cannot show any more what it was told.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use huitong_protocol::id::TerminalId;
use huitong_protocol::till::Fault;
use huitong_protocol::till::TEXT_BYTES_MAX;
use huitong_protocol::wire::from_json;
use serde::{Deserialize, Serialize};

use super::posted::{PathPart, path_part};
use super::{Api, Code, Problem, Till};
use crate::store::tenure::Excused;
use crate::store::till;

/// Who answers for it and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExcuseTill {
    /// In words; stands in the log and in the status.
    reason: String,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub(super) struct TillExcused {
    /// The till.
    terminal: TerminalId,
    /// Whether value waited for it. One that was not waited for is not excused for later.
    was_awaited: bool,
}

pub(super) async fn excuse(
    State(api): State<Api>,
    till: Till,
    terminal: PathPart,
    body: Bytes,
) -> Result<Response, Problem> {
    till.may_excuse()?;
    let terminal: TerminalId = path_part("terminal", terminal)?;
    let ExcuseTill { reason } = from_json(&body).map_err(Problem::field)?;
    if reason.trim().is_empty() || reason.len() > TEXT_BYTES_MAX {
        let fault = format!("is empty or longer than {TEXT_BYTES_MAX} bytes; say who answers for the till and why");
        return Err(Problem::field(Fault::new("reason", fault)));
    }
    let paired = api.store().read(till::list)?;
    if !paired.iter().any(|known| known.terminal == terminal && known.revoked_at_ms.is_none()) {
        return Err(Problem::new(
            Code::NotFound,
            format!("no till {terminal} is paired; a revoked one is not waited for"),
        ));
    }
    let excused = Excused { terminal, at_ms: api.clock().now(), by: till.terminal, reason };
    let was_awaited = api.store().continuity().excuse(api.store(), excused).await?;
    Ok(Json(TillExcused { terminal, was_awaited }).into_response())
}
