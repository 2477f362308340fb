//! Figures: what the day came to, for programs; and what must be true of it.

use std::collections::BTreeMap;

use huitong_protocol::decline::DeclineCode;
use huitong_protocol::id::StoreId;
use huitong_protocol::time::BusinessDay;
use serde::Serialize;

use super::chain::{Chain, HUB, LATE};
use super::shop_figures::ShopFigures;

/// The day in figures. Amounts are in minor units of CNY.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The day that was traded.
    pub business_day: Option<BusinessDay>,
    /// Where everybody listened.
    pub addresses: BTreeMap<String, String>,
    /// Operations of tills that took effect.
    pub approved: u64,
    /// Operations that were refused, in order.
    pub declines: Vec<DeclineFigures>,
    /// Prices, points, payments, invoices and policies.
    pub shop: ShopFigures,
    /// What head office looked into.
    pub exceptions: ExceptionFigures,
    /// The runs, in order.
    pub runs: Vec<RunFigures>,
    /// What each party is to receive (above zero) or pay (below), by all runs together.
    pub nets: BTreeMap<String, i64>,
    /// Their sum: zero.
    pub nets_sum_minor: i64,
    /// What the last run changed of the day for the late store.
    pub adjustments: Vec<AdjustmentFigures>,
    /// The state of each store's day at the hub.
    pub days: BTreeMap<String, String>,
    /// What `verify` said.
    pub verify: VerifyFigures,
}

/// A refused operation.
#[derive(Debug, Clone, Serialize)]
pub struct DeclineFigures {
    /// Where.
    pub store: StoreId,
    /// Why.
    pub code: DeclineCode,
    /// Whether the store's line to the hub was cut.
    pub line_cut: bool,
    /// What was asked.
    pub needed_minor: Option<i64>,
    /// What could be spent there.
    pub available_here_minor: Option<i64>,
}

/// What head office looked into.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ExceptionFigures {
    /// The classes of what was found, in order.
    pub raised: Vec<String>,
    /// Who closed each.
    pub resolved_by: Vec<String>,
    /// How many nobody has dealt with.
    pub left: usize,
}

/// A settlement run.
#[derive(Debug, Clone, Serialize)]
pub struct RunFigures {
    /// Its number.
    pub run: i64,
    /// The scheme.
    pub scheme: String,
    /// provisional or final.
    pub finality: String,
    /// Stores that were missing something.
    pub late: Vec<String>,
    /// Lines written.
    pub lines: u64,
    /// How many of them change a day that an earlier run had covered.
    pub adjustments: u64,
    /// What each party is to receive or pay by this run.
    pub positions: BTreeMap<String, i64>,
    /// Their sum: zero.
    pub positions_sum_minor: i64,
}

/// An adjustment on a statement.
#[derive(Debug, Clone, Serialize)]
pub struct AdjustmentFigures {
    /// Whose statement.
    pub party: String,
    /// The day that changed.
    pub business_day: BusinessDay,
    /// The kind of leg.
    pub kind: String,
    /// The other side.
    pub counterparty: String,
    /// How much.
    pub amount_minor: i64,
}

/// What `verify` said.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VerifyFigures {
    /// Whether everything follows from the journals.
    pub ok: bool,
    /// How many things were proved.
    pub checks: usize,
    /// What was not right.
    pub findings: Vec<String>,
}

impl Figures {
    /// Nothing yet, but the addresses.
    pub(super) fn of(chain: &Chain) -> Self {
        let stores = chain.shops.iter().map(|shop| (shop.id.to_string(), shop.address.to_string()));
        Self::new(stores.chain([(HUB.to_owned(), chain.hub_address.to_string())]).collect())
    }

    fn new(addresses: BTreeMap<String, String>) -> Self {
        Self {
            business_day: None,
            addresses,
            approved: 0,
            declines: Vec::new(),
            shop: ShopFigures::default(),
            exceptions: ExceptionFigures::default(),
            runs: Vec::new(),
            nets: BTreeMap::new(),
            nets_sum_minor: 0,
            adjustments: Vec::new(),
            days: BTreeMap::new(),
            verify: VerifyFigures::default(),
        }
    }

    /// What is not as the story says; empty when all is well.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut expect = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        expect(self.runs.len() == 2, "there are not two runs");
        if let [first, last] = &self.runs[..] {
            expect(
                first.finality == "provisional" && first.late == [LATE],
                "run 1 is not provisional for the late store",
            );
            expect(last.finality == "final" && last.late.is_empty(), "run 2 is not final");
            expect(
                first.adjustments == 0 && last.adjustments > 0,
                "the late store did not come as an adjustment in run 2",
            );
        }
        expect(self.runs.iter().all(|run| run.positions_sum_minor == 0), "the positions of a run do not sum to zero");
        expect(!self.nets.is_empty() && self.nets_sum_minor == 0, "the nets do not sum to zero");
        expect(
            self.nets.get("unattributed").is_none_or(|rest| *rest == 0),
            "something has no owner after the last run",
        );
        expect(
            !self.adjustments.is_empty()
                && self.adjustments.iter().all(|line| Some(line.business_day) == self.business_day),
            "the late store's statement does not name its day",
        );
        expect(
            self.declines.iter().any(|d| d.line_cut && d.code == DeclineCode::InsufficientHereOffline),
            "nothing was declined while the line was cut",
        );
        expect(
            self.declines.iter().any(|d| d.code == DeclineCode::PointsLimit),
            "points paid more than the policy lets them",
        );
        let ExceptionFigures { raised, resolved_by, left } = &self.exceptions;
        expect(
            !raised.is_empty() && raised.len() == resolved_by.len() && *left == 0,
            "no exception was raised, or one was not resolved",
        );
        expect(self.days.len() == 3 && self.days.values().all(|state| state == "accepted"), "a day was not accepted");
        expect(self.verify.ok && self.verify.findings.is_empty() && self.verify.checks > 0, "verify found something");
        faults.extend(self.shop.faults().into_iter().map(str::to_owned));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(finality: &str, late: &[&str], adjustments: u64) -> RunFigures {
        RunFigures {
            run: 1,
            scheme: "fifo".to_owned(),
            finality: finality.to_owned(),
            late: late.iter().map(|&store| store.to_owned()).collect(),
            lines: 2,
            adjustments,
            positions: BTreeMap::from([("store:S1".to_owned(), -5), ("hub".to_owned(), 5)]),
            positions_sum_minor: 0,
        }
    }

    fn declined(code: DeclineCode) -> DeclineFigures {
        let (store, line_cut) = ("S2".parse().unwrap(), code == DeclineCode::InsufficientHereOffline);
        DeclineFigures { store, code, line_cut, needed_minor: None, available_here_minor: None }
    }

    fn good() -> Figures {
        let business_day: BusinessDay = "2026-11-22".parse().unwrap();
        Figures {
            business_day: Some(business_day),
            declines: [DeclineCode::InsufficientHereOffline, DeclineCode::PointsLimit].map(declined).into(),
            shop: super::super::shop_figures::tests::good(),
            exceptions: ExceptionFigures {
                raised: vec!["unknown_item".to_owned()],
                resolved_by: vec!["li".to_owned()],
                left: 0,
            },
            runs: vec![run("provisional", &[LATE], 0), run("final", &[], 3)],
            nets: BTreeMap::from([("store:S1".to_owned(), -10), ("hub".to_owned(), 10)]),
            adjustments: vec![AdjustmentFigures {
                party: "store:S3".to_owned(),
                business_day,
                kind: "spend".to_owned(),
                counterparty: "store:S1".to_owned(),
                amount_minor: -5,
            }],
            days: ["S1", "S2", "S3"].map(|store| (store.to_owned(), "accepted".to_owned())).into(),
            verify: VerifyFigures { ok: true, checks: 12, findings: Vec::new() },
            ..Figures::new(BTreeMap::new())
        }
    }

    #[track_caller]
    fn check(spoil: impl FnOnce(&mut Figures), fault: &str) {
        let mut figures = good();
        spoil(&mut figures);
        assert_eq!(figures.faults(), [fault]);
    }

    #[test]
    fn a_good_day_has_no_faults() {
        assert_eq!(good().faults(), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_must_hold_is_looked_at() {
        check(|day| day.nets_sum_minor = 1, "the nets do not sum to zero");
        check(|day| day.runs[0].positions_sum_minor = 1, "the positions of a run do not sum to zero");
        check(|day| day.runs[1].adjustments = 0, "the late store did not come as an adjustment in run 2");
        check(|day| day.runs[1].finality = "provisional".to_owned(), "run 2 is not final");
        check(|day| day.runs[0].late.clear(), "run 1 is not provisional for the late store");
        check(|day| _ = day.nets.insert("unattributed".to_owned(), 1), "something has no owner after the last run");
        check(|day| day.adjustments.clear(), "the late store's statement does not name its day");
        check(|day| _ = day.declines.pop(), "points paid more than the policy lets them");
        check(|day| day.shop.taken_offline = 0, "no receipt was taken while the edge was down");
        check(|day| day.declines[0].line_cut = false, "nothing was declined while the line was cut");
        let not_resolved = "no exception was raised, or one was not resolved";
        check(|day| day.exceptions.left = 1, not_resolved);
        check(|day| day.exceptions.resolved_by.clear(), not_resolved);
        check(|day| drop(day.days.insert("S3".to_owned(), "open".to_owned())), "a day was not accepted");
        check(|day| day.verify.findings.push("a byte".to_owned()), "verify found something");
    }
}
