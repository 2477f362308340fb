//! Signatures under a settlement run: who prepared it and who approved it. What they mean is decided in `approval`.

use huitong_protocol::settlement::run::RunId;
use huitong_protocol::time::Instant;
use serde::Serialize;

use super::{StoreError, Tx};

/// As what somebody signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Who made the run.
    Prepared,
    /// Who approved it.
    Approved,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Approved => "approved",
        }
    }
}

/// A name under a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// Who.
    pub by: String,
    /// When.
    pub at_ms: Instant,
    /// With which words.
    pub note: String,
}

/// Signs a run.
///
/// # Errors
/// [`StoreError`], also when somebody signed as this before.
pub fn sign(tx: &mut Tx<'_>, run: RunId, role: Role, signature: &Signature) -> Result<(), StoreError> {
    tx.execute_one(
        "sign a run",
        "settlement_signature",
        "INSERT INTO settlement_signature (run_no, role, signed_by, signed_at_ms, note) VALUES ($1, $2, $3, $4, $5)",
        &[run.0.into(), role.as_str().into(), (&signature.by).into(), signature.at_ms.into(), (&signature.note).into()],
    )
}

/// Who signed a run as this.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, run: RunId, role: Role) -> Result<Option<Signature>, StoreError> {
    tx.query_one(
        "SELECT signed_by, signed_at_ms, note FROM settlement_signature WHERE run_no = $1 AND role = $2",
        &[run.0.into(), role.as_str().into()],
        |row| {
            Ok(Signature {
                by: row.text(0)?.to_owned(),
                at_ms: Instant(row.integer(1)?),
                note: row.text(2)?.to_owned(),
            })
        },
    )
}
