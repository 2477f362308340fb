//! Members at the store: forms are read and sealed here, before the writer's transaction; what is personal in them goes no further in clear.

use huitong_protocol::entry::{MemberChangeRequested, MemberEnrolled};
use huitong_protocol::id::OperatorId;
use huitong_protocol::ledger::Acquaintance;
use huitong_protocol::member::{Birthday, ChangeMember, DraftId, EnrolMember, Form, Member, MemberKeys, MemberNumber};
use huitong_protocol::till::{FromTill, Said};
use serde::Serialize;

use super::{Answer, Call, Ledger, LedgerError, Order};
use crate::sealing;
use crate::store::{ReadTx, StoreError, draft, member, operation};

/// Somebody to be enrolled, the form sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Newcomer {
    /// What the journal gets.
    pub(super) enrolled: MemberEnrolled,
    /// For prices of the month of birth, until there is a member.
    pub(super) birthday: Option<Birthday>,
    /// Who stands at the till.
    pub(super) operator: Option<OperatorId>,
    /// The till's own count.
    pub(super) terminal_seq: Option<u64>,
}

/// A change to be asked for, sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// What the journal gets.
    pub(super) requested: MemberChangeRequested,
    /// Who stands at the till.
    pub(super) operator: Option<OperatorId>,
    /// The till's own count.
    pub(super) terminal_seq: Option<u64>,
}

impl FromTill for Newcomer {
    fn said(&self) -> Said {
        Said { operator: self.operator, approver: None, terminal_seq: self.terminal_seq }
    }
}

impl FromTill for Wish {
    fn said(&self) -> Said {
        Said { operator: self.operator, approver: None, terminal_seq: self.terminal_seq }
    }
}

impl Ledger {
    /// Enrols somebody, who is a draft of this store until head office has made a member.
    ///
    /// # Errors
    /// As [`Ledger::execute`]; a fault never repeats what was typed.
    pub async fn enrol_member(&self, call: Call, request: &EnrolMember) -> Result<Answer, LedgerError> {
        let Form { person, phone } = request.read(DraftId(call.operation))?;
        // What was answered is answered again, wherever the clocks stand now.
        if !self.store().look(|tx| operation::is_answered(tx, call.operation))? {
            request.check_consent(call.now)?;
        }
        let keys = self.member_keys()?;
        let form = Form { person, phone };
        let enrolled = MemberEnrolled {
            draft: form.person.draft,
            consent: request.consent.clone(),
            name_masked: form.name_masked(),
            phone_masked: form.phone_masked(),
            phone_hash: form.phone_hash(&keys.phone),
            card: request.card,
            sealed: seal(&keys, &form.person)?,
        };
        let (operator, terminal_seq) = (request.operator, request.terminal_seq);
        let newcomer = Newcomer { enrolled, birthday: form.person.birthday, operator, terminal_seq };
        self.execute(call, Order::EnrolMember(Box::new(newcomer))).await
    }

    /// Asks head office for a change of a member; `None` when this store knows no member of the number.
    ///
    /// # Errors
    /// As [`Ledger::execute`]; a fault never repeats what was typed.
    pub async fn change_member(
        &self,
        call: Call,
        number: &MemberNumber,
        request: &ChangeMember,
    ) -> Result<Option<Answer>, LedgerError> {
        let Some(Member { id, number, .. }) = self.store().read(|tx| member::find_by_number(tx, number))? else {
            return Ok(None);
        };
        let change = request.read(id)?;
        let requested = MemberChangeRequested {
            member: id,
            number,
            fields: change.fields(),
            sealed: seal(&self.member_keys()?, &change)?,
        };
        let (operator, terminal_seq) = (request.operator, request.terminal_seq);
        let wish = Wish { requested, operator, terminal_seq };
        self.execute(call, Order::ChangeMember(Box::new(wish))).await.map(Some)
    }

    fn member_keys(&self) -> Result<MemberKeys, StoreError> {
        self.store().read(member::keys)?.ok_or(StoreError::NotEnrolled)
    }
}

fn seal<T: Serialize>(keys: &MemberKeys, form: &T) -> Result<huitong_protocol::member::Sealed, StoreError> {
    sealing::seal(&keys.sealing, form)
        .map_err(|why| StoreError::Rule { operation: "seal a form", fault: why.to_string() })
}

/// Whom the store knows of those that a form names.
pub(super) fn acquaintance(tx: &ReadTx<'_>, enrolled: &MemberEnrolled) -> Result<Acquaintance, StoreError> {
    let phone = match &enrolled.phone_hash {
        Some(hash) => member::is_phone_of_active(tx, hash)? || draft::find_by_phone(tx, hash)?.is_some(),
        None => false,
    };
    let card = match enrolled.card {
        Some(card) => draft::promise(tx, card)?.is_some(),
        None => false,
    };
    Ok(Acquaintance { phone, card })
}
