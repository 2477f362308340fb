//! Adoption: how far the stores are with what was published, put together for head office.

use huitong_protocol::bundle::RefusedPolicy;
use huitong_protocol::id::StoreId;
use huitong_protocol::organisation::Store;
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::wire::Proposal;
use jiff::ToSpan;
use serde::Serialize;

use crate::store::engine::{StoreError, Tx};
use crate::store::{adoption as rows, device, organisation, parameters as proposals, policy};

/// Where a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It never said anything of policies.
    Unheard,
    /// It refused, or cannot use, what is newer than what it has in force.
    Refused,
    /// It lacks something that was published.
    Behind,
    /// It has more than this hub published: the hub was restored from a backup. The next policy goes above it.
    Ahead,
    /// It has everything, and its open day began under an earlier version than today's.
    Waiting,
    /// It has everything, and what is due is in force.
    Current,
}

impl Standing {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unheard => "unheard",
            Self::Refused => "refused",
            Self::Behind => "behind",
            Self::Ahead => "ahead",
            Self::Waiting => "waiting",
            Self::Current => "current",
        }
    }
}

/// Where the parameters of a store are that were approved last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameters {
    /// It never had any.
    None,
    /// They are approved and in no policy yet.
    Approved,
    /// They are published, and the store trades under an earlier version.
    Published,
    /// The store trades under a version that has them.
    InForce,
}

impl Parameters {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Approved => "approved",
            Self::Published => "published",
            Self::InForce => "in_force",
        }
    }

    fn of(approved: Option<&Proposal>, in_force: Option<u64>) -> Self {
        match approved.map(|proposal| proposal.published_version) {
            None => Self::None,
            Some(None) => Self::Approved,
            Some(Some(version)) if in_force.is_some_and(|in_force| in_force >= version) => Self::InForce,
            Some(Some(_)) => Self::Published,
        }
    }
}

/// One store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adoption {
    /// The store.
    pub store: StoreId,
    /// Where it is.
    pub standing: Standing,
    /// The newest version that it has.
    pub downloaded: Option<u64>,
    /// Since when, as far as the hub heard.
    pub downloaded_since_ms: Option<Instant>,
    /// The version in force on its business day, as it says.
    pub in_force: Option<u64>,
    /// Since when, as far as the hub heard.
    pub in_force_since_ms: Option<Instant>,
    /// The version that is due on its clock's business day; 0 when nothing is.
    pub due: u64,
    /// The version of its last sale, as far as its journal is here.
    pub used: Option<u64>,
    /// When the first sale in a row under that version was.
    pub used_since_ms: Option<Instant>,
    /// When the last sale was.
    pub used_at_ms: Option<Instant>,
    /// What it refused since it last took a policy, with the reason.
    pub refused: Vec<RefusedPolicy>,
    /// Where the parameters are that were approved for it.
    pub parameters: Parameters,
    /// When it last reported anything.
    pub heard_at_ms: Option<Instant>,
}

/// Looks at every store that is open, by code.
///
/// # Errors
/// [`StoreError`].
pub fn look(tx: &mut Tx<'_>, now: Instant) -> Result<Vec<Adoption>, StoreError> {
    let newest = policy::newest_version(tx)?;
    let approved: Vec<Proposal> = proposals::approved(tx)?.into_iter().map(|kept| kept.proposal).collect();
    let mut found = Vec::new();
    for store in organisation::stores(tx)? {
        let today = business_day(&store, now);
        if store.closed_on.is_some_and(|closed| today.is_some_and(|today| closed < today)) {
            continue;
        }
        let due = match today {
            Some(today) => policy::version_in_force(tx, today)?,
            None => 0,
        };
        let stated = rows::stated(tx, store.id)?;
        let used = rows::used(tx, store.id)?;
        let standing = match &stated {
            None => Standing::Unheard,
            Some(stated) if stated.state.refused.iter().any(|refused| refused.version > stated.state.in_force) => {
                Standing::Refused
            }
            Some(stated) if stated.state.held < newest => Standing::Behind,
            Some(stated) if stated.state.held > newest => Standing::Ahead,
            Some(stated) if stated.state.in_force != due && due > 0 => Standing::Waiting,
            Some(_) => Standing::Current,
        };
        let in_force = stated.as_ref().map(|stated| stated.state.in_force);
        found.push(Adoption {
            store: store.id,
            standing,
            downloaded: stated.as_ref().map(|stated| stated.state.held),
            downloaded_since_ms: stated.as_ref().map(|stated| stated.held_since_ms),
            in_force,
            in_force_since_ms: stated.as_ref().map(|stated| stated.in_force_since_ms),
            due,
            used: used.map(|used| used.version),
            used_since_ms: used.map(|used| used.since_ms),
            used_at_ms: used.map(|used| used.at_ms),
            refused: stated.map(|stated| stated.state.refused).unwrap_or_default(),
            parameters: Parameters::of(approved.iter().find(|proposal| proposal.store == store.id), in_force),
            heard_at_ms: device::last_seen(tx, store.id)?,
        });
    }
    Ok(found)
}

/// The business day of an instant by a store's wall clock and rollover hour; `None` outside the calendar or when its zone is not known here.
pub(crate) fn business_day(store: &Store, at: Instant) -> Option<BusinessDay> {
    let zone = jiff::tz::TimeZone::get(&store.time_zone).ok()?;
    let civil = jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(zone).datetime();
    civil.checked_sub(i64::from(store.rollover_hour).hours()).ok().map(|civil| BusinessDay::of(civil.date()))
}
