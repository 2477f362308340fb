//! `huitong-hub store | legal-entity | opening`: master data in, and the tokens with which stores enrol.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use huitong_protocol::id::StoreId;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::account::amount_in;
use super::exception::{By, write};
use super::output::table;
use super::recover::remember;
use super::{Failure, Output, Place, World, actor, read_file};
use crate::fence::{self, Ended, FenceError};
use crate::import::{self, Encoding, ImportError, ImportReport, Options};
use crate::store::engine::Store;
use crate::store::{organisation, token};

/// A CSV file to import.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The CSV file, with a header line.
    file: PathBuf,
    /// How its text is written; by its mark, else UTF-8, when not said.
    #[arg(long, value_enum)]
    encoding: Option<Encoding>,
    /// Judge everything, write nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Import {
    pub(crate) fn run(
        self,
        world: &World,
        place: &Place,
        out: &mut Output<'_>,
        import: impl FnOnce(&Store, &[u8], &Options) -> Result<ImportReport, ImportError>,
    ) -> Result<(), Failure> {
        let bytes = read_file(&self.file)?;
        let store = place.open()?;
        let report =
            import(&store, &bytes, &Options { dry_run: self.dry_run, encoding: self.encoding, progress: world.bar() });
        store.close();
        let report = report?;
        out.show(&report, |text| writeln!(text, "{report}"))?;
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Import stores: store, name, legal_entity, time_zone, [currency], [rollover_hour], [opened_on], [closed_on].
    Import(Import),
    /// List the stores.
    List,
    /// Make a one-time token with which a store enrols. It is shown once; an unused earlier one is over.
    EnrolToken {
        /// The store.
        store: StoreId,
        /// For how many hours the token is good.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8_760))]
        valid_hours: u32,
    },
    /// End the epoch of a store: its machine is gone, or not to be believed. What it held waits in suspense; the store sells without stored value until it is
    /// enrolled again.
    Fence {
        /// The store.
        store: StoreId,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        by: By,
    },
    /// Replace the machine of a store: ends its epoch and makes the token for the next.
    Replace {
        /// The store.
        store: StoreId,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        note: String,
        /// For how many hours the token is good.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8_760))]
        valid_hours: u32,
        #[command(flatten)]
        by: By,
    },
}

impl From<FenceError> for Failure {
    fn from(error: FenceError) -> Self {
        match error {
            FenceError::Store(error) => error.into(),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

/// What is said of an epoch that ended.
pub(super) fn show_ended(text: &mut dyn std::io::Write, ended: &Ended) -> std::io::Result<()> {
    let (store, epoch, heard) = (ended.store, ended.epoch, ended.heard_seq);
    let word = if ended.is_new { "ended" } else { "had ended before" };
    writeln!(text, "Epoch {store}-{epoch} {word}; it was heard up to entry {heard}.")?;
    if let Some(at) = ended.last_seen_ms {
        writeln!(
            text,
            "The store was last heard at {at}; what it did since then only its journal or its receipts say."
        )?;
    }
    for sum in ended.sums.iter().filter(|sum| sum.waiting_minor > 0) {
        writeln!(text, "{} waits in suspense.", amount_in(sum.unit, sum.waiting_minor))?;
    }
    if let Some(unknown) = &ended.unknown {
        writeln!(text, "Not known: {unknown}.")?;
    }
    Ok(())
}

impl StoreCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Import(import) => import.run(world, place, out, import::stores::import),
            Self::List => {
                let stores = place.open()?.read_blocking(organisation::stores)?;
                out.show(&stores, |text| {
                    let rows: Vec<Vec<String>> = stores
                        .iter()
                        .map(|store| {
                            let day = |day: Option<huitong_protocol::time::BusinessDay>| {
                                day.map_or(String::new(), |day| day.to_string())
                            };
                            vec![
                                store.id.to_string(),
                                store.name.clone(),
                                store.legal_entity.to_string(),
                                store.time_zone.clone(),
                                store.rollover_hour.to_string(),
                                day(store.opened_on),
                                day(store.closed_on),
                            ]
                        })
                        .collect();
                    table(text, &["store", "name", "legal entity", "time zone", ">rollover", "opened", "closed"], &rows)
                })?;
                Ok(())
            }
            Self::Fence { store, note, by } => {
                let (actor, now) = (actor(&by.by)?, world.now());
                let ended = write(place, move |tx| fence::fence(tx, &actor, store, &note, now))?;
                remember(place)?;
                out.show(&ended, |text| show_ended(text, &ended))?;
                Ok(())
            }
            Self::Replace { store: id, note, valid_hours, by } => {
                let (actor, token, now) = (actor(&by.by)?, make_token()?, world.now());
                let expires = now.plus_ms(i64::from(valid_hours) * 3_600_000);
                let text = token.clone();
                let ended = write(place, move |tx| {
                    let ended = fence::fence(tx, &actor, id, &note, now)?;
                    token::insert(tx, &text, id, now, expires)?;
                    Ok::<_, FenceError>(ended)
                })?;
                remember(place)?;
                out.show(&json!({ "ended": ended, "token": token, "expires_at_ms": expires }), |text| {
                    show_ended(text, &ended)?;
                    writeln!(text, "{token}")?;
                    writeln!(
                        text,
                        "Good once, for the next epoch of store {id}, until {expires}. It is not shown again."
                    )
                })?;
                Ok(())
            }
            Self::EnrolToken { store: id, valid_hours } => {
                let token = make_token()?;
                let now = world.now();
                let expires = now.plus_ms(i64::from(valid_hours) * 3_600_000);
                let store = place.open()?;
                let text = token.clone();
                let known = store.write_blocking::<_, crate::store::engine::StoreError, _>(move |tx| {
                    let known = organisation::store(tx, id)?.is_some();
                    if known {
                        token::insert(tx, &text, id, now, expires)?;
                    }
                    Ok(known)
                });
                store.close();
                if !known? {
                    return Err(Failure::Refused(format!(
                        "store {id} is unknown\n  hint: huitong-hub store import FILE"
                    )));
                }
                out.show(&json!({ "store": id, "token": token, "expires_at_ms": expires }), |text| {
                    writeln!(text, "{token}")?;
                    writeln!(text, "Good once, for store {id}, until {expires}. It is not shown again.")
                })?;
                Ok(())
            }
        }
    }
}

/// 160 random bits: nobody guesses one within its day.
fn make_token() -> Result<String, Failure> {
    let mut bytes = [0; 20];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::Failed(anyhow::anyhow!("the operating system gave no random bytes")))?;
    Ok(data_encoding::BASE32_NOPAD.encode(&bytes))
}

#[derive(Debug, Subcommand)]
pub(crate) enum LegalEntityCommand {
    /// Import legal entities: legal_entity, name, [register_number], [taxpayer_kind], [bank_account].
    Import(Import),
    /// List the legal entities.
    List,
}

impl LegalEntityCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Import(import) => import.run(world, place, out, import::legal_entities::import),
            Self::List => {
                let entities = place.open()?.read_blocking(organisation::legal_entities)?;
                out.show(&entities, |text| {
                    let rows: Vec<Vec<String>> = entities
                        .iter()
                        .map(|e| {
                            vec![e.id.to_string(), e.name.clone(), e.register_number.clone(), e.taxpayer_kind.clone()]
                        })
                        .collect();
                    table(text, &["legal entity", "name", "register number", "taxpayer"], &rows)
                })?;
                Ok(())
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum OpeningCommand {
    /// Import opening balances: card, amount, business_day, [store].
    Import(Import),
}

impl OpeningCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let Self::Import(import) = self;
        let reference = import.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let now = world.now();
        import.run(world, place, out, |store, bytes, options| {
            import::opening::import(store, bytes, &reference, now, options)
        })
    }
}
