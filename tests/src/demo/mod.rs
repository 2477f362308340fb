//! Demo: one trading day of a small chain, set up, traded, closed and settled through the commands and the API that a shop has.
//!
//! `chain` sets everything up, `trade` is the day at the tills, `prices` what goods cost there and why, `rules` a policy on its way, `exceptions` what head
//! office looks into, `books` is the evening at head office, `hint` is what to try next; `command` runs the
//! daemons' own command lines, `narrator` says what happens. Nothing is prepared: every figure comes out of the hub as finance would read it. Here the
//! machine's clock is read, because a demonstration happens now; the hours in the headings are those of the story.

mod books;
mod chain;
mod command;
mod exceptions;
mod figures;
mod hint;
mod narrator;
mod prices;
mod rules;
mod shop_figures;
mod trade;

use std::io::Write;
use std::path::PathBuf;

pub use figures::Figures;
pub use shop_figures::ShopFigures;

use chain::Chain;
use narrator::Narrator;

/// How the demo is played.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the databases are kept, an empty folder or one that is not there yet; a temporary one when absent.
    pub data: Option<PathBuf>,
    /// Whether each step is told as it happens.
    pub narrate: bool,
}

/// A chain whose day is over and which still serves.
pub struct Played {
    /// What came out.
    pub figures: Figures,
    chain: Chain,
}

/// Sets the chain up, plays its day and settles it. What is told goes to `out`.
///
/// # Errors
/// The step that did not go as the story says.
pub async fn play(options: &Options, out: &mut (dyn Write + Send)) -> anyhow::Result<Played> {
    let mut narrator = Narrator::new(out, options.narrate);
    let mut chain = Chain::set_up(options.data.clone(), &mut narrator).await?;
    let played = play_day(&mut chain, &mut narrator).await;
    match played {
        Ok(figures) => Ok(Played { figures, chain }),
        Err(error) => {
            chain.close().await;
            Err(error)
        }
    }
}

async fn play_day(chain: &mut Chain, narrator: &mut Narrator<'_>) -> anyhow::Result<Figures> {
    let mut figures = Figures::of(chain);
    trade::day(chain, &mut figures, narrator).await?;
    books::settle(chain, &mut figures, narrator).await?;
    Ok(figures)
}

impl Played {
    /// Lines for a terminal that work while this chain serves.
    ///
    /// # Errors
    /// When no operation id could be made.
    pub fn what_to_try(&self) -> anyhow::Result<String> {
        hint::lines(&self.chain, &self.figures)
    }

    /// Where the databases are.
    #[must_use]
    pub fn data(&self) -> &std::path::Path {
        self.chain.data()
    }

    /// Stops every daemon and closes every database.
    pub async fn close(self) {
        self.chain.close().await;
    }
}
