//! The cards of a replay: one per household, numbered so that a household can be found from its card again.

use anyhow::Context;
use huitong_protocol::card::{CardNumber, CheckDigit, NumberRange};

const PREFIX: &str = "9000";
const LENGTH: u8 = 15;

/// The range of the replay's cards, as its policy states it.
#[must_use]
pub fn range() -> NumberRange {
    NumberRange { prefix: PREFIX.to_owned(), length: LENGTH, check: CheckDigit::Damm }
}

/// The card of a household.
///
/// # Panics
/// Never: the range has room for every household number.
#[must_use]
pub fn of_household(household: u32) -> CardNumber {
    range().make(u128::from(household)).expect("the range has room for ten digits")
}

/// The household of a card.
///
/// # Errors
/// When the card is not one of a replay.
pub fn household(number: &str) -> anyhow::Result<u32> {
    let body = number.strip_prefix(PREFIX).and_then(|rest| rest.get(..rest.len().saturating_sub(1)));
    body.and_then(|digits| digits.parse().ok())
        .with_context(|| "a card of the books is not one of the replay".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_found_from_its_card() {
        for no in [1, 2_500, u32::MAX] {
            let card = of_household(no);
            assert_eq!(range().accepts(&card), Ok(()));
            assert_eq!(household(card.reveal()).unwrap(), no);
        }
    }
}
