//! `huitong-hub token | audit | status`: who may ask the API of head office, what was done there, and how things stand.

use clap::Subcommand;
use huitong_protocol::time::Instant;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::card::exposed;
use super::exception::{By, write};
use super::output::table;
use super::{Failure, Output, Place, World, actor};
use crate::actor::{Actor, Via};
use crate::hot::Lately;
use crate::overview;
use crate::store::{StoreError, audit, hq_token};

/// Deeds that one command lists when nobody says how many.
const DEEDS_LISTED: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for a person or program. It is shown once.
    Create {
        /// Whose it is: the name that the audit and approvals will show.
        name: String,
        /// After how many days it ends by itself; never when left away.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3_650))]
        expires: Option<u32>,
        #[command(flatten)]
        by: By,
    },
    /// List the tokens: whose, since when, last used, revoked.
    List,
    /// Revoke a name's token. It opens nothing from the next request on.
    Revoke {
        /// Whose.
        name: String,
        #[command(flatten)]
        by: By,
    },
}

/// A name that a token may have.
fn named(name: &str) -> Result<String, Failure> {
    let named = Actor::new(name, Via::Api).map_err(|why| Failure::Refused(format!("{name:?} {why}")))?;
    Ok(named.name().to_owned())
}

impl TokenCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let now = world.now();
        match self {
            Self::Create { name, expires, by } => {
                let by = actor(&by.by)?;
                let name = named(&name)?;
                let shown = make_token()?;
                let ends = expires.map(|days| now.plus_ms(i64::from(days) * 86_400_000));
                let (of, kept) = (name.clone(), shown.clone());
                write::<_, StoreError>(place, move |tx| {
                    hq_token::insert(tx, &of, &kept, now, ends)?;
                    by.did(tx, "token.create", &of, &ends.map_or_else(String::new, |end| format!("until {end}")), now)
                })?;
                out.show(&json!({ "name": name, "token": shown, "expires_at_ms": ends }), |text| {
                    writeln!(text, "{shown}")?;
                    let ends = ends.map_or_else(|| "until it is revoked".to_owned(), |end| format!("until {end}"));
                    writeln!(text, "For {name}, {ends}. It is not shown again.")
                })?;
            }
            Self::List => {
                let tokens = place.open()?.read_blocking(hq_token::list)?;
                out.show(&tokens, |text| {
                    let at = |at: Option<Instant>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
                    let rows: Vec<Vec<String>> = tokens
                        .iter()
                        .map(|token| {
                            vec![
                                token.name.clone(),
                                token.created_at_ms.to_string(),
                                at(token.expires_at_ms),
                                at(token.last_used_ms),
                                at(token.revoked_at_ms),
                            ]
                        })
                        .collect();
                    table(text, &["name", "created", "expires", "last used", "revoked"], &rows)
                })?;
            }
            Self::Revoke { name, by } => {
                let by = actor(&by.by)?;
                let name = named(&name)?;
                let of = name.clone();
                let revoked = write::<_, StoreError>(place, move |tx| {
                    let revoked = hq_token::revoke(tx, &of, now)?;
                    if revoked {
                        by.did(tx, "token.revoke", &of, "", now)?;
                    }
                    Ok(revoked)
                })?;
                if !revoked {
                    return Err(Failure::Refused(format!(
                        "{name} has no token that could be revoked\n  hint: huitong-hub token list"
                    )));
                }
                out.show(&json!({ "name": name, "revoked_at_ms": now }), |text| {
                    writeln!(text, "The token of {name} opens nothing any more.")
                })?;
            }
        }
        Ok(())
    }
}

/// 160 random bits, with a prefix by which a scanner of leaked secrets knows it.
fn make_token() -> Result<String, Failure> {
    let mut bytes = [0; 20];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::Failed(anyhow::anyhow!("the operating system gave no random bytes")))?;
    Ok(format!("hthq_{}", data_encoding::BASE32_NOPAD.encode(&bytes)))
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List who did what, oldest first.
    List {
        /// Only after this number.
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        after: i64,
        /// How many.
        #[arg(long, default_value_t = DEEDS_LISTED)]
        limit: usize,
    },
}

impl AuditCommand {
    pub(crate) fn run(self, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let Self::List { after, limit } = self;
        let deeds = place.open()?.read_blocking(move |tx| audit::page(tx, after, limit))?;
        out.show(&deeds, |text| {
            let rows: Vec<Vec<String>> = deeds
                .iter()
                .map(|deed| {
                    let (number, at) = (deed.number.to_string(), deed.at_ms.to_string());
                    let (action, object) = (deed.action.clone(), deed.object.clone());
                    vec![number, at, deed.actor.clone(), deed.via.clone(), action, object, deed.detail.clone()]
                })
                .collect();
            table(text, &[">no", "at", "who", "via", "what", "of", "said"], &rows)
        })?;
        Ok(())
    }
}

/// `huitong-hub status`.
pub(crate) fn status(world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
    let now = world.now();
    let seen = place.open()?.read_blocking(move |tx| overview::look(tx, &Lately::default(), now))?;
    out.show(&seen, |text| {
        writeln!(text, "group {} in {}, {} store(s), as of {}", seen.group, seen.currency, seen.stores, seen.as_of_ms)?;
        let day = |day: Option<huitong_protocol::time::BusinessDay>| {
            day.map_or_else(|| "none".to_owned(), |day| day.to_string())
        };
        writeln!(text, "last business day {}, settled up to {}", day(seen.last_day), day(seen.settled_to))?;
        if !seen.waited_for.is_empty() {
            let waited_for = seen.waited_for.join(", ");
            writeln!(text, "life {}: nothing is granted until these were heard or ended: {waited_for}", seen.life)?;
        }
        if let Some(since) = seen.must_recover_ms {
            writeln!(
                text,
                "since {since} it is proved that this database is older than it was: nothing is granted or paid back until huitong-hub recover is run"
            )?;
        }
        match seen.remembered_at_ms {
            Some(at) => writeln!(text, "recovery log last written at {at}")?,
            None => writeln!(text, "recovery log not written by a daemon yet")?,
        }
        let open = &seen.exceptions;
        writeln!(
            text,
            "exceptions: {} alarm(s), {} warning(s), {} info; {} of them nobody has",
            open.alarm, open.warning, open.info, open.unassigned
        )?;
        let refused = &seen.refused_last_day;
        writeln!(
            text,
            "refused in the last 24 hours: {} request(s) of stores, {} of strangers",
            refused.stores, refused.strangers
        )?;
        let hot = &seen.hot_cards;
        writeln!(
            text,
            "stopped cards: {}, of which some store does not know of {}; {} can still be taken with them",
            hot.cards,
            hot.untold,
            exposed(&hot.exposed)
        )
    })?;
    Ok(())
}
