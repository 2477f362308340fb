//! Till: writes an operation down before it asks, asks until it is told, and brings back the highest position that it saw.

use huitong_protocol::till::Witness;

use super::message::{OpId, Told, Want};

/// So many sales a till remembers that goods could come back of, and so many holds.
const REMEMBERED_MAX: usize = 4;

/// A till's memory, which survives everything here.
#[derive(Clone, Debug, Default)]
pub struct TillNode {
    /// What it waits for.
    pub pending: Option<(OpId, Want)>,
    /// How many operations it began.
    pub begun: u32,
    /// Sales of which goods could come back.
    pub paid: Vec<(OpId, Want)>,
    /// Holds, ended or not: a till may ask for one that is over.
    pub held: Vec<(OpId, Want)>,
    /// The highest position that it saw.
    pub witness: Option<Witness>,
}

impl TillNode {
    /// Takes an answer. Gives the operation that it ends.
    pub fn hear(&mut self, told: Option<(OpId, Told)>, witness: Witness) -> Option<(OpId, Want, Told)> {
        let is_newer = |seen: &Witness| (witness.epoch, witness.head.seq) > (seen.epoch, seen.head.seq);
        if self.witness.as_ref().is_none_or(is_newer) {
            self.witness = Some(witness);
        }
        let (id, told) = told?;
        let (pending, want) = self.pending?;
        if pending != id {
            return None;
        }
        self.pending = None;
        let remembered = match (want, told) {
            (Want::Spend(..), Told::Done { .. }) => Some(&mut self.paid),
            (Want::Hold(..), Told::Done { .. }) => Some(&mut self.held),
            _ => None,
        };
        if let Some(remembered) = remembered {
            if remembered.len() >= REMEMBERED_MAX {
                remembered.remove(0);
            }
            remembered.push((id, want));
        }
        Some((id, want, told))
    }
}
