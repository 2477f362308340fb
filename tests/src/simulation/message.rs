//! Messages between tills, stores and the hub, as far as value goes.

use huitong_protocol::allotment::StoreCounters;
use huitong_protocol::id::{Epoch, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::movement::MovementKind;
use huitong_protocol::tenure::Greeting;
use huitong_protocol::till::Witness;

/// An account, by its place.
pub type Account = usize;
/// A store, by its place.
pub type Site = usize;
/// A till of a store, by its place.
pub type Till = usize;

/// The name of an operation: the till that asks and its own number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId {
    /// The store whose till it is.
    pub site: Site,
    /// The till.
    pub till: Till,
    /// Its number there.
    pub number: u32,
}

/// What a till wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Want {
    /// A sale without stored value.
    Trade,
    /// Value onto an account.
    Load(Account, i64),
    /// Goods paid with an account.
    Spend(Account, i64),
    /// All of them come back: what the operation took is put on again where it was taken from.
    Return(OpId, Account, i64),
    /// Value of an account set aside, for so long by the store's clock.
    Hold(Account, i64, i64),
    /// Goods paid with what a hold set aside.
    Capture(OpId, Account, i64),
    /// A hold ends unused.
    Unhold(OpId, Account),
}

impl Want {
    /// The account that it is about.
    #[must_use]
    pub const fn account(self) -> Option<Account> {
        match self {
            Self::Trade => None,
            Self::Load(account, _)
            | Self::Spend(account, _)
            | Self::Return(_, account, _)
            | Self::Hold(account, _, _)
            | Self::Capture(_, account, _)
            | Self::Unhold(_, account) => Some(account),
        }
    }
}

/// What a till was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Done.
    Done {
        /// Of a spend or of what came back of one: not the account's own, but a line's of the risk purse.
        overdrawn_minor: i64,
    },
    /// Not done, for good.
    Declined,
}

/// Everything that travels.
#[derive(Clone, Debug)]
pub enum Message {
    /// A till asks, or only shows what it saw.
    Ask {
        /// Whose till.
        site: Site,
        /// Which.
        till: Till,
        /// What it wants.
        want: Option<(OpId, Want)>,
        /// The highest position that it saw.
        witness: Option<Witness>,
    },
    /// The answer to a till.
    Answer {
        /// Whose till.
        site: Site,
        /// Which.
        till: Till,
        /// What it was told of which operation.
        told: Option<(OpId, Told)>,
        /// The journal's end.
        witness: Witness,
    },
    /// A process without an epoch asks for one.
    Enrol {
        /// Whose process.
        site: Site,
        /// Which of two copies.
        copy: usize,
        /// Known to this process alone.
        nonce: u64,
        /// The one-time token that a person got at head office: how many epochs there were then.
        token: usize,
    },
    /// The hub minted an epoch.
    Enrolled {
        /// For whom.
        site: Site,
        /// Which of two copies asked.
        copy: usize,
        /// What was asked with.
        nonce: u64,
        /// The epoch.
        epoch: Epoch,
        /// The hub's life.
        life: u64,
    },
    /// A store begins a session.
    Hello {
        /// Who.
        site: Site,
        /// Which of two copies.
        copy: usize,
        /// What it says.
        greeting: Greeting,
        /// By it the running process knows the answer to its own hello: on a wire with connections, the connection.
        call: u64,
    },
    /// The hub's answer.
    Welcome {
        /// To whom.
        site: Site,
        /// Which of two copies.
        copy: usize,
        /// The epoch that was greeted.
        epoch: Epoch,
        /// The hello that this answers.
        call: u64,
        /// The next turn.
        turn: u64,
        /// The session that begins.
        session: u64,
        /// The hub's life.
        life: u64,
        /// How far the hub heard the store.
        heard: Head,
    },
    /// The hub does not listen to this store.
    Unheard {
        /// To whom.
        site: Site,
        /// Which of two copies.
        copy: usize,
        /// The epoch that it said.
        epoch: Epoch,
        /// The nonce of the hello that this answers; none when it answers a report.
        nonce: Option<u64>,
    },
    /// The hub has begun another life, or does not know the session: say hello again.
    Again {
        /// To whom.
        site: Site,
        /// Which of two copies.
        copy: usize,
    },
    /// A store's totals, and what it needs.
    Report(Report),
    /// The hub took a part of what a store tells.
    Taken {
        /// From whom.
        site: Site,
        /// Which of two copies.
        copy: usize,
        /// The epoch that told it.
        epoch: Epoch,
        /// The hub's life.
        life: u64,
        /// The session that it was told in.
        session: u64,
        /// The change after which the part began.
        since_no: u64,
        /// The change up to which it told.
        through_no: u64,
    },
    /// A store's journal from where the hub has it.
    Journal(Journal),
    /// How far the hub has a store's journal.
    Kept {
        /// Whose.
        site: Site,
        /// Which of two copies.
        copy: usize,
        /// The epoch that wrote it.
        epoch: Epoch,
        /// Its end there.
        head: Head,
    },
    /// Value for a store.
    Grant {
        /// To whom.
        site: Site,
        /// Which of two copies.
        copy: usize,
        /// The epoch that it is for.
        epoch: Epoch,
        /// The hub's life.
        life: u64,
        /// The session that it is for.
        session: u64,
        /// Of which account.
        account: Account,
        /// The total.
        granted_minor: i64,
    },
    /// The hub asks for value back.
    Recall {
        /// From whom.
        site: Site,
        /// Of which account.
        account: Account,
    },
}

/// A movement of a journal that names who owes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owed {
    /// The entry.
    pub seq: Seq,
    /// Who.
    pub account: Account,
    /// Drawn from the line of the risk purse, or back onto it.
    pub kind: MovementKind,
    /// How much.
    pub amount_minor: i64,
}

/// A store's journal, or a part of it, as far as the hub lacks it.
#[derive(Clone, Debug)]
pub struct Journal {
    /// Whose.
    pub site: Site,
    /// Which of two copies.
    pub copy: usize,
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// The hub's life that it met.
    pub life: u64,
    /// Its session.
    pub session: u64,
    /// After which entry it begins: it continues what has this end, and nothing else.
    pub since: Head,
    /// The last entry of this part of it.
    pub head: Head,
    /// What its entries say of debts, in their order.
    pub owed: Vec<Owed>,
}

/// A part of a store's totals, and what it needs.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who.
    pub site: Site,
    /// Which of two copies.
    pub copy: usize,
    /// Its epoch.
    pub epoch: Epoch,
    /// The hub's life that it met.
    pub life: u64,
    /// Its session.
    pub session: u64,
    /// The end of its journal.
    pub head: Head,
    /// The change after which this part begins.
    pub since_no: u64,
    /// The change up to which it tells.
    pub through_no: u64,
    /// Whether nothing was left for another part.
    pub is_last: bool,
    /// The counters that changed between them.
    pub counters: Vec<(Account, StoreCounters)>,
    /// An account that lacks so much.
    pub needs: Option<(Account, i64)>,
}
