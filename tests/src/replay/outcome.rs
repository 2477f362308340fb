//! Outcome: what came of days without a line, and how it compares with another allocator on the same days.
//!
//! A till of the replay pays a basket wholly or not at all, so that a spend of which a part could have been paid is declined like any other; it is only
//! counted apart.

use std::fmt;

use anyhow::ensure;
use serde::Serialize;

use super::offline::Chooser;

/// How many findings are shown.
const FINDINGS_MAX: usize = 20;

/// What became of spends at one sort of stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Spends {
    /// Tried.
    pub attempts: u64,
    /// Approved in full.
    pub in_full: u64,
    /// Declined, though a part could have been approved: something was there.
    pub in_part: u64,
    /// Declined, and nothing was there.
    pub nothing: u64,
}

impl Spends {
    /// Counts a spend: `None` when it was approved, else what was there.
    pub(super) fn count(&mut self, refused_minor: Option<i64>) {
        self.attempts += 1;
        match refused_minor {
            None => self.in_full += 1,
            Some(available_minor) if available_minor > 0 => self.in_part += 1,
            Some(_) => self.nothing += 1,
        }
    }

    /// All that were not approved in full.
    #[must_use]
    pub const fn declined(&self) -> u64 {
        self.in_part + self.nothing
    }
}

impl fmt::Display for Spends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |count| percent(count, self.attempts);
        write!(
            f,
            "{} spends tried: {} approved in full ({}), {} could have been in part ({}), {} not at all ({})",
            self.attempts,
            self.in_full,
            part(self.in_full),
            self.in_part,
            part(self.in_part),
            self.nothing,
            part(self.nothing)
        )
    }
}

/// Value that is parked, of all that accounts hold, in minor units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Capital {
    /// At stores.
    pub parked_minor: i128,
    /// At stores and in the pool.
    pub float_minor: i128,
}

impl Capital {
    fn over(self, nights: u64) -> Self {
        let nights = i128::from(nights.max(1));
        Self { parked_minor: self.parked_minor / nights, float_minor: self.float_minor / nights }
    }
}

impl fmt::Display for Capital {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = |minor: i128| format!("{}.{:02}", minor / 100, minor % 100);
        let part = |minor: i128| u64::try_from(minor).unwrap_or(u64::MAX);
        let share = percent(part(self.parked_minor), part(self.float_minor));
        write!(f, "{} of {} ({share})", decimal(self.parked_minor), decimal(self.float_minor))
    }
}

/// What came of the days without a line.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    /// The share of stores, in thousandths.
    pub share_per_mille: u32,
    /// Who decided.
    pub allocator: Chooser,
    /// Days of a store that had customers and no line.
    pub store_days: u64,
    /// Spends at stores without a line.
    pub offline: Spends,
    /// Spends at stores with one: what is declined there lies at a store without.
    pub connected: Spends,
    /// Loads that were taken in the night.
    pub put_off: u64,
    /// Nights.
    pub nights: u64,
    /// All nights added up.
    pub nightly: Capital,
    /// The last night.
    pub end: Capital,
    /// What stores lacked of their targets after the nights, in purses: value that was out of reach.
    pub lacking: u64,
    /// As the hub judged its own plans: accounts that came since the plan before, and those of them whose first basket was within their target there.
    pub plans_came: u64,
    /// See `plans_came`.
    pub plans_covered: u64,
    /// Day ends at which all value was compared with what the accepted events come to.
    pub checked_days: u64,
    /// Balances of accounts that were compared there.
    pub balances_checked: u64,
    /// Counters of stores that were compared with what the hub knows.
    pub counters_checked: u64,
    /// Accounts, pools and counters that were found below zero.
    pub overdrafts: u64,
    /// Balances and counters that were found to be something else than they should be.
    pub differing: u64,
    /// The first findings of both sorts.
    pub findings: Vec<String>,
}

impl Summary {
    pub(super) fn overdrawn(&mut self, words: String) {
        self.overdrafts += 1;
        self.find(words);
    }

    pub(super) fn differs(&mut self, words: String) {
        self.differing += 1;
        self.find(words);
    }

    fn find(&mut self, words: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(words);
        }
    }

    /// Whether nothing was overdrawn and nothing lost or made.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.overdrafts == 0 && self.differing == 0
    }
}

/// A part of a whole in per cent, to hundredths, rounded down.
fn percent(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offline, connected, .. } = self;
        writeln!(
            f,
            "offline     {}.{} % of stores each day, {} days·stores with customers, allocator {:?}",
            self.share_per_mille / 10,
            self.share_per_mille % 10,
            self.store_days,
            self.allocator
        )?;
        writeln!(f, "no line     {offline}")?;
        writeln!(f, "connected   {connected}")?;
        let (full, all) = (offline.in_full + connected.in_full, offline.attempts + connected.attempts);
        writeln!(f, "all         {full} of {all} spends approved in full ({})", percent(full, all))?;
        writeln!(
            f,
            "stranded    {} of {} spends at connected stores refused, as their value lay where no line was ({})",
            connected.declined(),
            connected.attempts,
            percent(connected.declined(), connected.attempts)
        )?;
        writeln!(
            f,
            "parked      {} on average over {} nights, {} at the end; {} purses lacked something",
            self.nightly.over(self.nights),
            self.nights,
            self.end,
            self.lacking
        )?;
        writeln!(
            f,
            "plans       {} accounts came, the first basket of {} was within their target there",
            self.plans_came,
            percent(self.plans_covered, self.plans_came)
        )?;
        writeln!(
            f,
            "day ends    {} checked, {} balances and {} counters of stores: {} overdrafts, {} that differ; {} loads taken in the night",
            self.checked_days,
            self.balances_checked,
            self.counters_checked,
            self.overdrafts,
            self.differing,
            self.put_off
        )?;
        for finding in &self.findings {
            writeln!(f, "WRONG       {finding}")?;
        }
        Ok(())
    }
}

/// The same days under another allocator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Against {
    /// What came of them.
    pub other: Summary,
    /// Spends approved in full without a line, ours.
    pub ours_in_full: u64,
    /// The same of the other allocator.
    pub other_in_full: u64,
    /// Ours in parts of the other's, in ten-thousandths, rounded down; none when the other approved nothing.
    pub ratio_per_myriad: Option<u64>,
    /// What it must be at least, in thousandths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar_per_mille: Option<u32>,
    /// Whether it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar_holds: Option<bool>,
}

impl Against {
    /// Compares two passes over the same days.
    ///
    /// # Errors
    /// When they were not over the same days.
    pub(super) fn of(ours: &Summary, other: Summary, bar_per_mille: Option<u32>) -> anyhow::Result<Self> {
        let tried = |summary: &Summary| (summary.store_days, summary.offline.attempts, summary.connected.attempts);
        ensure!(tried(ours) == tried(&other), "the passes were not over the same days: {ours:?} {other:?}");
        let (ours_in_full, other_in_full) = (ours.offline.in_full, other.offline.in_full);
        let ratio = (u128::from(ours_in_full) * 10_000).checked_div(u128::from(other_in_full));
        let holds = |bar: u32| u128::from(ours_in_full) * 1_000 >= u128::from(bar) * u128::from(other_in_full);
        Ok(Self {
            other,
            ours_in_full,
            other_in_full,
            ratio_per_myriad: ratio.and_then(|ratio| u64::try_from(ratio).ok()),
            bar_per_mille,
            bar_holds: bar_per_mille.map(holds),
        })
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { other, ours_in_full, other_in_full, .. } = self;
        let tried = other.offline.attempts;
        write!(
            f,
            "against     {:?} approves {other_in_full} of {tried} without a line in full ({}), strands {} at connected stores ({}); ours {ours_in_full} ({})",
            other.allocator,
            percent(*other_in_full, tried),
            other.connected.declined(),
            percent(other.connected.declined(), other.connected.attempts),
            percent(*ours_in_full, tried)
        )?;
        match self.ratio_per_myriad {
            Some(ratio) => write!(f, ", ratio {}.{:04}", ratio / 10_000, ratio % 10_000)?,
            None => f.write_str(", no ratio")?,
        }
        if let (Some(bar), Some(holds)) = (self.bar_per_mille, self.bar_holds) {
            let verdict = if holds { "holds" } else { "DOES NOT HOLD" };
            write!(f, "; the bar of {}.{:03} {verdict}", bar / 1_000, bar % 1_000)?;
        }
        writeln!(f)?;
        for finding in &other.findings {
            writeln!(f, "WRONG       under {:?}: {finding}", other.allocator)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(allocator: Chooser, in_full: u64) -> Summary {
        let offline = Spends { attempts: 1_000, in_full, in_part: 0, nothing: 1_000 - in_full };
        Summary { allocator, offline, ..Summary::default() }
    }

    #[test]
    fn a_bar_holds_from_its_own_value_on() {
        let other = || summary(Chooser::Clairvoyant, 1_000);
        let holds = |in_full| Against::of(&summary(Chooser::Planner, in_full), other(), Some(920)).unwrap().bar_holds;
        assert_eq!([919, 920, 1_000].map(holds), [Some(false), Some(true), Some(true)]);
        let against = Against::of(&summary(Chooser::Planner, 923), summary(Chooser::Clairvoyant, 977), None).unwrap();
        assert_eq!((against.ratio_per_myriad, against.bar_holds), (Some(9_447), None));
        assert!(
            against.to_string().contains("(97.70 %)") && against.to_string().contains("ratio 0.9447\n"),
            "{against}"
        );
        let mut fewer = other();
        fewer.offline.attempts -= 1;
        assert!(Against::of(&summary(Chooser::Planner, 1), fewer, None).is_err(), "other days are no comparison");
    }
}
