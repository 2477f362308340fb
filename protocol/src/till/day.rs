//! The business day at the till: opened, closed, reported.

use serde::{Deserialize, Serialize};

use super::{Said, said::requests};
use crate::id::{OperatorId, Seq};
use crate::seal::ControlTotals;
use crate::time::BusinessDay;

requests! {
    /// Open a day.
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub struct OpenDay {
        /// Its label; the store's calendar and rollover hour give it when absent.
        #[serde(default)]
        pub business_day: Option<BusinessDay>,
        /// The label is meant although it is far from the store's last day and from its clock. Labels only go forward, so a mistyped year would keep the
        /// store from ever opening a day of this one again.
        #[serde(default)]
        pub far_business_day_confirmed: bool,
    }
}

requests! {
    /// Close the open day.
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub struct CloseDay {
    }
}

/// An X or Z report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DayReport {
    /// The day.
    pub business_day: BusinessDay,
    /// Whether it is closed (Z) or running (X).
    pub closed: bool,
    /// The first entry covered.
    pub first_seq: Seq,
    /// The last entry covered.
    pub last_seq: Seq,
    /// What is in it.
    pub totals: ControlTotals,
}
