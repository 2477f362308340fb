//! `huitong-hub agreement`.

use std::path::PathBuf;

use clap::Subcommand;
use huitong_protocol::money::Ppm;
use serde_json::json;

use super::output::table;
use super::{Failure, Output, Place, World, read_text};
use crate::publish;

#[derive(Debug, Subcommand)]
pub(crate) enum AgreementCommand {
    /// Judge an agreement without publishing it.
    Check {
        /// The TOML document.
        file: PathBuf,
    },
    /// Publish the versions of an agreement that are not published yet.
    Publish {
        /// The TOML document.
        file: PathBuf,
    },
    /// List the versions that were published.
    List,
}

impl AgreementCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Check { file } => {
                let versions = publish::read_agreements(&read_text(&file)?)?;
                out.show(&json!({ "valid": true, "versions": versions.len() }), |text| {
                    writeln!(text, "{} is a good agreement with {} version(s)", file.display(), versions.len())
                })?;
            }
            Self::Publish { file } => {
                let document = read_text(&file)?;
                let store = place.open()?;
                let days = publish::publish_agreements(&store, &document, world.now());
                store.close();
                let days = days?;
                out.show(&json!({ "published": days }), |text| {
                    days.iter().try_for_each(|day| writeln!(text, "Published the version of {day}"))
                })?;
            }
            Self::List => {
                let versions = place
                    .open()?
                    .read_blocking(publish::agreements)?
                    .map(|known| known.versions().to_vec())
                    .unwrap_or_default();
                out.show(&versions, |text| {
                    let rate = |rate: Ppm| format!("{}.{:04} %", rate.0 / 10_000, rate.0 % 10_000);
                    let rows: Vec<Vec<String>> = versions
                        .iter()
                        .map(|v| {
                            vec![
                                v.effective_from.to_string(),
                                v.scheme.to_string(),
                                rate(v.load_commission_ppm),
                                rate(v.acceptance_fee_ppm),
                                rate(v.bonus_hub_share_ppm),
                                v.draw_order.to_string(),
                                v.return_lots.to_string(),
                            ]
                        })
                        .collect();
                    table(
                        text,
                        &["from", "scheme", ">commission", ">fee", ">hub's bonus", "draw order", "returns"],
                        &rows,
                    )
                })?;
            }
        }
        Ok(())
    }
}
