//! Days: the calendar, store by day.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use huitong_protocol::id::StoreId;
use huitong_protocol::time::BusinessDay;
use serde::Deserialize;

use super::caller::{Asked, Caller};
use super::page;
use super::problem::Problem;
use crate::actor::Permission;
use crate::calendar::{self, DayState};
use crate::hub::Hub;

/// The most days of one question: each page computes them all.
const DAYS_MAX: i64 = 92;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    from: Option<BusinessDay>,
    to: Option<BusinessDay>,
    store: Option<StoreId>,
    state: Option<DayState>,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(hub): State<Hub>,
    OriginalUri(uri): OriginalUri,
    caller: Caller,
    Asked(asked): Asked<List>,
) -> Result<Response, Problem> {
    caller.allow(Permission::Read)?;
    let limit = page::limit(asked.limit)?;
    let after = page::after::<String>(asked.cursor.as_deref())?;
    let (from, to, now) = (asked.from, asked.to, hub.now());
    if let (Some(from), Some(to)) = (from, to) {
        let days = from.date().until(to.date()).map_or(i64::MAX, |span| i64::from(span.get_days()) + 1);
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(Problem::field("to", format_args!("{from} to {to} is not 1 to {DAYS_MAX} days")));
        }
    } else if let Some(from) = from {
        return Err(Problem::field("to", format_args!("say the last day too; from is {from}")));
    }
    let mut days = hub.store.read(move |tx| calendar::latest(tx, from, to, now)).await?;
    days.retain(|day| asked.store.is_none_or(|store| day.store == store));
    days.retain(|day| asked.state.is_none_or(|state| day.state == state));
    let key = |day: &calendar::CalendarDay| format!("{} {}", day.business_day, day.store);
    let rows = page::rest(days, after.as_ref(), limit, key);
    page::page(&uri, rows, limit, key)
}
