//! `huitong-hub policy`: judge, compare, publish, and watch how stores adopt. The keys are in `policy_key`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use huitong_protocol::policy::Policy;
use huitong_protocol::time::BusinessDay;
use serde_json::json;

use super::output::table;
use super::parameters::ParametersCommand;
use super::policy_key::KeyCommand;
use super::{Failure, Output, Place, World, read_text};
use crate::adoption::{self, Adoption};
use crate::policy_diff;
use crate::policy_key::PolicyPair;
use crate::publish::{self, PublishError};
use crate::store::engine::Store;
use crate::store::{policy, root};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Judge a policy document without publishing it: every fault with its place; exit 3 when there is one.
    Check {
        /// The TOML document.
        file: PathBuf,
    },
    /// Show what differs between two policies, field by field.
    Diff {
        /// A version, or a TOML document.
        #[arg(value_name = "VERSION|FILE")]
        before: Source,
        /// A version, or a TOML document.
        #[arg(value_name = "VERSION|FILE")]
        after: Source,
    },
    /// Sign a policy and publish it to all stores.
    Publish {
        /// The TOML document.
        file: PathBuf,
        /// The first business day on which it is in force.
        #[arg(long, value_name = "DAY")]
        effective_from: BusinessDay,
    },
    /// List what was published.
    List,
    /// Show a published document as it was signed.
    Show {
        /// The version; the newest when none is named.
        version: Option<u64>,
    },
    /// Show per store which policy it has, has in force, and used in its last sale.
    Adoption,
    /// What stores set for themselves, within bounds: proposed, approved, published.
    #[command(subcommand)]
    Parameters(ParametersCommand),
    /// The key that signs policies.
    #[command(subcommand)]
    Key(KeyCommand),
}

/// Where a policy is.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Version(u64),
    File(PathBuf),
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::File(text.into()), Self::Version))
    }
}

impl Source {
    fn read(&self, place: &Place) -> Result<Policy, Failure> {
        match self {
            Self::Version(version) => {
                let store = place.open()?;
                let kept = find(&store, Some(*version));
                store.close();
                Ok(publish::open_kept(&kept?)?.1)
            }
            Self::File(file) => Ok(publish::read_policy(&read_text(file)?)?),
        }
    }
}

fn find(store: &Store, version: Option<u64>) -> Result<policy::Kept, Failure> {
    let kept = store.read_blocking(|tx| match version {
        Some(version) => policy::find(tx, version),
        None => policy::newest(tx),
    })?;
    kept.ok_or_else(|| {
        let what =
            version.map_or("no policy is published".to_owned(), |version| format!("there is no version {version}"));
        Failure::Refused(format!("{what}\n  hint: huitong-hub policy list"))
    })
}

impl PolicyCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Check { file } => check(&file, place, out),
            Self::Diff { before, after } => {
                let changes = policy_diff::diff(&before.read(place)?, &after.read(place)?);
                out.show(&json!({ "changes": changes }), |text| {
                    if changes.is_empty() {
                        writeln!(text, "Nothing differs.")?;
                    }
                    changes.iter().try_for_each(|change| writeln!(text, "{change}"))
                })?;
                Ok(())
            }
            Self::Publish { file, effective_from } => {
                let document = read_text(&file)?;
                let key_file = place.load()?.value.policy_key_file();
                let store = place.open()?;
                let publish = || {
                    let pair = PolicyPair::open_trusted(&store, &key_file)?;
                    let published = publish::publish_policy(&store, pair, &document, effective_from, world.now())?;
                    Ok::<_, Failure>(published)
                };
                let published = publish();
                store.close();
                let published = published?;
                out.show(&published, |text| {
                    writeln!(
                        text,
                        "Published version {} ({}), in force from {}, signed with key {}",
                        published.version, published.name, published.effective_from, published.key
                    )
                })?;
                Ok(())
            }
            Self::List => {
                let policies = place.open()?.read_blocking(|tx| publish::policies(tx, 0, usize::MAX))?;
                out.show(&policies, |text| {
                    let rows: Vec<Vec<String>> = policies
                        .iter()
                        .map(|p| {
                            vec![
                                p.version.to_string(),
                                p.effective_from.to_string(),
                                p.name.clone().unwrap_or_else(|| "(unreadable)".to_owned()),
                                p.published_at_ms.to_string(),
                                p.key.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                            ]
                        })
                        .collect();
                    table(text, &[">version", "in force from", "name", "published", "key"], &rows)?;
                    let unreadable = policies.iter().filter_map(|p| Some((p.version, p.unreadable.as_ref()?)));
                    unreadable.into_iter().try_for_each(|(version, why)| writeln!(text, "version {version}: {why}"))
                })?;
                Ok(())
            }
            Self::Show { version } => {
                let store = place.open()?;
                let kept = find(&store, version);
                store.close();
                let kept = kept?;
                // The document alone, so that it can be written to a file and published again.
                out.show(&publish::shown(&kept), |text| text.write_all(kept.bundle.document.as_bytes()))?;
                Ok(())
            }
            Self::Adoption => {
                let store = place.open()?;
                let now = world.now();
                let adoptions = store.read_blocking(|tx| adoption::look(tx, now));
                store.close();
                show_adoption(&adoptions?, out)
            }
            Self::Parameters(command) => command.run(world, place, out),
            Self::Key(command) => command.run(place, out),
        }
    }
}

/// Judges a document alone, and against the hub when there is one.
fn check(file: &std::path::Path, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
    let document = read_text(file)?;
    let policy = match publish::read_policy(&document) {
        Ok(policy) => policy,
        Err(error) => return faulty(file, error, out),
    };
    let mut with_hub = false;
    if place.database()?.exists() {
        let store = place.open()?;
        let found = store.read_blocking(|tx| {
            root::hub_or_none(tx)?.map(|_| publish::faults_here(tx, &policy, &document)).transpose()
        });
        store.close();
        if let Some(found) = found? {
            with_hub = true;
            if !found.is_empty() {
                return faulty(file, PublishError::Document(found), out);
            }
        }
    }
    let (products, tenders) = (policy.products.len(), policy.tenders.len());
    let value = json!({
        "valid": true, "name": policy.name, "products": products, "tenders": tenders, "compared_with_hub": with_hub,
    });
    out.show(&value, |text| {
        let (file, name) = (file.display(), &policy.name);
        writeln!(text, "{file} is a good policy: {name}, {products} product(s), {tenders} tender(s)")?;
        if !with_hub {
            writeln!(text, "There is no hub here, so its currency and legal entities were not compared.")?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The faults are what was asked for, so they are the result.
fn faulty(file: &std::path::Path, error: PublishError, out: &mut Output<'_>) -> Result<(), Failure> {
    let PublishError::Document(faults) = error else { return Err(error.into()) };
    out.show(&json!({ "valid": false, "faults": faults }), |text| {
        faults.iter().try_for_each(|fault| writeln!(text, "{}: {fault}", file.display()))
    })?;
    Err(Failure::Found)
}

fn show_adoption(adoptions: &[Adoption], out: &mut Output<'_>) -> Result<(), Failure> {
    out.show(adoptions, |text| {
        let number = |version: Option<u64>| version.map_or("-".to_owned(), |version| version.to_string());
        let at = |at: Option<huitong_protocol::time::Instant>| at.map_or("-".to_owned(), |at| at.to_string());
        let rows: Vec<Vec<String>> = adoptions
            .iter()
            .map(|adoption| {
                vec![
                    adoption.store.to_string(),
                    adoption.standing.as_str().to_owned(),
                    number(adoption.downloaded),
                    number(adoption.in_force),
                    at(adoption.in_force_since_ms),
                    number(adoption.used),
                    at(adoption.used_since_ms),
                    adoption.parameters.as_str().to_owned(),
                    at(adoption.heard_at_ms),
                ]
            })
            .collect();
        let header = [
            "store",
            "standing",
            ">downloaded",
            ">effective",
            "effective since",
            ">last sale",
            "sold since",
            "parameters",
            "heard",
        ];
        table(text, &header, &rows)?;
        for adoption in adoptions {
            for refused in &adoption.refused {
                writeln!(text, "{}: {refused}", adoption.store)?;
            }
        }
        Ok(())
    })?;
    Ok(())
}
