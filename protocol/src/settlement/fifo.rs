//! The fifo scheme: value belongs to whoever put it on. The k-th minor unit spent is the k-th loaded, and its loader owes its taker.
//!
//! A load makes no leg: the loader keeps the cash and owes the lot. A store that accepts its own lot gets an informational leg, so that the
//! matrix of loaders and acceptors has its diagonal. Bonus and corrections stand behind the hub, which collects the sponsors' shares.

use crate::party::Party;
use crate::settlement::lot::LotKind;

/// Who stands for a lot.
pub(super) fn backer(kind: LotKind, owner: Party) -> Party {
    match kind {
        LotKind::Principal => owner,
        LotKind::Bonus => Party::Hub,
    }
}

/// Debtor and creditor of value that a source put back into a lot.
pub(super) fn put_back(source: Party, backer: Party) -> Option<(Party, Party)> {
    moved(source, backer)
}

/// Debtor and creditor of value that a taker took out of a lot.
pub(super) fn left(backer: Party, taker: Party) -> Option<(Party, Party)> {
    moved(backer, taker)
}

fn moved(debtor: Party, creditor: Party) -> Option<(Party, Party)> {
    ((debtor, creditor) != (Party::Hub, Party::Hub)).then_some((debtor, creditor))
}
