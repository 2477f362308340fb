//! Journal: the chain of a store's entries. Gap-free from 1, each hash over the one before and the entry's bytes.
//!
//! `hash = blake3(prev_hash ‖ bytes)`; the previous hash is not inside the bytes. Nothing here stores or sends.
//! Invariant: two journals with the same head at the same position are the same, byte by byte.

use serde::{Deserialize, Serialize};

use crate::id::{Hash, Seq};

/// The end of a chain: the last position and its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The last position, 0 when there is none.
    pub seq: Seq,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// Before the first entry.
    pub const START: Self = Self { seq: Seq::ZERO, hash: Hash::ZERO };

    /// The head after one more entry.
    #[must_use]
    pub fn push(self, bytes: &[u8]) -> Self {
        Self { seq: self.seq.next(), hash: link(self.hash, bytes) }
    }
}

/// The hash of an entry, given the one before.
#[must_use]
pub fn link(previous: Hash, bytes: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&previous.0);
    hasher.update(bytes);
    Hash(*hasher.finalize().as_bytes())
}

/// What is wrong with a run of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChainFault {
    /// A position is missing or comes twice.
    #[error("expected position {expected}, found {found}")]
    Gap {
        /// The position that should come.
        expected: Seq,
        /// The position that came.
        found: Seq,
    },
    /// The bytes do not lead to the hash.
    #[error("the hash of position {seq} is not that of its bytes")]
    Hash {
        /// Where.
        seq: Seq,
    },
}

/// Walks entries from a head and proves each.
///
/// # Errors
/// The first [`ChainFault`].
pub fn verify<'a>(from: Head, entries: impl IntoIterator<Item = (Seq, Hash, &'a [u8])>) -> Result<Head, ChainFault> {
    entries.into_iter().try_fold(from, |head, (seq, hash, bytes)| {
        let next = head.push(bytes);
        if seq != next.seq {
            return Err(ChainFault::Gap { expected: next.seq, found: seq });
        }
        if hash != next.hash {
            return Err(ChainFault::Hash { seq });
        }
        Ok(next)
    })
}

/// A range of positions, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first.
    pub first: Seq,
    /// The last.
    pub last: Seq,
}

/// What a holder of everything up to `have` lacks of a journal that reaches `want`.
#[must_use]
pub fn missing(have: Seq, want: Seq) -> Option<Range> {
    (have < want).then(|| Range { first: have.next(), last: want })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chain(entries: &[Vec<u8>]) -> Vec<(Seq, Hash, Vec<u8>)> {
        let mut head = Head::START;
        entries
            .iter()
            .map(|bytes| {
                head = head.push(bytes);
                (head.seq, head.hash, bytes.clone())
            })
            .collect()
    }

    fn verified(entries: &[(Seq, Hash, Vec<u8>)]) -> Result<Head, ChainFault> {
        verify(Head::START, entries.iter().map(|(seq, hash, bytes)| (*seq, *hash, bytes.as_slice())))
    }

    #[test]
    fn what_is_missing_is_a_range() {
        assert_eq!(missing(Seq(3), Seq(3)), None);
        assert_eq!(missing(Seq(5), Seq(3)), None);
        assert_eq!(missing(Seq(0), Seq(3)), Some(Range { first: Seq(1), last: Seq(3) }));
    }

    proptest! {
        #[test]
        fn any_change_of_a_journal_is_found(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 2..12), at in any::<prop::sample::Index>(), bit in 0_u8..8, which in 0..4) {
            let good = chain(&entries);
            let head = verified(&good).unwrap();
            prop_assert_eq!(head.seq, Seq(entries.len() as u64));
            let mut bad = good.clone();
            let at = at.index(bad.len());
            match which {
                0 => bad[at].2[0] ^= 1 << bit,
                1 => bad[at].1.0[0] ^= 1 << bit,
                2 => { bad.remove(at); }
                _ => { let row = bad[at].clone(); bad.insert(at, row); }
            }
            // Taking away the last entries leaves a shorter good chain: the seal's count and head find that.
            if !(which == 2 && at == good.len() - 1) {
                prop_assert!(verified(&bad).is_err());
            } else {
                prop_assert_ne!(verified(&bad).unwrap(), head);
            }
        }
    }
}
