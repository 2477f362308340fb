//! Risk rows: the budget of the group's risk account as head office's journal has it, and what finance decided about it.
//!
//! Invariant: a decision that was made never changes.

use huitong_protocol::id::{AccountId, StoreId};
use huitong_protocol::movement::MovementKind;
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;
use serde::Serialize;

use super::{Row, StoreError, Tx};

/// What is decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// How large the budget is.
    Budget,
    /// That what an account owes is given up.
    WriteOff,
}

impl DecisionKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::WriteOff => "write_off",
        }
    }
}

/// What is to be decided: its kind, and whose debt where it is about one.
pub type Subject = (DecisionKind, Option<AccountId>);

/// A decision that somebody asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Decision {
    /// Its number.
    pub number: i64,
    /// What it is about.
    pub kind: DecisionKind,
    /// Whose debt is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// The budget as it is to be, or the debt as it was when it was asked.
    pub amount_minor: i64,
    /// Who asked.
    pub asked_by: String,
    /// When.
    pub asked_at_ms: Instant,
    /// Why.
    pub asked_note: String,
    /// Who decided, as a second person.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at_ms: Option<Instant>,
    /// With which words.
    pub decided_note: String,
}

const COLUMNS: &str = "decision_no, kind, account_id, amount_minor, asked_by, asked_at_ms, asked_note, decided_by, decided_at_ms, decided_note";

fn read(row: &Row<'_>) -> Result<Decision, StoreError> {
    let number = row.integer(0)?;
    let kind =
        if row.text(1)? == DecisionKind::Budget.as_str() { DecisionKind::Budget } else { DecisionKind::WriteOff };
    let account = match row.integer(2)? {
        0 => None,
        account => Some(AccountId::new(account).map_err(|why| StoreError::Value {
            table: "risk_decision",
            column: "account_id",
            row: number.to_string(),
            fault: why.to_string(),
        })?),
    };
    Ok(Decision {
        number,
        kind,
        account,
        amount_minor: row.integer(3)?,
        asked_by: row.text(4)?.to_owned(),
        asked_at_ms: Instant(row.integer(5)?),
        asked_note: row.text(6)?.to_owned(),
        decided_by: row.maybe_text(7)?.map(str::to_owned),
        decided_at_ms: row.maybe_integer(8)?.map(Instant),
        decided_note: row.text(9)?.to_owned(),
    })
}

/// The newest decision about a subject.
///
/// # Errors
/// [`StoreError`].
pub fn newest(tx: &mut Tx<'_>, (kind, account): Subject) -> Result<Option<Decision>, StoreError> {
    tx.query_one(
        &format!(
            "SELECT {COLUMNS} FROM risk_decision WHERE kind = $1 AND account_id = $2 ORDER BY decision_no DESC LIMIT 1"
        ),
        &[kind.as_str().into(), account.map_or(0, AccountId::get).into()],
        read,
    )
}

/// The last decisions, the newest first.
///
/// # Errors
/// [`StoreError`].
pub fn last(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<Decision>, StoreError> {
    tx.query(&format!("SELECT {COLUMNS} FROM risk_decision ORDER BY decision_no DESC LIMIT $1"), &[limit.into()], read)
}

/// Asks for a decision; asking anew takes the place of what was asked and not decided.
///
/// # Errors
/// [`StoreError`].
pub fn ask(
    tx: &mut Tx<'_>,
    (kind, account): Subject,
    amount_minor: i64,
    (by, note): (&str, &str),
    now: Instant,
) -> Result<(), StoreError> {
    tx.execute_one(
        "ask for a decision",
        "risk_decision",
        "INSERT INTO risk_decision (decision_no, kind, account_id, amount_minor, asked_by, asked_at_ms, asked_note) \
         VALUES ((SELECT COALESCE(MAX(decision_no), 0) + 1 FROM risk_decision), $1, $2, $3, $4, $5, $6) \
         ON CONFLICT (kind, account_id) WHERE decided_by IS NULL DO UPDATE SET amount_minor = excluded.amount_minor, \
         asked_by = excluded.asked_by, asked_at_ms = excluded.asked_at_ms, asked_note = excluded.asked_note",
        &[
            kind.as_str().into(),
            account.map_or(0, AccountId::get).into(),
            amount_minor.into(),
            by.into(),
            now.into(),
            note.into(),
        ],
    )
}

/// Notes who decided.
///
/// # Errors
/// [`StoreError`].
pub fn decided(tx: &mut Tx<'_>, number: i64, (by, note): (&str, &str), now: Instant) -> Result<(), StoreError> {
    tx.execute_one(
        "note a decision",
        "risk_decision",
        "UPDATE risk_decision SET decided_by = $2, decided_at_ms = $3, decided_note = $4 WHERE decision_no = $1 AND decided_by IS NULL",
        &[number.into(), by.into(), now.into(), note.into()],
    )
}

/// The budget by head office's journal: what finance gave less what it took back, with what was paid back for lines of ended epochs. It may have taken back
/// more than it gave: what was paid back is in the budget, too.
///
/// # Errors
/// [`StoreError`].
pub fn budget(tx: &mut Tx<'_>, unit: Unit) -> Result<i64, StoreError> {
    let mut budget_minor = 0_i64;
    tx.for_each(
        "SELECT kind, CAST(SUM(amount_minor) AS BIGINT) FROM movement WHERE account_id = $1 AND unit = $2 AND store_id = $3 GROUP BY kind",
        &[AccountId::RISK.into(), unit.into(), (&StoreId::HUB).into()],
        |row| {
            let amount_minor = row.integer(1)?;
            match row.parsed(0, "movement", "kind")? {
                MovementKind::RiskBudget | MovementKind::SuspenseRepaid => {
                    budget_minor = budget_minor.saturating_add(amount_minor);
                }
                MovementKind::RiskBudgetCut => budget_minor = budget_minor.saturating_sub(amount_minor),
                _ => {}
            }
            Ok::<(), StoreError>(())
        },
    )?;
    Ok(budget_minor)
}
