//! Actor: who does something at head office, and the one question whether they may.
//!
//! An actor is a name: of a token on the API, of `--by` on the command line. Roles come later; [`Actor::may`] is where they will be asked.

use huitong_protocol::id::StoreId;
use huitong_protocol::time::Instant;
use serde::Serialize;

use crate::store::{StoreError, Tx, audit};

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 64;
/// The hub itself, where no person did something: nobody else is called so.
pub const HUB: &str = "hub";
/// Whoever is at the command line when neither `--by` nor the machine says who; no token is made for them.
pub const UNKNOWN: &str = "unknown";

/// Where somebody did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// On the command line, beside the database: whoever can write there could say any name.
    Cli,
    /// Through the API, with a token of that name.
    Api,
    /// At a store, which says the name itself.
    Store,
}

impl Via {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Api => "api",
            Self::Store => "store",
        }
    }
}

/// What somebody wants to do. Every route and command asks for exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Look at what head office has: stores, days, exceptions, runs, policies, the audit.
    Read,
    /// Look at a member, a card or an account.
    ReadMembers,
    /// Look at and decide on what stores ask about members.
    ReviewMembers,
    /// Give up points that are missing.
    WaiveClaims,
    /// Assign, resolve and reopen exceptions.
    Exceptions,
    /// Make a settlement run.
    Settle,
    /// Approve a settlement run.
    Approve,
    /// Propose parameters for a store.
    ProposeParameters,
    /// Approve or refuse parameters of a store.
    DecideParameters,
    /// Start a verification.
    Verify,
    /// End the epoch of a store.
    Fence,
    /// Ask for, and as a second person pay, what epochs held when they ended.
    Repay,
    /// Ask for, and as a second person decide, the budget behind overdrafts and what is given up of them.
    Risk,
}

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    via: Via,
}

/// Why a text is no name of a person or program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// It is none at all.
    #[error("is no name: give 1 to {NAME_CHARS_MAX} letters, digits, spaces and . _ - @, a letter or digit first")]
    Form,
    /// History and audit say it of somebody else.
    #[error("is no name: the hub calls itself and people whom it does not know by it; give another")]
    Reserved,
}

impl Actor {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NotAName`]. Nothing that a spreadsheet would take for a formula, and nothing that moves a terminal's cursor, is one; nor is what the hub
    /// writes down when it acts by itself.
    pub fn new(name: &str, via: Via) -> Result<Self, NotAName> {
        let name = name.trim();
        let permits = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '_' | '-' | '@');
        let first = name.chars().next().is_some_and(char::is_alphanumeric);
        if !first || name.chars().count() > NAME_CHARS_MAX || !name.chars().all(permits) {
            return Err(NotAName::Form);
        }
        let is = |reserved: &str| name.to_lowercase() == reserved;
        if is(HUB) || (via == Via::Api && is(UNKNOWN)) {
            return Err(NotAName::Reserved);
        }
        Ok(Self { name: name.to_owned(), via })
    }

    /// Somebody at a store who gave no name: its code stands for them.
    #[must_use]
    pub fn store(store: StoreId) -> Self {
        Self { name: store.to_string(), via: Via::Store }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where they do it.
    #[must_use]
    pub const fn via(&self) -> Via {
        self.via
    }

    /// Whether they may. The seam for roles: today every valid token and every command line may do everything, and the rule that two people are needed
    /// for an approval is asked by the approval itself.
    #[must_use]
    pub const fn may(&self, _permission: Permission) -> bool {
        true
    }

    /// Whether a name is theirs, however it is capitalised: who approves must be somebody else than who prepared.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.to_lowercase() == name.trim().to_lowercase()
    }

    /// Writes down what they did, in the transaction in which they do it.
    ///
    /// # Errors
    /// [`StoreError`]; what they did is then undone with it.
    pub fn did(
        &self,
        tx: &mut Tx<'_>,
        action: &'static str,
        object: &str,
        detail: &str,
        now: Instant,
    ) -> Result<(), StoreError> {
        audit::append(tx, self, action, object, detail, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_and_is_the_same_in_any_case() {
        for good in ["li.wei", "李雷", "finance-bot 2", "a@b.cn"] {
            assert!(Actor::new(good, Via::Cli).is_ok(), "{good}");
        }
        for bad in ["", "  ", "=1+1", "-x", "@x", "a\nb", "a\u{1b}[2J", "a,b", &"x".repeat(65)] {
            assert!(Actor::new(bad, Via::Cli).is_err(), "{bad}");
        }
        for taken in ["hub", "Hub", " HUB "] {
            for via in [Via::Cli, Via::Api] {
                assert_eq!(Actor::new(taken, via), Err(NotAName::Reserved), "{taken}");
            }
        }
        assert_eq!(Actor::new("Unknown", Via::Api), Err(NotAName::Reserved));
        assert!(Actor::new(UNKNOWN, Via::Cli).is_ok() && Actor::new("hub 2", Via::Api).is_ok());
        let li = Actor::new(" Li Wei ", Via::Api).unwrap();
        assert!(li.is("li wei") && !li.is("li wei2"));
    }
}
