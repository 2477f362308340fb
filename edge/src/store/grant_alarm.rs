//! The alarm of grants that no store can take: head office says what is wrong, and what it granted with them may be missing here. One line per grant, once
//! each; it goes when the hub grants the account what can be taken, and shows in the status till then.

use huitong_protocol::grant::GrantFault;
use huitong_protocol::id::AccountId;
use huitong_protocol::wire::Grant;

use super::{ReadTx, StoreError, WriteTx, setting};

/// Where it stands among the settings.
const ALARM: &str = "alarm.grants";
/// How it begins.
const WORDS: &str = "head office granted what this store cannot take: ";
/// Between two grants.
const BREAK: &str = "; ";
/// So many are named: people look at head office then, not at a list.
const NAMED_MAX: usize = 8;

fn line(grant: &Grant, fault: GrantFault) -> String {
    format!("{}{}: {} in all, but {fault}", about(grant.account), grant.unit, grant.granted_minor)
}

/// How the lines of an account begin.
fn about(account: AccountId) -> String {
    format!("for account {account} in ")
}

fn lines(tx: &ReadTx<'_>) -> Result<Vec<String>, StoreError> {
    let text = setting::get(tx, ALARM)?.unwrap_or_default();
    let named = text.strip_prefix(WORDS).map(|named| named.split(BREAK).map(str::to_owned).collect());
    Ok(named.unwrap_or_default())
}

fn put(tx: &mut WriteTx<'_>, lines: &[String]) -> Result<(), StoreError> {
    match lines {
        [] => setting::remove(tx, ALARM),
        lines => setting::put(tx, ALARM, &format!("{WORDS}{}", lines.join(BREAK))),
    }
}

/// Whether any is named.
pub(super) fn is_raised(tx: &ReadTx<'_>) -> Result<bool, StoreError> {
    Ok(setting::get(tx, ALARM)?.is_some())
}

/// Whether a grant that cannot be taken is not named yet and may be.
pub(super) fn is_news(tx: &ReadTx<'_>, grant: &Grant, fault: GrantFault) -> Result<bool, StoreError> {
    let named = lines(tx)?;
    Ok(named.len() < NAMED_MAX && !named.contains(&line(grant, fault)))
}

/// Names a grant that cannot be taken.
pub(super) fn raise(tx: &mut WriteTx<'_>, grant: &Grant, fault: GrantFault) -> Result<(), StoreError> {
    if !is_news(tx, grant, fault)? {
        return Ok(());
    }
    let mut named = lines(tx)?;
    let line = line(grant, fault);
    tracing::error!("Alarm: {WORDS}{line}");
    named.push(line);
    put(tx, &named)
}

/// The hub granted an account what can be taken, perhaps in another unit than what was wrong.
pub(super) fn took(tx: &mut WriteTx<'_>, account: AccountId) -> Result<(), StoreError> {
    let mut named = lines(tx)?;
    let before = named.len();
    named.retain(|line| !line.starts_with(&about(account)));
    if named.len() < before { put(tx, &named) } else { Ok(()) }
}
