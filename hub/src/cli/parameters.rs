//! `huitong-hub policy parameters`: what stores would set for themselves: proposed, decided by a second person, published.

use std::path::PathBuf;

use clap::Subcommand;
use huitong_protocol::id::StoreId;
use huitong_protocol::time::BusinessDay;
use huitong_protocol::wire::Proposal;

use super::exception::By;
use super::output::table;
use super::{Failure, Output, Place, World, actor, read_text};
use crate::parameters::{self, ParameterError, ProposalSheet};
use crate::policy_key::PolicyPair;
use crate::publish;
use crate::store::{Tx, parameters as rows};

/// How many proposals a list has when nobody says.
const LISTED: usize = 50;

#[derive(Debug, Subcommand)]
pub(crate) enum ParametersCommand {
    /// List proposals, the newest first.
    List {
        /// Only of this store.
        #[arg(long)]
        store: Option<StoreId>,
        /// At most so many.
        #[arg(long, default_value_t = LISTED)]
        limit: usize,
    },
    /// Show a proposal, and what the newest policy finds wrong with it.
    Show {
        /// Its number.
        number: u64,
    },
    /// Propose all that a store sets for itself, in place of what it has. Outside the bounds it is refused.
    Propose {
        /// The parameters, as TOML.
        file: PathBuf,
        /// The store.
        #[arg(long)]
        store: StoreId,
        #[command(flatten)]
        by: By,
    },
    /// Approve a proposal that somebody else has made.
    Approve {
        /// Its number.
        number: u64,
        /// With which words.
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        by: By,
    },
    /// Refuse a proposal.
    Refuse {
        /// Its number.
        number: u64,
        /// Why; the store reads it.
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        by: By,
    },
    /// Sign the newest policy once more, with the parameters that have been approved, and publish it to all stores.
    Publish {
        /// The first business day on which it is in force.
        #[arg(long, value_name = "DAY")]
        effective_from: BusinessDay,
    },
}

impl From<ParameterError> for Failure {
    fn from(error: ParameterError) -> Self {
        match error {
            ParameterError::Store(error) => error.into(),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl ParametersCommand {
    pub(super) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let now = world.now();
        match self {
            Self::List { store, limit } => {
                let hub = place.open()?;
                let kept = hub.read_blocking(|tx| rows::page(tx, store, None, limit));
                hub.close();
                let proposals: Vec<Proposal> = kept?.into_iter().map(|kept| kept.proposal).collect();
                out.show(&proposals, |text| table(text, &HEADER, &proposals.iter().map(row).collect::<Vec<_>>()))?;
                Ok(())
            }
            Self::Show { number } => {
                let hub = place.open()?;
                let sheet = hub.read_blocking(|tx| parameters::show(tx, number));
                hub.close();
                show(&sheet?, out)
            }
            Self::Propose { file, store, by } => {
                let (actor, document) = (actor(&by.by)?, read_text(&file)?);
                let sheet = write(place, move |tx| parameters::propose(tx, &actor, store, &document, now))?;
                show(&sheet, out)
            }
            Self::Approve { number, note, by } => {
                let actor = actor(&by.by)?;
                let sheet = write(place, move |tx| parameters::approve(tx, &actor, number, &note, now))?;
                show(&sheet, out)
            }
            Self::Refuse { number, note, by } => {
                let actor = actor(&by.by)?;
                let sheet = write(place, move |tx| parameters::refuse(tx, &actor, number, &note, now))?;
                show(&sheet, out)
            }
            Self::Publish { effective_from } => {
                let key_file = place.load()?.value.policy_key_file();
                let hub = place.open()?;
                let publish = || {
                    let pair = PolicyPair::open_trusted(&hub, &key_file)?;
                    Ok::<_, Failure>(publish::publish_parameters(&hub, pair, effective_from, now)?)
                };
                let published = publish();
                hub.close();
                let published = published?;
                out.show(&published, |text| {
                    writeln!(
                        text,
                        "Published version {} ({}) with the stores' parameters, in force from {}",
                        published.version, published.name, published.effective_from
                    )
                })?;
                Ok(())
            }
        }
    }
}

fn write<T, F>(place: &Place, f: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: Fn(&mut Tx<'_>) -> Result<T, ParameterError> + Send + 'static,
{
    let hub = place.open()?;
    let done = hub.write_blocking(f);
    hub.close();
    Ok(done?)
}

const HEADER: [&str; 9] = [">proposal", "store", "state", "proposed by", "at", "decided by", "at", ">version", "note"];

fn row(proposal: &Proposal) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        proposal.number.to_string(),
        proposal.store.to_string(),
        proposal.state.to_string(),
        proposal.proposed_by.clone(),
        proposal.proposed_at_ms.to_string(),
        or_dash(proposal.decided_by.clone()),
        or_dash(proposal.decided_at_ms.map(|at| at.to_string())),
        or_dash(proposal.published_version.map(|version| version.to_string())),
        proposal.note.clone(),
    ]
}

fn show(sheet: &ProposalSheet, out: &mut Output<'_>) -> Result<(), Failure> {
    out.show(sheet, |text| {
        table(text, &HEADER, &[row(&sheet.proposal)])?;
        writeln!(text)?;
        text.write_all(sheet.document.as_bytes())?;
        if !sheet.document.ends_with('\n') {
            writeln!(text)?;
        }
        sheet.faults.iter().try_for_each(|fault| writeln!(text, "fault now: {fault}"))
    })?;
    Ok(())
}
