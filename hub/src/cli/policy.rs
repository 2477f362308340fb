//! `huitong-hub policy`.

use std::path::PathBuf;

use clap::Subcommand;
use huitong_protocol::time::BusinessDay;
use serde_json::json;

use super::output::table;
use super::{Failure, Output, Place, World, read_text};
use crate::publish;

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Judge a policy document without publishing it.
    Check {
        /// The TOML document.
        file: PathBuf,
    },
    /// Publish a policy to all stores.
    Publish {
        /// The TOML document.
        file: PathBuf,
        /// The first business day on which it is in force.
        #[arg(long, value_name = "DAY")]
        effective_from: BusinessDay,
    },
    /// List what was published.
    List,
}

impl PolicyCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Check { file } => {
                let policy = publish::read_policy(&read_text(&file)?)?;
                out.show(&json!({ "valid": true, "name": policy.name, "products": policy.products.len(), "tenders": policy.tenders.len() }), |text| {
                    writeln!(text, "{} is a good policy: {}, {} product(s), {} tender(s)", file.display(), policy.name, policy.products.len(), policy.tenders.len())
                })?;
            }
            Self::Publish { file, effective_from } => {
                let document = read_text(&file)?;
                let store = place.open()?;
                let published = publish::publish_policy(&store, &document, effective_from, world.now());
                store.close();
                let published = published?;
                out.show(&published, |text| {
                    writeln!(
                        text,
                        "Published version {} ({}), in force from {}",
                        published.version, published.name, published.effective_from
                    )
                })?;
            }
            Self::List => {
                let policies = place.open()?.read_blocking(publish::policies)?;
                out.show(&policies, |text| {
                    let rows: Vec<Vec<String>> = policies
                        .iter()
                        .map(|p| {
                            vec![
                                p.version.to_string(),
                                p.effective_from.to_string(),
                                p.name.clone(),
                                p.published_at_ms.to_string(),
                            ]
                        })
                        .collect();
                    table(text, &[">version", "in force from", "name", "published"], &rows)
                })?;
            }
        }
        Ok(())
    }
}
