//! Benchmarks of whole processes: a figure, and beside it, in the same run and interleaved, the limit that physics or a peer sets.
//!
//! Machines are noisy, so only ratios count: the median of an odd number of rounds, each round measuring both sides. Nothing here is a test.

mod fsync;
pub mod load;
pub mod lookup;
pub mod quote;
pub mod settle;
mod shop;
pub mod spend;

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

/// How many rounds a ratio is the median of.
pub const ROUNDS: usize = 5;

/// How large benches are.
#[derive(Clone, Debug, Serialize)]
pub struct Sizes {
    /// Cards of the store.
    pub members: usize,
    /// Look-ups of each round, side and number of connections.
    pub lookups: u64,
    /// Spends of each round and side; fewer tills do fewer.
    pub spends: u64,
    /// Quotes of each round and size.
    pub quotes: usize,
    /// Promotions of the largest policy.
    pub promotions: usize,
    /// Movements at the hub.
    pub movements: usize,
    /// Stores of the hub.
    pub stores: usize,
    /// How many rounds a ratio is the median of.
    pub rounds: usize,
    /// Under which folder databases are made and removed again; without one, where temporary files are.
    pub data: Option<PathBuf>,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            members: 100_000,
            lookups: 20_000,
            spends: 10_000,
            quotes: 2_000,
            promotions: 10_000,
            movements: 300_000,
            stores: 1_000,
            rounds: ROUNDS,
            data: None,
        }
    }
}

impl Sizes {
    fn folder(&self) -> std::io::Result<tempfile::TempDir> {
        match &self.data {
            Some(data) => tempfile::tempdir_in(data),
            None => tempfile::tempdir(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// A number that looks random and is the same in every run: the output function of SplitMix64 (Steele, Lea and Flood, 2014).
fn scattered(seed: u64, n: u64) -> u64 {
    let mut z =
        seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// One of `len` places, scattered.
fn place(seed: u64, n: u64, len: usize) -> usize {
    usize::try_from(scattered(seed, n) % len.max(1) as u64).unwrap_or(0)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Sizes {
        Sizes {
            members: 500,
            lookups: 128,
            spends: 256,
            quotes: 16,
            promotions: 300,
            movements: 2_000,
            stores: 20,
            rounds: 1,
            data: None,
        }
    }

    fn is_measured(measured: &[Measured]) {
        assert!(!measured.is_empty());
        for one in measured {
            assert!(one.ratio.is_finite() && one.ratio > 0.0, "{} has the ratio {}", one.name, one.ratio);
        }
    }

    #[test]
    fn a_bar_holds_on_its_side() {
        let measured = |ratio, bar| Measured {
            name: String::new(),
            limit: "",
            ours: 1.0,
            theirs: 1.0,
            unit: "",
            ratio,
            bar,
            notes: Vec::new(),
        };
        assert!(measured(0.5, Bar::AtLeast(0.5)).holds() && !measured(0.49, Bar::AtLeast(0.5)).holds());
        assert!(measured(4.0, Bar::AtMost(4.0)).holds() && !measured(4.1, Bar::AtMost(4.0)).holds());
        assert_eq!(medians(&[(1.0, 2.0), (9.0, 3.0), (4.0, 4.0)]), (4.0, 3.0, 1.0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn look_ups_and_spends_of_a_small_store_are_measured() {
        is_measured(&lookup::run(&tiny()).await.unwrap());
        is_measured(&spend::run(&tiny()).await.unwrap());
    }

    #[test]
    fn quotes_of_small_policies_are_measured() {
        is_measured(&quote::run(&tiny()).unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn settlement_of_a_small_group_is_measured() {
        is_measured(&settle::run(&tiny()).await.unwrap());
    }
}
