//! Parameters: what stores would set for themselves: proposed, approved by a second person, and published with the next policy.
//!
//! The bounds and their judge are `protocol::policy`'s. A proposal says all of a store's parameters, so that approving one is all there is to know. It is
//! judged by the newest policy when it comes, when it is approved, and once more when it is published, because the bounds may have become narrower
//! between. Signing needs the key, which only the command line has: so approved parameters wait for `policy parameters publish`, or for
//! the next policy. Invariant: what was published was within the bounds of the document it went out with, and nobody approved what they had proposed.

use std::collections::BTreeMap;

use huitong_protocol::id::StoreId;
use huitong_protocol::policy::{Policy, PolicyFault, StoreParameters};
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{PROPOSAL_BYTES_MAX, Proposal, ProposalState};
use serde::Serialize;

use crate::actor::Actor;
use crate::note::{self, NoteFault};
use crate::publish::{self, DocumentFault};
use crate::store::parameters::{self as rows, Kept};
use crate::store::{StoreError, Tx, organisation};

/// Why a proposal was not taken, or not decided.
#[derive(Debug, thiserror::Error)]
pub enum ParameterError {
    /// It has faults: outside the bounds, or not readable.
    #[error("the parameters have {} fault(s)\n{}", .0.len(), .0.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<DocumentFault>),
    /// There is no such proposal.
    #[error("there is no proposal {0}\n  hint: huitong-hub policy parameters list")]
    Unknown(u64),
    /// The note is none.
    #[error("note: {0}")]
    Note(#[from] NoteFault),
    /// A rule says no.
    #[error("{fault}\n  hint: {hint}")]
    Refused {
        /// Why.
        fault: String,
        /// What to do.
        hint: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn refused<T>(fault: impl Into<String>, hint: &'static str) -> Result<T, ParameterError> {
    Err(ParameterError::Refused { fault: fault.into(), hint })
}

/// A proposal in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ProposalSheet {
    /// Who, when, and what became of it.
    #[serde(flatten)]
    pub proposal: Proposal,
    /// The parameters as TOML.
    pub document: String,
    /// What the newest policy finds wrong with it now. Empty when it may be approved.
    pub faults: Vec<DocumentFault>,
}

/// Reads parameters.
///
/// # Errors
/// Its first fault, with its place: what cannot be read is not judged further.
pub fn read(document: &str) -> Result<StoreParameters, ParameterError> {
    if document.len() > PROPOSAL_BYTES_MAX {
        let fault = format!("has {} bytes; at most {PROPOSAL_BYTES_MAX} are allowed", document.len());
        let path = "document".to_owned();
        return Err(ParameterError::Faults(vec![DocumentFault { line: 0, column: 0, path, fault }]));
    }
    match publish::read(document) {
        Ok(parameters) => Ok(parameters),
        Err(publish::PublishError::Document(faults)) => Err(ParameterError::Faults(faults)),
        Err(publish::PublishError::Store(error)) => Err(error.into()),
        Err(publish::PublishError::Refused { fault, .. }) => refused(fault, "correct the document"),
    }
}

/// Every fault of a store's parameters under a policy, and those that only this hub can see: SKUs that the item master does not have.
///
/// # Errors
/// [`StoreError`].
pub fn faults(
    tx: &mut Tx<'_>,
    policy: &Policy,
    store: StoreId,
    own: &StoreParameters,
) -> Result<Vec<PolicyFault>, StoreError> {
    let mut faults = policy.parameter_faults(store, own);
    let promoted = own.promotions.iter().enumerate().flat_map(|(at, promotion)| {
        publish::goods_skus(&promotion.goods, move |list| format!("promotions[{at}].goods.{list}"))
    });
    let lists = [("no_points_skus", &own.no_points_skus), ("no_promotion_skus", &own.no_promotion_skus)];
    let excluded = lists.into_iter().flat_map(|(field, skus)| {
        skus.iter().enumerate().map(move |(at, sku)| (format!("{field}[{at}]"), sku.as_str()))
    });
    faults.extend(publish::unknown_skus(tx, promoted.chain(excluded))?);
    Ok(faults)
}

/// The newest policy with what is approved of the other stores: what a proposal is judged by.
fn judge(tx: &mut Tx<'_>) -> Result<Policy, ParameterError> {
    let Some((_, mut policy)) = publish::newest_policy(tx)? else {
        return refused("no policy is published, so there are no bounds", "huitong-hub policy publish FILE");
    };
    policy.stores = approved(tx)?;
    Ok(policy)
}

/// The newest approved parameters of every store that has any.
///
/// # Errors
/// [`StoreError`], also when what was approved cannot be read.
pub fn approved(tx: &mut Tx<'_>) -> Result<BTreeMap<StoreId, StoreParameters>, StoreError> {
    let mut stores = BTreeMap::new();
    for Kept { proposal, document } in rows::approved(tx)? {
        let own = read(&document).map_err(|why| StoreError::Value {
            table: "parameter_proposal",
            column: "document",
            row: proposal.number.to_string(),
            fault: why.to_string(),
        })?;
        if !own.is_empty() {
            stores.insert(proposal.store, own);
        }
    }
    Ok(stores)
}

fn judged(tx: &mut Tx<'_>, store: StoreId, document: &str) -> Result<Vec<DocumentFault>, ParameterError> {
    let own = match read(document) {
        Ok(own) => own,
        Err(ParameterError::Faults(faults)) => return Ok(faults),
        Err(other) => return Err(other),
    };
    let policy = judge(tx)?;
    let found = faults(tx, &policy, store, &own)?;
    Ok(found.into_iter().map(|fault| publish::located(document, fault.path, fault.fault)).collect())
}

/// Takes a proposal of all that a store would set for itself.
///
/// # Errors
/// [`ParameterError::Faults`] with every fault; nothing is kept then.
pub fn propose(
    tx: &mut Tx<'_>,
    actor: &Actor,
    store: StoreId,
    document: &str,
    now: Instant,
) -> Result<ProposalSheet, ParameterError> {
    if organisation::store(tx, store)?.is_none() {
        return refused(format!("store {store} is unknown"), "huitong-hub store list");
    }
    let found = judged(tx, store, document)?;
    if !found.is_empty() {
        return Err(ParameterError::Faults(found));
    }
    // An answer that was lost is asked for again, also when somebody has decided since: the same words are the same proposal, unless they were refused.
    let newest = rows::page(tx, Some(store), None, 1)?.pop();
    if let Some(same) = newest.filter(|kept| {
        kept.proposal.state != ProposalState::Refused
            && (kept.document.as_str(), kept.proposal.proposed_by.as_str()) == (document, actor.name())
    }) {
        return show(tx, same.proposal.number);
    }
    let number = rows::insert(tx, store, document, actor.name(), now)?;
    actor.did(tx, "parameters.propose", &number.to_string(), &format!("store {store}"), now)?;
    show(tx, number)
}

/// A proposal in full, judged by the newest policy.
///
/// # Errors
/// [`ParameterError::Unknown`].
pub fn show(tx: &mut Tx<'_>, number: u64) -> Result<ProposalSheet, ParameterError> {
    let Kept { proposal, document } = rows::find(tx, number)?.ok_or(ParameterError::Unknown(number))?;
    let faults = judged(tx, proposal.store, &document)?;
    Ok(ProposalSheet { proposal, document, faults })
}

/// Approves a proposal: a second person, while it is within the bounds. It goes out with the next policy that is published.
///
/// # Errors
/// [`ParameterError::Refused`] for who proposed it and for what was decided before.
pub fn approve(
    tx: &mut Tx<'_>,
    actor: &Actor,
    number: u64,
    note: &str,
    now: Instant,
) -> Result<ProposalSheet, ParameterError> {
    let held = show(tx, number)?;
    if is_said_again(&held.proposal, ProposalState::Approved, actor, note::optional(note)?) {
        return Ok(held);
    }
    undecided(&held.proposal)?;
    if actor.is(&held.proposal.proposed_by) {
        let fault = format!("proposal {number} was made by {}", held.proposal.proposed_by);
        return refused(fault, "a second person must approve it");
    }
    if !held.faults.is_empty() {
        return Err(ParameterError::Faults(held.faults));
    }
    decide(tx, actor, &held.proposal, ProposalState::Approved, note, now)?;
    rows::supersede_before(tx, held.proposal.store, number)?;
    show(tx, number)
}

/// Refuses a proposal. Who made it may take it back like this too.
///
/// # Errors
/// [`ParameterError::Refused`] for what was decided before, and without words.
pub fn refuse(
    tx: &mut Tx<'_>,
    actor: &Actor,
    number: u64,
    note: &str,
    now: Instant,
) -> Result<ProposalSheet, ParameterError> {
    let held = show(tx, number)?;
    // The store reads why.
    let note = note::needed(note)?;
    if is_said_again(&held.proposal, ProposalState::Refused, actor, note) {
        return Ok(held);
    }
    undecided(&held.proposal)?;
    decide(tx, actor, &held.proposal, ProposalState::Refused, note, now)?;
    show(tx, number)
}

/// Whether somebody repeats what they decided, because the answer was lost.
fn is_said_again(proposal: &Proposal, state: ProposalState, actor: &Actor, note: &str) -> bool {
    let is_theirs = proposal.decided_by.as_deref().is_some_and(|by| actor.is(by));
    is_theirs && proposal.state == state && proposal.note == note
}

fn undecided(proposal: &Proposal) -> Result<(), ParameterError> {
    let Proposal { number, state, decided_by, .. } = proposal;
    match (state, decided_by) {
        (ProposalState::Proposed, _) => Ok(()),
        // Somebody may have approved it before a later one took its place.
        (ProposalState::Superseded, _) => {
            refused(format!("proposal {number} was superseded by a later one"), "propose again to change it")
        }
        (state, Some(by)) => refused(format!("proposal {number} was {state} by {by}"), "propose again to change it"),
        (state, None) => refused(format!("proposal {number} was {state}"), "propose again to change it"),
    }
}

fn decide(
    tx: &mut Tx<'_>,
    actor: &Actor,
    proposal: &Proposal,
    state: ProposalState,
    note: &str,
    now: Instant,
) -> Result<(), ParameterError> {
    let (note, number) = (note::optional(note)?, proposal.number);
    let action = match state {
        ProposalState::Approved => "parameters.approve",
        _ => "parameters.refuse",
    };
    rows::decide(tx, number, state, actor.name(), note, now)?;
    let detail =
        if note.is_empty() { format!("store {}", proposal.store) } else { format!("store {}: {note}", proposal.store) };
    actor.did(tx, action, &number.to_string(), &detail, now)?;
    Ok(())
}

/// The parameters of all stores as a bundle carries them, each judged under the document that they go out with. Empty text when there are none.
///
/// # Errors
/// [`ParameterError::Faults`]: what was approved before is outside the bounds of this document.
pub fn for_bundle(tx: &mut Tx<'_>, policy: &Policy) -> Result<String, ParameterError> {
    let stores = approved(tx)?;
    let policy = Policy { stores, ..policy.clone() };
    let mut found = Vec::new();
    for (store, own) in &policy.stores {
        let faults = faults(tx, &policy, *store, own)?;
        found.extend(faults.into_iter().map(|PolicyFault { path, fault }| DocumentFault {
            line: 0,
            column: 0,
            path: format!("stores.{store}.{path}"),
            fault: format!("{fault} (approved for store {store}; widen the bound, or have the store propose anew)"),
        }));
    }
    if !found.is_empty() {
        return Err(ParameterError::Faults(found));
    }
    if policy.stores.is_empty() {
        return Ok(String::new());
    }
    let text = toml::to_string(&policy.stores)
        .map_err(|why| StoreError::Rule { operation: "write the parameters of stores", fault: why.to_string() })?;
    let most = huitong_protocol::bundle::PARAMETERS_BYTES_MAX;
    if text.len() > most {
        return refused(
            format!("the parameters of all stores have {} bytes; at most {most} fit a policy", text.len()),
            "make promotions of many stores promotions of the group",
        );
    }
    Ok(text)
}
