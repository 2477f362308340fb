//! Rules: what keeps stored value from being overspent, each with a name, so that a simulation can take one away and show that it is missed.
//!
//! Those about counters, grants, debts, holds, sessions, ended epochs, runs of parts, witnesses and the ratchet are asked by functions that daemons call:
//! they keep them ([`Sound`]), as constants that cost nothing. The others are about what surrounds such functions, and only the simulation's nodes ask them;
//! daemons are built to keep them: what is sent after which commit, that an operation is done once, that nothing is taken back by a timeout, by a recall or
//! out of suspense, who takes an epoch and remembers it, who proves a start and is silent before, and which part may call itself the last. Only a test gives
//! another [`Care`]. A rule that can be taken away without anybody noticing is either not needed or not tested.

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// One of the rules that the proof stands on.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Rule { $($(#[$doc])* $variant),+ }

        impl Rule {
            /// All rules.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name on a command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The rule of a name.
            #[must_use]
            pub fn named(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|rule| rule.as_str() == text)
            }
        }
    };
}

rules! {
    /// A store takes off no more than it has.
    SpendWithinHolding = "spend-within-holding",
    /// A store gives back no more than it has.
    ReleaseWithinHolding = "release-within-holding",
    /// The hub grants no more than its pool has.
    GrantWithinPool = "grant-within-pool",
    /// The hub takes off no more than its pool has.
    HubSpendWithinPool = "hub-spend-within-pool",
    /// A grant is a total; the store keeps the largest.
    GrantsAreTotals = "grants-are-totals",
    /// A report is a total; the hub keeps the largest.
    ReportsAreTotals = "reports-are-totals",
    /// A store that says that it has adopted more than was granted is not believed.
    AdoptedWithinGrant = "adopted-within-grant",
    /// Only a store's own `released` gives value back: no timeout does.
    NoTimeoutReturns = "no-timeout-returns",
    /// A recall asks; value is back when the store says so.
    RecallIsNoRelease = "recall-is-no-release",
    /// The hub sends a grant after its commit.
    GrantAfterCommit = "grant-after-commit",
    /// A store answers a till after its commit.
    ReplyAfterCommit = "reply-after-commit",
    /// An operation that comes again gets its first answer.
    OperationsAreOnce = "operations-are-once",
    /// Messages of an epoch that ended move nothing at the hub.
    EpochIsFenced = "epoch-is-fenced",
    /// A store takes an epoch only in answer to the nonce that its running process made.
    EpochByNonce = "epoch-by-nonce",
    /// A store that a till proves to have forgotten something moves no value.
    WitnessIsHeard = "witness-is-heard",
    /// A witness is compared by its hash, not only by its position.
    WitnessHasHash = "witness-has-hash",
    /// After each start every till must have shown its witness before value moves.
    EveryTillProves = "every-till-proves",
    /// A store that is not proved releases and reports nothing either.
    UnprovedIsSilent = "unproved-is-silent",
    /// After each start the hub must have shown how far it heard the store, too: what it was told of a release no till may have seen.
    HubProvesStart = "hub-proves-start",
    /// The hub hears a report only within the session that it began last: one from before must not overtake the proof.
    ReportOfOwnSession = "report-of-own-session",
    /// A hub that was restored grants nothing until every living store has reported or was fenced.
    RecoveryWaits = "recovery-waits",
    /// A run of parts that tells everything begins with the first change: what changed since some later one is not everything.
    RunFromStart = "run-from-start",
    /// A part that does not follow the one before leaves something out.
    RunWithoutGap = "run-without-gap",
    /// A part says that nothing is left only where it begins with what the store knows to be taken: what it only supposes to be, it may have to tell again,
    /// and by then a line may have moved behind the end of this part.
    LastFromTaken = "last-from-taken",
    /// A part of which a line was refused tells nothing.
    RefusedIsUntold = "refused-is-untold",
    /// What an earlier life of the hub was told, a restored one has forgotten.
    ToldPerLife = "told-per-life",
    /// A store takes a grant only within the session that it was given in: of its own epoch, and of this life of the hub.
    GrantOfOwnSession = "grant-of-own-session",
    /// What a fenced epoch held does not come back to the pool by itself.
    SuspenseIsNoPool = "suspense-is-no-pool",
    /// Each turn of the sync ratchet is used once: a second user of one is a copy.
    RatchetTurnsOnce = "ratchet-turns-once",
    /// What comes back of an overdraft leaves its store in the same step: the line that it was drawn from does not rise.
    BackIsReleased = "back-is-released",
    /// A line of the risk purse is only loaded by what was drawn from it and given back: who says otherwise is not believed.
    LineIsLent = "line-is-lent",
    /// What an account paid of an overdraft and had back in goods is lent to nobody.
    ExcessIsKept = "excess-is-kept",
    /// Nor is what counters say came back of overdrafts, until a journal tells whose they were.
    UnreadBackIsKept = "unread-back-is-kept",
    /// A hub that was restored gives nothing back of what it collected before it has again read the journals by which it did.
    ExcessByWholeJournal = "excess-by-whole-journal",
    /// A hold that ended does not end again, by its time either.
    HoldEndsOnce = "hold-ends-once",
    /// Nor does it pay: whatever the clock says now, what ended stays ended.
    EndedStaysEnded = "ended-stays-ended",
    /// A restored hub knows every epoch that there ever was, and which ended: none is minted twice, and none lives again.
    EpochsAreRemembered = "epochs-are-remembered",
    /// What was paid back of a fenced epoch waits no more.
    RepaidWaitsNoMore = "repaid-waits-no-more",
}

/// Which rules are kept.
pub trait Care {
    /// Whether all are: then assertions may say so.
    const SOUND: bool;

    /// Whether a rule is kept.
    fn keeps(&self, rule: Rule) -> bool;
}

/// Keeps every rule. What daemons use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sound;

impl Care for Sound {
    const SOUND: bool = true;

    fn keeps(&self, _: Rule) -> bool {
        true
    }
}
