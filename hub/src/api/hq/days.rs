//! Days: the calendar, store by day.

use axum::response::Response;
use huitong_protocol::id::StoreId;
use huitong_protocol::time::BusinessDay;
use serde::Deserialize;

use super::caller::Asked;
use super::page::{self, Listing};
use super::problem::Problem;
use crate::actor::Permission;
use crate::calendar::{self, CalendarDay, DayState};
use crate::store::{StoreError, Tx};

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

pub(super) async fn list(listing: Listing, Asked(asked): Asked<List>) -> Result<Response, Problem> {
    let List { from, to, store, state, cursor, limit } = asked;
    let part = listing.allow(Permission::Read, cursor, limit)?;
    if let (Some(from), Some(to)) = (from, to) {
        let days = from.date().until(to.date()).map_or(i64::MAX, |span| i64::from(span.get_days()) + 1);
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(Problem::field("to", format_args!("{from} to {to} is not 1 to {DAYS_MAX} days")));
        }
    } else if let Some(from) = from {
        return Err(Problem::field("to", format_args!("say the last day too; from is {from}")));
    }
    let now = part.hub.now();
    let key = |day: &CalendarDay| format!("{} {}", day.business_day, day.store);
    let read = move |tx: &mut Tx<'_>, after: Option<String>, limit| {
        let mut days = calendar::latest(tx, from, to, now)?;
        days.retain(|day| store.is_none_or(|store| day.store == store));
        days.retain(|day| state.is_none_or(|state| day.state == state));
        Ok::<_, StoreError>(page::rest(days, after.as_ref(), limit, key))
    };
    part.page(read, key).await
}
