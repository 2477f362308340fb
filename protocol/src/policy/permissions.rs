//! Permissions: which operators may do what at a till, and up to how much.
//!
//! A till names the operator and, where somebody was called, who approved; the policy says which role each has. One of the two roles must allow the
//! operation. What a *till* may do at all is its pairing's; this is about people. Without roles everybody may do everything, as before the chapter
//! existed. Who an operator is, is not proved here: the till says it, and the journal keeps it. Invariant of valid permissions: an operator has
//! exactly one role.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Faults;
use super::who::twice;
use crate::id::{OperatorId, RoleCode};
use crate::money::Ppm;
use crate::till::AMOUNT_MINOR_MAX;

/// What a role may be allowed. Selling, quoting and looking up are everybody's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Undo an operation of the open day.
    Void,
    /// Take goods of a receipt back.
    Return,
    /// Take goods back without a receipt, where the policy has it.
    ReturnWithoutReceipt,
    /// Sell a card, or load one again.
    LoadCard,
    /// Freeze a card.
    FreezeCard,
    /// Take something off a line by hand.
    Markdown,
    /// Say what became of a payment that nobody knew of.
    ResolvePayment,
    /// Register the tax invoice over a receipt.
    RegisterInvoice,
}

impl Operation {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Return => "return",
            Self::ReturnWithoutReceipt => "return_without_receipt",
            Self::LoadCard => "load_card",
            Self::FreezeCard => "freeze_card",
            Self::Markdown => "markdown",
            Self::ResolvePayment => "resolve_payment",
            Self::RegisterInvoice => "register_invoice",
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who may do what.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PermissionRules {
    /// The role of operators that no role names, and of operations for which the till names nobody. Needed when there are roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_role: Option<RoleCode>,
    /// The roles.
    pub roles: Vec<Role>,
}

/// A role.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its code; a refusal names it.
    pub code: RoleCode,
    /// What people call it.
    pub name: String,
    /// Who has it.
    #[serde(default)]
    pub operators: Vec<OperatorId>,
    /// What it may do.
    #[serde(default)]
    pub may: Vec<Operation>,
    /// The largest part of a line that markdowns may take; no limit of its own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markdown_share_ppm_max: Option<Ppm>,
    /// The most that one card sale or reload may add, bonus included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_minor_max: Option<i64>,
    /// The most that one return without receipt may give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_receipt_minor_max: Option<i64>,
}

/// What somebody is about to do, with what is limited of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Act {
    /// What.
    pub operation: Operation,
    /// How much: minor units, and parts per million of the line for a markdown.
    pub amount: i64,
}

impl Role {
    fn may(&self, act: Act) -> bool {
        let limit = match act.operation {
            Operation::Markdown => self.markdown_share_ppm_max.map(|share| share.0),
            Operation::LoadCard => self.load_minor_max,
            Operation::ReturnWithoutReceipt => self.without_receipt_minor_max,
            _ => None,
        };
        self.may.contains(&act.operation) && limit.is_none_or(|limit| act.amount <= limit)
    }
}

impl PermissionRules {
    /// Whether the operator, or who approved, may do it.
    ///
    /// # Errors
    /// The roles that may; none when nobody may.
    pub fn allow(
        &self,
        operator: Option<OperatorId>,
        approver: Option<OperatorId>,
        act: Act,
    ) -> Result<(), Vec<RoleCode>> {
        let of = |who: Option<OperatorId>| {
            let named = who.and_then(|who| self.roles.iter().find(|role| role.operators.contains(&who)));
            named.or_else(|| self.roles.iter().find(|role| Some(role.code) == self.default_role))
        };
        let by = |who| of(who).is_some_and(|role: &Role| role.may(act));
        if self.roles.is_empty() || by(operator) || (approver.is_some() && by(approver)) {
            return Ok(());
        }
        Err(self.roles.iter().filter(|role| role.may(act)).map(|role| role.code).collect())
    }
}

pub(super) fn check(rules: &PermissionRules, faults: &mut Faults) {
    let (mut codes, mut operators) = (HashSet::new(), HashSet::new());
    for (index, role) in rules.roles.iter().enumerate() {
        let path = |field: &str| format!("permissions.roles[{index}].{field}");
        if !codes.insert(role.code) {
            faults.add(path("code"), format!("{} is there twice; give each role its own code", role.code));
        }
        if role.name.trim().is_empty() {
            faults.add(path("name"), "is empty; give the role a name");
        }
        for (at, operator) in role.operators.iter().enumerate() {
            if !operators.insert(operator) {
                let fault = format!("{operator} has a role already; everybody has one");
                faults.add(path(&format!("operators[{at}]")), fault);
            }
        }
        twice(&role.may, &|at| path(&format!("may[{at}]")), faults);
        let limits = [
            (
                "markdown_share_ppm_max",
                role.markdown_share_ppm_max.map(|share| share.0),
                Operation::Markdown,
                Ppm::ONE.0,
            ),
            ("load_minor_max", role.load_minor_max, Operation::LoadCard, AMOUNT_MINOR_MAX),
            (
                "without_receipt_minor_max",
                role.without_receipt_minor_max,
                Operation::ReturnWithoutReceipt,
                AMOUNT_MINOR_MAX,
            ),
        ];
        for (field, limit, operation, most) in limits {
            let Some(limit) = limit else { continue };
            if !(1..=most).contains(&limit) {
                faults.add(path(field), format!("is {limit}; it must be from 1 to {most}"));
            }
            if !role.may.contains(&operation) {
                let fault = format!("limits {operation}, which the role may not do; add it to may, or leave this out");
                faults.add(path(field), fault);
            }
        }
    }
    match rules.default_role {
        None if !rules.roles.is_empty() => {
            let fault = "is missing; name the role of operators that no role names";
            faults.add("permissions.default_role", fault);
        }
        Some(code) if !codes.contains(&code) => {
            faults.add("permissions.default_role", format!("{code} is not among permissions.roles"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> PermissionRules {
        serde_json::from_value(json!({
            "default_role": "cashier",
            "roles": [
                { "code": "cashier", "name": "收银员", "may": ["markdown", "load_card"], "markdown_share_ppm_max": 100_000, "load_minor_max": 50_000 },
                { "code": "manager", "name": "店长", "operators": ["W7"], "may": ["markdown", "load_card", "void"] },
            ],
        }))
        .unwrap()
    }

    #[test]
    fn the_operators_role_or_the_approvers_must_allow_it() {
        let allow = |operator: Option<&str>, approver: Option<&str>, operation, amount| {
            let id = |text: &str| text.parse().unwrap();
            let answer = rules().allow(operator.map(id), approver.map(id), Act { operation, amount });
            answer.map_err(|roles| roles.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let manager = || Err(vec!["manager".to_owned()]);
        assert_eq!(allow(None, None, Operation::Markdown, 100_000), Ok(()));
        assert_eq!(allow(None, None, Operation::Markdown, 100_001), manager());
        assert_eq!(allow(Some("W7"), None, Operation::Markdown, 900_000), Ok(()));
        assert_eq!(allow(Some("W1"), Some("W7"), Operation::Void, 0), Ok(()), "somebody was called");
        assert_eq!(allow(Some("W1"), Some("W2"), Operation::Void, 0), manager());
        assert_eq!(allow(Some("W1"), None, Operation::LoadCard, 50_001), manager());
        assert_eq!(allow(Some("W7"), None, Operation::FreezeCard, 0), Err(Vec::new()), "nobody may");
        let act = Act { operation: Operation::FreezeCard, amount: 0 };
        assert_eq!(PermissionRules::default().allow(None, None, act), Ok(()), "without roles nothing is forbidden");
    }

    #[test]
    fn roles_that_contradict_themselves_are_refused() {
        let mut rules = rules();
        rules.default_role = Some("clerk".parse().unwrap());
        rules.roles[0].operators = vec!["W7".parse().unwrap()];
        rules.roles[0].may = vec![Operation::Markdown, Operation::Markdown];
        rules.roles[1].code = "cashier".parse().unwrap();
        rules.roles[1].name = " ".to_owned();
        rules.roles[1].markdown_share_ppm_max = Some(Ppm(0));
        let mut faults = Faults::default();
        check(&rules, &mut faults);
        let paths: Vec<&str> = faults.0.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "permissions.roles[0].may[1]",
                "permissions.roles[0].load_minor_max",
                "permissions.roles[1].code",
                "permissions.roles[1].name",
                "permissions.roles[1].operators[0]",
                "permissions.roles[1].markdown_share_ppm_max",
                "permissions.default_role",
            ]
        );
    }
}
