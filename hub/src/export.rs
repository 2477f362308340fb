//! Export: a run as one CSV for the books, a row per day, pair and kind; each row says whether the run was approved, so that a part of the file cannot be
//! taken for more than it is.
//!
//! Columns are known by their names, and are only ever appended. The same run in the same state gives the same bytes.

use huitong_protocol::money::Money;
use huitong_protocol::settlement::run::RunId;

use crate::approval::{self, RunState};
use crate::settle::{self, SettleError};
use crate::store::{StoreError, Tx};

const HEADER: [&str; 17] = [
    "run",
    "state",
    "approved_by",
    "approved_at",
    "prepared_by",
    "prepared_at",
    "scheme",
    "standing",
    "finality",
    "business_day",
    "class",
    "debtor",
    "creditor",
    "kind",
    "currency",
    "amount_minor",
    "amount",
];

/// A run as CSV (RFC 4180, UTF-8 without a mark).
///
/// # Errors
/// [`SettleError`].
pub fn csv(tx: &mut Tx<'_>, id: RunId) -> Result<String, SettleError> {
    let signed = approval::run(tx, id)?;
    let run = &signed.record.run;
    let (approved_by, approved_at) = match &signed.state {
        RunState::Approved { approved_by, approved_at_ms, .. } => (approved_by.clone(), approved_at_ms.to_string()),
        RunState::Draft | RunState::Final => (String::new(), String::new()),
    };
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let failed = |why: String| StoreError::Rule { operation: "write a run as CSV", fault: why };
    writer.write_record(HEADER).map_err(|why| failed(why.to_string()))?;
    for sum in settle::run_sums(tx, id)? {
        let amount = Money { minor: sum.amount_minor, currency: sum.currency }.decimal();
        writer
            .write_record([
                run.id.to_string(),
                signed.state.as_str().to_owned(),
                approved_by.clone(),
                approved_at.clone(),
                signed.prepared_by.clone().unwrap_or_default(),
                run.prepared_at_ms.to_string(),
                run.scheme.to_string(),
                run.standing.as_str().to_owned(),
                run.finality.as_str().to_owned(),
                sum.business_day.to_string(),
                run.class_of(sum.business_day).as_str().to_owned(),
                sum.debtor.to_string(),
                sum.creditor.to_string(),
                sum.kind.to_string(),
                sum.currency.code().to_owned(),
                sum.amount_minor.to_string(),
                amount,
            ])
            .map_err(|why| failed(why.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|why| failed(why.to_string()))?;
    Ok(String::from_utf8(bytes).map_err(|why| failed(why.to_string()))?)
}
