//! Benchmarks of whole processes: a figure, and beside it, in the same run and interleaved, the limit that physics or a peer sets.
//!
//! Machines are noisy, so only ratios count: the median of an odd number of rounds, each round measuring both sides. Nothing here is a test.

pub mod load;

use serde::Serialize;

/// How many rounds a ratio is the median of.
pub const ROUNDS: usize = 5;

/// One bar: what was measured against what.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The bar's number and work.
    pub name: String,
    /// What it is compared with and why that is the limit.
    pub limit: &'static str,
    /// Ours, in `unit`: the median.
    pub ours: f64,
    /// The limit's, in `unit`: the median.
    pub theirs: f64,
    /// What both count.
    pub unit: &'static str,
    /// The median of the rounds' ratios.
    pub ratio: f64,
    /// The bar that the ratio must reach, or stay under.
    pub bar: Bar,
    /// More figures, for reading.
    pub notes: Vec<String>,
}

/// What a ratio must do.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// Be at least this.
    AtLeast(f64),
    /// Be at most this.
    AtMost(f64),
    /// Nothing: for reading.
    None,
}

impl Measured {
    /// Whether the bar is met.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.bar {
            Bar::AtLeast(bar) => self.ratio >= bar,
            Bar::AtMost(bar) => self.ratio <= bar,
            Bar::None => true,
        }
    }
}

/// The median of figures.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Medians of rounds of (ours, theirs), and of their ratios.
#[must_use]
#[expect(clippy::float_arithmetic, reason = "a measurement")]
pub fn medians(rounds: &[(f64, f64)]) -> (f64, f64, f64) {
    let of = |pick: fn(&(f64, f64)) -> f64| median(rounds.iter().map(pick).collect());
    (of(|round| round.0), of(|round| round.1), of(|round| round.0 / round.1))
}
