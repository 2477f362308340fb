//! Status: how the edge is, for people, tills and supervisors.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use huitong_protocol::allotment::Purse;
use huitong_protocol::bundle::{KeyId, PolicyKey, RefusedPolicy};
use huitong_protocol::id::{AccountId, TerminalId};
use huitong_protocol::ledger::ValueGate;
use huitong_protocol::policy::Rung;
use huitong_protocol::till::EdgeStatus;
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;
use serde::Serialize;

use super::{Api, Code, Problem, Till};
use crate::reminder::{Days, reminders, rung_words};
use crate::store::tenure::{Excused, Quarantine};
use crate::store::{
    Chain, ReadTx, StoreError, allotment, day, hold, overdraft as store_overdraft, policy, setting, sync_state, tenure,
};

/// How the store stands with its policies. A stale one stays in force: trade never waits for head office.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct PolicyStatus {
    /// The version in force, 0 when there is none.
    version: u64,
    /// The first business day that it was published for.
    effective_from: Option<BusinessDay>,
    /// The newest version that was taken; above `version` when its day is still to come or it cannot be used.
    held: u64,
    /// When the hub last had nothing newer.
    confirmed_at_ms: Option<Instant>,
    /// How long ago that is, by the edge's clock.
    age_ms: Option<i64>,
    /// Whether that is longer than `sync.policy_stale_after`.
    stale: bool,
    /// The name of the key that signs policies now.
    key: Option<KeyId>,
    /// What was refused or cannot be used since a policy was last taken.
    refused: Vec<RefusedPolicy>,
}

/// How old what the store knows of cards is: the ladder of the policy goes by it.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct CardsStatus {
    /// When the store last knew that head office had no news of cards, as of one that was reported lost. An answer to anything else is none of that.
    confirmed_at_ms: Option<Instant>,
    /// How long ago that is, by the edge's clock; after the clock was set back behind it, since the first look after that.
    age_ms: Option<i64>,
}

/// The status with what people should look at.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct Status {
    #[serde(flatten)]
    edge: EdgeStatus,
    /// The policy in force, and what is known of newer ones.
    policy: PolicyStatus,
    /// What is known of cards.
    cards: CardsStatus,
    /// What the ladder of the policy limits now, because what the store knows of cards is so old.
    ladder: Option<Rung>,
    /// Whether stored value may move.
    value: ValueStatus,
    /// What is set aside of cards.
    holds: HoldsStatus,
    /// How far cards may overdraw here while head office cannot be asked.
    overdraft: OverdraftStatus,
    /// In words, empty when all is well.
    alarms: Vec<String>,
}

/// What is set aside of cards in this store. `GET /v1/holds` lists it.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct HoldsStatus {
    /// How many holds are open.
    open: u64,
    /// What they set aside together.
    held_minor: i64,
    /// When the next of them is over, by the store's clock.
    next_expires_at_ms: Option<Instant>,
}

/// The store's line of the group's risk account; zeros where the policy lets nobody overdraw.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct OverdraftStatus {
    /// Whether the policy lets cards overdraw.
    allowed: bool,
    /// What the policy says that the line is.
    line_minor: i64,
    /// What is left of it here; less than the line when the group's budget did not reach, or until it was filled up again.
    left_minor: i64,
    /// What was overdrawn on the open day.
    today_minor: i64,
    /// What accounts overdrew here and head office has not cleared yet.
    owed_minor: i64,
}

fn overdraft(tx: &ReadTx<'_>, committed: &Chain) -> Result<OverdraftStatus, StoreError> {
    let in_force = committed.policy.as_ref().map(|in_force| &in_force.policy);
    let rules = in_force.and_then(|policy| policy.overdraft);
    let mut status = OverdraftStatus {
        allowed: rules.is_some(),
        line_minor: rules.map_or(0, |rules| rules.store_line_minor),
        left_minor: 0,
        today_minor: 0,
        owed_minor: 0,
    };
    if let Some(policy) = in_force {
        let unit = Unit::Money(policy.currency);
        status.left_minor = allotment::get(tx, Purse { account: AccountId::RISK, unit })?.available_minor();
        status.owed_minor = store_overdraft::owed_in_all(tx, unit)?;
        if let Some(day) = committed.open_day {
            status.today_minor = store_overdraft::on_day(tx, day, unit)?;
        }
    }
    Ok(status)
}

/// Whether stored value may move, and what it waits for.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct ValueStatus {
    /// Which of the three.
    gate: GateName,
    /// The tills that have not shown their witness since the machine was started.
    awaited_tills: Vec<TerminalId>,
    /// Whether head office has not said yet how far it heard the store.
    awaits_hub: bool,
    /// Since when and why no value moves at all.
    quarantine: Option<Quarantine>,
    /// The tills that somebody answered for in this epoch.
    excused: Vec<Excused>,
    /// Whether a restart of the daemon is proved without tills and head office, as long as the machine runs on.
    marker: bool,
}

/// Names of the gate.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum GateName {
    /// Value moves.
    Open,
    /// It comes in and does not go out before everybody who is waited for was heard.
    Unproved,
    /// It does not move until the store is enrolled anew.
    Quarantined,
}

/// How the gate stands, and what people should do about it.
fn value(api: &Api) -> Result<(ValueStatus, Option<String>), StoreError> {
    let (committed, keeper) = (api.store().committed(), api.store().continuity());
    let (gate, excused) =
        api.store().read(|tx| Ok::<_, StoreError>((keeper.gate(tx, &committed)?, tenure::excused(tx)?)))?;
    let quarantine = committed.quarantine.as_deref().cloned();
    let (name, awaited_tills, awaits_hub) = match gate {
        ValueGate::Open => (GateName::Open, Vec::new(), false),
        ValueGate::Unproved { tills, hub } => (GateName::Unproved, tills, hub),
        ValueGate::Quarantined => (GateName::Quarantined, Vec::new(), false),
    };
    let alarm = match (name, &quarantine) {
        (GateName::Open, _) => None,
        (GateName::Unproved, _) => {
            let mut awaited: Vec<String> = awaited_tills.iter().map(|terminal| format!("till {terminal}")).collect();
            awaited.extend(awaits_hub.then(|| "head office".to_owned()));
            Some(format!(
                "stored value waits for {}: use each till once; for one that is gone, a person answers with `huitong-edge till excuse`",
                awaited.join(", ")
            ))
        }
        (GateName::Quarantined, Some(Quarantine { since_ms, reason })) => Some(format!(
            "stored value is stopped since {since_ms}: {reason}; was an old copy of the database put back? Tell head office, and enrol the store \
             anew with its token: `huitong-edge enrol --replace`"
        )),
        (GateName::Quarantined, None) => {
            Some("stored value is stopped, and the reason could not be written down; the log has it".to_owned())
        }
    };
    let marker = keeper.marker_proves();
    Ok((ValueStatus { gate: name, awaited_tills, awaits_hub, quarantine, excused, marker }, alarm))
}

pub(super) async fn status(State(api): State<Api>, _till: Till) -> Result<Response, Problem> {
    let committed = api.store().committed();
    let identity = committed.identity.as_ref().ok_or(StoreError::NotEnrolled)?;
    let (sync, unreported_accounts, mut alarms, key, (unanswered, differing), holds) = api.store().read(|tx| {
        let sync = sync_state::get(tx)?;
        let unreported = allotment::changed_count(tx, sync.reported_change_no)?;
        let key = policy::keys(tx)?.last().map(PolicyKey::id);
        let days = (day::first_unanswered(tx)?, day::first_differing(tx)?);
        let (open, held_minor) = hold::open_sum(tx)?;
        let next_expires_at_ms = hold::open(tx, 1)?.first().map(|hold| hold.expires_at_ms);
        let holds = HoldsStatus { open, held_minor, next_expires_at_ms };
        Ok::<_, StoreError>((sync, unreported, setting::alarms(tx)?, key, days, holds))
    })?;
    let (value, alarm) = value(&api)?;
    let overdraft = api.store().read(|tx| overdraft(tx, &committed))?;
    alarms.extend(alarm);
    alarms.extend(committed.policy_refused.iter().map(ToString::to_string));
    let (line, now) = (&api.shared.line, api.clock().now());
    // The age first: it takes what is ahead of the clock for now.
    let (age_ms, confirmed_at_ms) = (line.policies.age_ms(now), line.policies.at());
    let cards = CardsStatus { age_ms: line.cards.age_ms(now), confirmed_at_ms: line.cards.at() };
    let stale = age_ms.is_none_or(|age_ms| age_ms > api.shared.policy_stale_after.as_ms());
    if stale && committed.policy.is_some() {
        let since = confirmed_at_ms.map_or_else(|| "never".to_owned(), |at| format!("last at {at}"));
        alarms.push(format!("the policy is stale: head office confirmed it {since}; the store trades on under it"));
    }
    let mut ladder = None;
    if let Some(in_force) = &committed.policy {
        let days = Days { open: committed.open_day, unanswered, differing };
        alarms.extend(reminders(identity, &in_force.policy, days, now));
        ladder = in_force.policy.ladder.rung(cards.age_ms).copied();
        alarms.extend(ladder.as_ref().map(rung_words));
    }
    let policy = PolicyStatus {
        version: committed.replica.policy,
        effective_from: committed.policy.as_ref().map(|policy| policy.effective_from),
        held: committed.policy_held,
        confirmed_at_ms,
        age_ms,
        stale,
        key,
        refused: committed.policy_refused.to_vec(),
    };
    let edge = EdgeStatus {
        store: identity.store.id,
        epoch: identity.epoch,
        head: committed.head,
        open_day: committed.open_day,
        now_ms: now,
        hub_online: line.is_online(),
        hub_last_seen_ms: line.last_seen(),
        acknowledged_seq: sync.acknowledged.seq,
        unreported_accounts,
        policy_version: committed.replica.policy,
        cards_version: committed.replica.cards,
        insecure_http: api.shared.insecure_http,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Json(Status { edge, policy, cards, ladder, value, holds, overdraft, alarms }).into_response())
}

/// Alive: the process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready: a till's operation would be decided.
pub(super) async fn readyz(State(api): State<Api>) -> Result<&'static str, Problem> {
    let committed = api.store().committed();
    if !api.store().is_serving() {
        return Err(Problem::new(Code::Storage, "the database's writer has stopped"));
    }
    if committed.identity.is_none() || committed.policy.is_none() {
        return Err(Problem::new(Code::NotReady, "the store is not enrolled or has no policy yet"));
    }
    Ok("ready\n")
}
