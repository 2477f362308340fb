//! `huitong-hub card`.

use std::path::PathBuf;

use clap::Subcommand;
use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::id::{ProductId, StoreId};
use huitong_protocol::time::Stamp;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::organisation::Import;
use super::recover::mints;
use super::{Failure, Output, Place, World};
use crate::import;
use crate::make::{self, MakeError};
use crate::store::engine::StoreError;
use crate::store::organisation;

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
    /// Make a frozen card active again.
    Unfreeze {
        /// Its number.
        number: CardNumber,
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
                let card = place
                    .open()?
                    .read_blocking(move |tx| organisation::card(tx, &number))?
                    .ok_or_else(|| unknown(&number))?;
                show(&card, out)
            }
            Self::Unfreeze { number } => unfreeze(world, place, number, out),
        }
    }
}

fn unknown(number: &CardNumber) -> Failure {
    Failure::Refused(format!("card {number} is unknown"))
}

fn show(card: &Card, out: &mut Output<'_>) -> Result<(), Failure> {
    out.show(card, |text| {
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
        Ok(())
    })?;
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
        if card.status != CardStatus::Frozen {
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
        Some(Err(status)) => Err(Failure::Refused(format!("card {number} is {status}, not frozen"))),
        Some(Ok(card)) => show(&card, out),
    }
}
