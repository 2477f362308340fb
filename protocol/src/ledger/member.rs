//! Members at the store: somebody enrolled, a change asked for. Both are possible whether a day is open or not, and without a line.
//!
//! Head office decides what comes of them. The store refuses only what it knows to be wrong: a phone or a card that it knows as somebody's.

use super::{Decision, Holdings, Situation, Work, refuse, settle};
use crate::card::{Card, CardStatus};
use crate::decline::DeclineCode;
use crate::entry::{Body, MemberChangeRequested, MemberEnrolled};
use crate::id::MemberId;
use crate::member::DraftId;
use crate::unit::Unit;
use crate::wire::Purpose;

/// Whom the store knows of those that a form names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Acquaintance {
    /// An active member, or a draft of this store, has the phone.
    pub phone: bool,
    /// The card is kept for somebody who was enrolled at this store.
    pub card: bool,
}

/// For whom a card is kept that was named when somebody was enrolled at this store, until it is sold to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promise {
    /// Under which id they were enrolled.
    pub draft: DraftId,
    /// The member that head office has made of them, as far as the store has heard.
    pub member: Option<MemberId>,
}

fn work<'a>(situation: &'a Situation<'a>, cards: &'a [Card]) -> Work<'a> {
    Work { situation, cards, holdings: Holdings::default(), movements: Vec::new(), touched: Vec::new() }
}

/// Enrols somebody as a draft of this store. A card that the replica does not have is asked for.
#[must_use]
pub fn enrol_member(
    situation: &Situation<'_>,
    known: Acquaintance,
    cards: &[Card],
    enrolled: &MemberEnrolled,
) -> Decision {
    settle((|| {
        let work = work(situation, cards);
        if known.phone {
            return refuse(DeclineCode::PhoneHasMember);
        }
        if let Some(number) = enrolled.card {
            let unit = Unit::Money(situation.policy.currency);
            let card = work.card(number, unit, 0, Purpose::Look)?;
            if card.member.is_some() || known.card {
                return Err(Decision::of_card(DeclineCode::CardHasMember, number));
            }
            // A blank one is sold in the next moment, or was sold where this store has not heard of it.
            if card.status != CardStatus::Blank {
                work.card_in_use(number, unit, 0, Purpose::Look)?;
            }
        }
        Ok(work.plan(Body::MemberEnrolled(enrolled.clone())))
    })())
}

/// Asks head office for a change of a member.
#[must_use]
pub fn request_change(situation: &Situation<'_>, requested: &MemberChangeRequested) -> Decision {
    Decision::Approved(Box::new(work(situation, &[]).plan(Body::MemberChangeRequested(requested.clone()))))
}
