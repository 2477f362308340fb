//! How the store is, and the highest position that a till has seen of it.

use serde::{Deserialize, Serialize};

use super::{Fault, WITNESS};
use crate::id::{Epoch, Hash, Seq, StoreId};
use crate::journal::Head;
use crate::time::{BusinessDay, Instant};

/// The state of the edge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EdgeStatus {
    /// The store.
    pub store: StoreId,
    /// The incarnation of its database.
    pub epoch: Epoch,
    /// The journal's end.
    pub head: Head,
    /// The open day.
    pub open_day: Option<BusinessDay>,
    /// The edge's clock.
    pub now_ms: Instant,
    /// Whether the last call to the hub was answered.
    pub hub_online: bool,
    /// When the hub last answered.
    pub hub_last_seen_ms: Option<Instant>,
    /// What the hub holds of the journal.
    pub acknowledged_seq: Seq,
    /// Accounts whose counters moved since the hub last took a report.
    pub unreported_accounts: u64,
    /// The policy in force, 0 when there is none.
    pub policy_version: u64,
    /// The cards of the replica.
    pub cards_version: u64,
    /// True when a listener without TLS was opened to others than this machine.
    pub insecure_http: bool,
    /// The program's version.
    pub version: String,
}

/// The highest position that a till has seen: an edge whose journal does not contain it has lost its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witness {
    /// The incarnation.
    pub epoch: Epoch,
    /// Position and hash.
    pub head: Head,
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.epoch, self.head.seq, self.head.hash)
    }
}

impl std::str::FromStr for Witness {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let parse = || {
            let mut parts = text.splitn(3, ':');
            let epoch = Epoch(parts.next()?.parse().ok()?);
            let seq = Seq(parts.next()?.parse().ok()?);
            let hash: Hash = parts.next()?.parse().ok()?;
            Some(Self { epoch, head: Head { seq, hash } })
        };
        parse().ok_or_else(|| Fault::new(WITNESS, "is not EPOCH:SEQ:HASH"))
    }
}

/// A witness as it travels, with the store that gave it: of another store's journal it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreWitness {
    /// Whose journal.
    pub store: StoreId,
    /// The position.
    pub witness: Witness,
}

impl std::fmt::Display for StoreWitness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.store, self.witness)
    }
}

impl std::str::FromStr for StoreWitness {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let parse = || {
            let (store, witness) = text.split_once(':')?;
            Some(Self { store: store.parse().ok()?, witness: witness.parse().ok()? })
        };
        parse().ok_or_else(|| {
            Fault::new(
                WITNESS,
                "is not STORE:EPOCH:SEQ:HASH; send back the highest one received, unchanged, or `none` before the first",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_says_whose_it_is_and_comes_back_as_it_went() {
        let text = format!("SH-01:2:7:{}", Hash::of(b"entry"));
        let seen: StoreWitness = text.parse().unwrap();
        assert_eq!((seen.store.as_str(), seen.witness.epoch, seen.witness.head.seq), ("SH-01", Epoch(2), Seq(7)));
        assert_eq!(seen.to_string(), text);
        for bad in ["", "S1", "S1:2:7", text.strip_prefix("SH-01:").unwrap(), &text[..text.len() - 1], "none"] {
            assert_eq!(bad.parse::<StoreWitness>().unwrap_err().field, WITNESS, "{bad}");
        }
    }
}
