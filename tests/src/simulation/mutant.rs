//! Mutants: the core with one rule taken away. The audit must notice.

use huitong_protocol::allotment::rule::{Care, Rule};

/// Keeps every rule but one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mutant {
    /// The rule that is not kept.
    pub without: Rule,
}

impl Care for Mutant {
    // Assertions of the core would catch some mutants before the audit does; here it is the audit that is tested.
    const SOUND: bool = false;

    fn keeps(&self, rule: Rule) -> bool {
        self.without != rule
    }
}
