//! `huitong-hub card`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;
use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::id::{ProductId, StoreId};
use huitong_protocol::time::Stamp;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde_json::json;

use super::account::amount_in;
use super::organisation::Import;
use super::output::table;
use super::recover::mints;
use super::{Failure, Output, Place, World};
use crate::hot::{self, Exposed, HotCard, HotList, Lately, Part};
use crate::import;
use crate::make::{self, MakeError};
use crate::store::engine::StoreError;
use crate::store::organisation;
use crate::unsold::{self, Unsold};

#[derive(Debug, Subcommand)]
pub(crate) enum CardCommand {
    /// Import cards: number, product, [allocated_store], [member], [expires_on], [account_of], [account].
    Import(Import),
    /// Make cards with random numbers of a product's ranges.
    Make {
        /// The card product.
        #[arg(long)]
        product: ProductId,
        /// How many.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(make::CARDS_MAX)))]
        count: u32,
        /// The store that may sell them while it has no line.
        #[arg(long)]
        store: Option<StoreId>,
        /// Write the numbers to a new file, one a line, instead of to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show a card.
    Show {
        /// Its number.
        number: CardNumber,
    },
    /// Make a frozen or lost card active again.
    Unfreeze {
        /// Its number.
        number: CardNumber,
    },
    /// List the cards that are frozen or lost, and what whoever found one can still take where nobody knows of it yet.
    Hot {
        /// Only what can be taken at this store.
        #[arg(long)]
        store: Option<StoreId>,
    },
}

impl CardCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Import(import) => mints(place, || import.run(world, place, out, import::cards::import)),
            Self::Make { product, count, store, out: file } => {
                mints(place, || make_cards(place, product, count, store, file, out))
            }
            Self::Show { number } => {
                let now = world.now();
                let found = place.open()?.read_blocking(move |tx| {
                    let Some(card) = organisation::card(tx, &number)? else { return Ok(None) };
                    let mut stopped = hot::of_account(tx, &Lately::default(), card.account, now)?;
                    stopped.retain(|stopped| stopped.number == card.number);
                    let unsold = unsold::look(tx, &card)?;
                    Ok::<_, StoreError>(Some(Sheet { card, stopped: stopped.pop(), unsold }))
                })?;
                show(&found.ok_or_else(|| unknown(&number))?, out)
            }
            Self::Unfreeze { number } => unfreeze(world, place, number, out),
            Self::Hot { store } => {
                let now = world.now();
                let part = Part { account: None, store };
                let list = place.open()?.read_blocking(move |tx| hot::look(tx, &Lately::default(), part, now))?;
                out.show(&list, |text| show_list(text, &list))?;
                Ok(())
            }
        }
    }
}

fn unknown(number: &CardNumber) -> Failure {
    Failure::Refused(format!("card {number} is unknown"))
}

/// A card, and when it is stopped what can still be taken with it; when its sale was undone, why it is not sold again yet.
#[derive(Serialize)]
struct Sheet {
    #[serde(flatten)]
    card: Card,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<HotCard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsold: Option<Unsold>,
}

/// Amounts that can be taken, each with its unit.
pub(super) fn exposed(sums: &[Exposed]) -> String {
    let sums: Vec<String> = sums.iter().map(|sum| amount_in(sum.unit, sum.exposed_minor)).collect();
    if sums.is_empty() { "nothing".to_owned() } else { sums.join(" and ") }
}

/// How many stores know of it.
fn told(card: &HotCard) -> String {
    format!("{} of {}", card.stores.saturating_sub(card.untold.len()), card.stores)
}

/// What can still be taken with a stopped card, place by place.
pub(super) fn show_exposure(text: &mut dyn Write, card: &HotCard) -> io::Result<()> {
    writeln!(
        text,
        "card {} is {}: {} stores know; {} can still be taken",
        card.number.reveal(),
        card.card.status,
        told(card),
        exposed(&card.exposed)
    )?;
    if !card.untold.is_empty() {
        let untold: Vec<String> = card.untold.iter().map(ToString::to_string).collect();
        writeln!(text, "not known to know: {}", untold.join(", "))?;
    }
    let rows: Vec<Vec<String>> = card.places.iter().map(place_row).collect();
    if !rows.is_empty() {
        table(text, PLACE_COLUMNS, &rows)?;
    }
    if !card.held_where_known.is_empty() {
        let held = exposed(&card.held_where_known);
        writeln!(
            text,
            "stores that know hold {held}: only holds placed before may still take of it, the rest comes back"
        )?;
    }
    for held in &card.suspense {
        let waiting = amount_in(held.unit, held.waiting_minor);
        writeln!(text, "{waiting} of the ended epoch {}-{} waits in suspense", held.store, held.epoch)?;
    }
    Ok(())
}

const PLACE_COLUMNS: &[&str] =
    &["store", ">can be taken", ">of it overdrawn", ">of it undelivered", ">a receipt at most", "ladder", "last heard"];

fn place_row(place: &hot::Place) -> Vec<String> {
    let amount = |minor| amount_in(place.unit, minor);
    let rung = place.rung.map_or_else(String::new, |rung| format!("after {} min", rung.after_minutes));
    let heard = place.last_heard_ms.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let unheard = if place.is_unheard { "; not since head office was restored, it may hold more" } else { "" };
    vec![
        format!("{}-{}", place.store, place.epoch),
        amount(place.exposed_minor),
        amount(place.overdraft_minor),
        amount(place.undelivered_minor),
        amount(place.receipt_minor_max),
        rung,
        format!("{heard}{unheard}"),
    ]
}

fn show_list(text: &mut dyn Write, list: &HotList) -> io::Result<()> {
    let rows: Vec<Vec<String>> = list
        .cards
        .iter()
        .map(|card| {
            let at: BTreeSet<StoreId> = card.places.iter().map(|place| place.store).collect();
            let at: Vec<String> = at.iter().map(ToString::to_string).collect();
            let waits: Vec<String> =
                card.suspense.iter().map(|held| amount_in(held.unit, held.waiting_minor)).collect();
            vec![
                card.number.reveal().to_owned(),
                card.card.status.to_string(),
                card.stopped_at_ms.to_string(),
                card.account.to_string(),
                told(card),
                exposed(&card.exposed),
                at.join(" "),
                waits.join(" and "),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let columns = ["card", "status", "since", ">account", ">stores know", ">can be taken", "at", ">in suspense"];
        table(text, &columns, &rows)?;
    }
    let sum = exposed(&list.exposed);
    writeln!(text, "{} stopped card(s); in all {sum} can still be taken, as of {}", list.cards.len(), list.as_of_ms)
}

fn show(sheet: &Sheet, out: &mut Output<'_>) -> Result<(), Failure> {
    let Sheet { card, stopped, unsold } = sheet;
    out.show(sheet, |text| {
        writeln!(text, "card       {}", card.number.reveal())?;
        writeln!(text, "product    {}", card.product)?;
        writeln!(text, "account    {}", card.account)?;
        writeln!(text, "status     {}", card.status)?;
        for (name, value) in [
            ("allocated", card.allocated_store.map(|store| store.to_string())),
            ("member", card.member.map(|member| member.to_string())),
            ("expires", card.expires_on.map(|day| day.to_string())),
        ] {
            if let Some(value) = value {
                writeln!(text, "{name:<10} {value}")?;
            }
        }
        stopped.as_ref().map_or(Ok(()), |stopped| show_exposure(text, stopped))?;
        unsold.as_ref().map_or(Ok(()), |unsold| show_unsold(text, unsold))
    })?;
    Ok(())
}

/// Why a card in nobody's hands is not sold again yet.
fn show_unsold(text: &mut dyn Write, unsold: &Unsold) -> io::Result<()> {
    writeln!(text, "in nobody's hands since {}, and not to be sold again yet:", unsold.since_ms)?;
    if let Some(holds) = &unsold.holds {
        writeln!(text, "  its account holds {holds} (minor units), which no other card opens")?;
    }
    if unsold.owed_minor > 0 {
        writeln!(text, "  its account owes {} (minor units): huitong-hub risk show", unsold.owed_minor)?;
    }
    if unsold.excess_minor > 0 {
        writeln!(text, "  its account is given back {} (minor units): huitong-hub risk show", unsold.excess_minor)?;
    }
    for at in &unsold.waits_for {
        let heard = at.last_heard_ms.map_or_else(|| "never heard".to_owned(), |at| format!("last heard at {at}"));
        let entry = at.entry.map_or_else(String::new, |entry| format!(" (entry {entry})"));
        writeln!(text, "  {}-{}, {heard}, {}{entry}", at.store, at.epoch, at.why.words())?;
        writeln!(text, "    {}", at.why.what_to_do(at.store))?;
    }
    if unsold.is_over() {
        writeln!(text, "  nothing keeps it any more: it can be sold after the next reconcile")?;
    }
    Ok(())
}

fn make_cards(
    place: &Place,
    product: ProductId,
    count: u32,
    store: Option<StoreId>,
    file: Option<PathBuf>,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    // The file is made first: numbers that were made and could not be written down would be of no use.
    let mut target = match &file {
        None => None,
        Some(path) => Some(std::fs::File::create_new(path).map_err(|error| {
            Failure::Failed(
                anyhow::Error::new(error).context(format!("could not make the new file {}", path.display())),
            )
        })?),
    };
    let mut bytes = vec![0; 16 * make::randoms_for(count)];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::Failed(anyhow::anyhow!("the operating system gave no random bytes")))?;
    let randoms = bytes.chunks_exact(16).filter_map(|chunk| chunk.try_into().ok()).map(u128::from_be_bytes).collect();
    let hub = place.open()?;
    let made = make::make(&hub, product, count, store, randoms);
    hub.close();
    let numbers = made.map_err(|error| match error {
        MakeError::Store(error) => Failure::from(error),
        refused => Failure::Refused(refused.to_string()),
    })?;
    let lines = || numbers.iter().map(|number| format!("{}\n", number.reveal())).collect::<String>();
    if let Some(target) = &mut target {
        std::io::Write::write_all(target, lines().as_bytes())?;
        target.sync_all()?;
        out.show(&json!({ "product": product, "made": numbers.len(), "file": file }), |text| {
            writeln!(
                text,
                "Made {} cards of {product}; their numbers are in {}",
                numbers.len(),
                file.as_deref().unwrap_or_else(|| "".as_ref()).display()
            )
        })?;
    } else if out.is_json() {
        out.value(&json!({ "product": product, "made": numbers.len(), "numbers": numbers }))?;
    } else {
        out.text(&lines())?;
    }
    Ok(())
}

fn unfreeze(world: &World, place: &Place, number: CardNumber, out: &mut Output<'_>) -> Result<(), Failure> {
    let now = world.now();
    let store = place.open()?;
    let outcome = store.write_blocking::<_, StoreError, _>(move |tx| {
        let Some(mut card) = organisation::card(tx, &number)? else { return Ok(None) };
        if !card.status.is_stopped() {
            return Ok(Some(Err(card.status)));
        }
        card.status = CardStatus::Active;
        card.status_stamp = Stamp::next(now, card.status_stamp, Stamp::ZERO);
        organisation::write_card(tx, &card)?;
        Ok(Some(Ok(card)))
    });
    store.close();
    match outcome? {
        None => Err(unknown(&number)),
        Some(Err(status)) => Err(Failure::Refused(format!("card {number} is {status}, neither frozen nor lost"))),
        Some(Ok(card)) => show(&Sheet { card, stopped: None, unsold: None }, out),
    }
}
