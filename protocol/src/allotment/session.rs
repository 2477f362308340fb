//! Session: in which session of which life of the hub words move value.
//!
//! A network brings messages late. What a process said before it died may be of a database that has been put back since, and what a hub granted before it
//! was restored it has forgotten. So both sides judge what arrives by the session that they know to be the present one, in the transaction that acts on it.
//! How a session is named is theirs: by the hello that began it, or by its turn, and by the hub's life.

use super::rule::{Care, Rule};

/// Whether the hub takes what a store tells: `present` is the session of the hello that was answered last, `said` the one that it was told in.
#[must_use]
pub fn takes_report<S: PartialEq>(care: &impl Care, present: &S, said: &S) -> bool {
    present == said || !care.keeps(Rule::ReportOfOwnSession)
}

/// Whether a store takes a grant: `present` is the session that it was welcomed to last, `granted` the one that the grant was given in.
#[must_use]
pub fn takes_grant<S: PartialEq>(care: &impl Care, present: &S, granted: &S) -> bool {
    present == granted || !care.keeps(Rule::GrantOfOwnSession)
}

/// Whether the hub may lower a pool: a restored one waits until each living epoch has told it everything or was ended by a person, as what its pools show may
/// be with stores.
#[must_use]
pub fn may_lower_pools(care: &impl Care, is_waiting: bool) -> bool {
    !is_waiting || !care.keeps(Rule::RecoveryWaits)
}

#[cfg(test)]
mod tests {
    use super::super::rule::Sound;
    use super::*;

    #[test]
    fn only_the_present_session_moves_value_and_a_hub_that_waits_lowers_no_pool() {
        let (present, earlier_turn, earlier_life) = ((2, 7), (2, 6), (1, 7));
        assert!(takes_report(&Sound, &present, &present) && takes_grant(&Sound, &present, &present));
        for other in [earlier_turn, earlier_life] {
            assert!(!takes_report(&Sound, &present, &other) && !takes_grant(&Sound, &present, &other));
        }
        assert!(may_lower_pools(&Sound, false) && !may_lower_pools(&Sound, true));
    }
}
