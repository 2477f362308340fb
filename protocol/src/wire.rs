//! Wire: what store and hub say to each other, as named MessagePack over HTTP, and how its requests are signed.
//!
//! Every request of an enrolled store carries a [`Report`] when there is one, every answer the grants that the store has not adopted, so
//! that value moves with whatever is said. Counters and grants are totals: losing, doubling or reordering messages changes nothing.
//! Checking signatures is the caller's; the text that is signed is made here, so that both sides sign the same.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::allotment::{Purse, StoreCounters};
use crate::bundle::{PolicyKey, PolicyState, Signed};
use crate::card::{Card, CardChange, CardNumber};
use crate::decline::Elsewhere;
use crate::entry::ENTRY_BYTES_MAX;
use crate::id::{Epoch, GroupId, Hash, Seq, StoreId};
use crate::item::Item;
use crate::journal::{Head, Range};
use crate::member::{DraftOutcome, Member, MemberKeys, PhoneKey};
use crate::organisation::{LegalEntity, Store};
use crate::tenure::{Assured, HeardEntry};
use crate::till::TotalBalance;
use crate::time::{BusinessDay, Instant, Stamp};
use crate::unit::Unit;

/// The protocol's version as (major, minor). The hub serves its own minor version and the one before.
pub const PROTOCOL_VERSION: (u16, u16) = (1, 0);

/// Paths of the sync API.
pub mod path {
    /// [`super::Enrol`] → [`super::Enrolled`]; not signed by a session, the one-time token authorises it.
    pub const ENROL: &str = "/sync/v1/enrol";
    /// [`super::Hello`] → [`super::Welcome`]; signed, without a session.
    pub const HELLO: &str = "/sync/v1/hello";
    /// [`super::ReportOnly`] → [`super::Nothing`].
    pub const REPORT: &str = "/sync/v1/report";
    /// [`super::GrantRequest`] → [`super::GrantAnswer`].
    pub const GRANT: &str = "/sync/v1/grant";
    /// [`super::Poll`] → [`super::Polled`]; held open until there is something to say.
    pub const POLL: &str = "/sync/v1/poll";
    /// [`super::Segment`] → [`super::Uploaded`].
    pub const UPLOAD: &str = "/sync/v1/upload";
    /// [`super::DatasetRequest`] → [`super::DatasetPage`].
    pub const DATASET: &str = "/sync/v1/dataset";
    /// [`super::AskParked`] → [`super::Nothing`]; the grants come with the answer.
    pub const PARKED: &str = "/sync/v1/parked";
    /// [`super::AskParameters`] → [`super::ParametersAnswer`].
    pub const PARAMETERS: &str = "/sync/v1/parameters";
}

/// Headers of a signed request.
pub mod header {
    /// The store's code.
    pub const STORE: &str = "huitong-store";
    /// The session that the hub gave in its welcome; absent on hello.
    pub const SESSION: &str = "huitong-session";
    /// A number that the store uses once per session, rising.
    pub const NONCE: &str = "huitong-nonce";
    /// Ed25519 over [`super::signed_text`], in base64.
    pub const SIGNATURE: &str = "huitong-signature";
}

/// The largest body of an upload or of any answer, compressed segments included.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// The largest body of an enrolment or a hello: whoever sends one is not known yet, and it has a few hundred bytes.
pub const GREETING_BYTES_MAX: usize = 16 << 10;
/// The largest body of any other request than an upload: the largest report needs less than half of it.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// The most entries of a segment: sent within a second on a poor line at 2 KiB each.
pub const SEGMENT_ENTRIES_MAX: usize = 500;
/// The most bytes of a segment before compression. One entry always fits.
pub const SEGMENT_BYTES_MAX: usize = 4 * ENTRY_BYTES_MAX;
/// The most counters of one report; a larger change is reported in several.
pub const REPORT_LINES_MAX: usize = 2_000;
/// The most needs of one grant request.
pub const NEEDS_MAX: usize = 50;
/// The most rows of one dataset page.
pub const DATASET_ROWS_MAX: u32 = 5_000;

/// The text that a store signs: method, path, session, nonce and the hash of the body, a line each.
#[must_use]
pub fn signed_text(method: &str, path: &str, store: StoreId, session: &str, nonce: u64, body: &[u8]) -> String {
    format!("huitong-sync-1\n{method}\n{path}\n{store}\n{session}\n{nonce}\n{}", Hash::of(body))
}

/// Packs a message.
///
/// # Panics
/// Never for the types of this crate: MessagePack can hold all of them.
#[must_use]
pub fn to_msgpack<T: Serialize>(message: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(message).expect("messages have only types that MessagePack can hold")
}

/// The deepest nesting of a message. Ours have about eight levels; a hostile one must not exhaust the stack.
const DEPTH_MAX: usize = 32;

/// Reads a message, all of it.
///
/// # Errors
/// A text that names the field and what is wrong with it.
pub fn from_msgpack<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(DEPTH_MAX);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| named(&error.path().to_string(), &error.inner().to_string()))?;
    // A message is one value; what follows it is not ours.
    let mut rest = bytes;
    serde::de::IgnoredAny::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
        .map_err(|error| error.to_string())?;
    if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes follow the message", rest.len())) }
}

/// Reads a JSON document.
///
/// # Errors
/// The field's path and what is wrong with it.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, crate::till::Fault> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| crate::till::Fault::new(field_of(&error.path().to_string()), error.inner().to_string()))?;
    deserializer.end().map_err(|error| crate::till::Fault::new("body", error.to_string()))?;
    Ok(value)
}

fn field_of(path: &str) -> String {
    if path == "." { "body".to_owned() } else { path.to_owned() }
}

fn named(path: &str, what: &str) -> String {
    format!("{}: {what}", field_of(path))
}

/// The first word of a store: the token proves that head office expects it, the key is made at the store and never leaves it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// [`PROTOCOL_VERSION`] of the store.
    pub protocol: (u16, u16),
    /// The one-time token.
    pub token: String,
    /// The store's Ed25519 public key, 32 bytes.
    #[serde(with = "serde_bytes")]
    pub public_key: Vec<u8>,
}

/// The hub's answer to an enrolment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// The retail group.
    pub group: GroupId,
    /// The store as head office has it.
    pub store: Store,
    /// The incarnation: 1, or more after a re-enrolment.
    pub epoch: Epoch,
    /// The keys that sign the group's policies, oldest first. They are believed as much as this answer is: who answers to the one-time token.
    pub policy_keys: Vec<PolicyKey>,
    /// The keys with which the store takes down new members, believed like the others.
    pub member_keys: MemberKeys,
}

/// The start of a session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the store.
    pub protocol: (u16, u16),
    /// The group that the store believes to belong to.
    pub group: GroupId,
    /// The store.
    pub store: StoreId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// The end of its journal.
    pub head: Head,
    /// The turn of the sync ratchet that it was given last; 0 before the first (see `tenure`).
    pub turn: u64,
    /// Written down before this hello was sent, and kept until it is answered.
    pub turn_nonce: u64,
    /// The hub's life that it met last; 0 before the first. A hub of an earlier one was put back, and nobody told it.
    pub life: u64,
    /// What that life has told the store to be on its disk: a hub with less was put back as well.
    pub assured: Assured,
}

/// The hub's answer to a hello.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// The session: unguessable, lives in the hub's memory. Sent back with each request.
    pub session: String,
    /// The hub's life since its last restore.
    pub hub_incarnation: u64,
    /// The hub's clock.
    pub server_time_ms: Instant,
    /// What the hub holds of the store's journal, without gap.
    pub journal_head: Head,
    /// The next turn of the sync ratchet.
    pub turn: u64,
    /// How far the hub has heard of the store's journal, by reports too. A journal that does not contain it has forgotten something.
    pub heard: Head,
    /// Whether the hub waits for everything that the store has: it was restored, and what it was told before is forgotten. Reports begin with everything.
    pub tells_all: bool,
    /// Whether the hub may have forgotten which cards were stopped: it was restored and has not heard every store yet, or a store has shown that it was. That
    /// it has no newer cards than the store says nothing then.
    pub recovers: bool,
    /// The newest version per dataset.
    pub datasets: Vec<DatasetVersion>,
}

/// What a store says of its counters. A message of its own that rides on every call; totals, so any order and repetition will do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The incarnation.
    pub epoch: Epoch,
    /// The journal's end when the report was made; of a part of a larger report the end as of the last whole one.
    pub head: Head,
    /// The journal's end when the report was made, of a part too. By it the hub knows how far it heard the store.
    pub end: Head,
    /// The change after which this report begins; 0 when it begins with everything that the store has.
    pub since_no: u64,
    /// The change up to which this report tells. Parts that follow one another without gap from 0 to `end` have told everything.
    pub through_no: u64,
    /// The largest stamp that the store has given.
    pub stamp: Stamp,
    /// Counters touched between the two changes.
    pub counters: Vec<ReportLine>,
    /// Cards whose status changed here since then. To a later life of the hub also those that an earlier one had said are frozen or lost.
    pub cards: Vec<CardChange>,
}

/// One purse's counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportLine {
    /// The account.
    pub account: crate::id::AccountId,
    /// What is counted.
    pub unit: Unit,
    /// The totals at the report's head.
    pub counters: StoreCounters,
    /// The stamp of the last movement of the purse at this store; what another store does after it was granted gets a larger one.
    pub stamp: Stamp,
}

impl ReportLine {
    /// What the counters belong to.
    #[must_use]
    pub const fn purse(&self) -> Purse {
        Purse { account: self.account, unit: self.unit }
    }
}

/// A request of an enrolled store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request<T> {
    /// The report that rides along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// How the store stands with its policies: on the first call of a session, and when it has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyState>,
    /// What is asked.
    pub body: T,
}

/// The answer to a [`Request`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer<T> {
    /// The hub's clock.
    pub server_time_ms: Instant,
    /// Grants that the store has not adopted, as far as the hub knows, of the accounts in the report or request.
    pub grants: Vec<Grant>,
    /// Lines of the report that the hub refused, with the reason in words; the hub has recorded each.
    pub refused: Vec<RefusedLine>,
    /// The report does not count as taken: the hub waits for everything that the store has, and this part left out something before it. The store begins anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untold: bool,
    /// What was asked.
    pub body: T,
}

/// A report line that the hub refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefusedLine {
    /// The account.
    pub account: crate::id::AccountId,
    /// What is counted.
    pub unit: Unit,
    /// Why.
    pub reason: String,
}

/// A grant: the hub's cumulative total for this store and epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The account.
    pub account: crate::id::AccountId,
    /// What is counted.
    pub unit: Unit,
    /// The total, not a difference.
    pub granted_minor: i64,
    /// The largest plausible stamp reported for the account by any store: what is done with the grant comes after.
    pub stamp: Stamp,
}

/// A report and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportOnly {}

/// Nothing more to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// What a card is needed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To take value off: a spend, the void of a load.
    Spend,
    /// To undo its sale. As [`Purpose::Spend`], and stores that ever spent of it are named too, holding nothing: its goods could come back there.
    Unsell,
    /// To sell it: a blank card is allocated to the asking store.
    Sell,
    /// To load it again or look at it.
    Look,
}

/// What a store lacks to serve one card.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// The card.
    pub card: CardNumber,
    /// What is counted.
    pub unit: Unit,
    /// How much is missing here; 0 when only the card's state is asked.
    pub missing_minor: i64,
    /// What for.
    pub purpose: Purpose,
}

/// Asks for grants and card states, all of one operation at once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// What is lacking.
    pub needs: Vec<Need>,
    /// Also give each account's whole balance.
    #[serde(default)]
    pub totals: bool,
}

/// What the hub could do. The grants are in [`Answer::grants`]; what is short is short.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantAnswer {
    /// The cards asked for, as the hub has them; a card that is not here does not exist.
    pub cards: Vec<Card>,
    /// Value that could not be brought, and where it is.
    pub elsewhere: Vec<Elsewhere>,
    /// Whole balances, when asked, in the order of the needs.
    pub totals: Vec<TotalBalance>,
    /// The hub gives nothing now, and what it does not name may be somewhere all the same: it was restored and has not heard every store yet, or two copies
    /// of this store have shown themselves.
    pub is_closed: bool,
}

/// The most purses of one [`AskParked`]: few enough that a till which waits for either side's writer does not notice it.
pub const PARKED_MAX: usize = 500;

/// Asks for grants up to what the hub wants parked at the store. What other stores have not released yet is not granted, and nobody is asked for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskParked {
    /// Purses of which the store holds less than it is to keep.
    pub purses: Vec<Purse>,
}

/// What a store is to keep of a purse while its members are not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parked {
    /// The account.
    pub account: crate::id::AccountId,
    /// What is counted.
    pub unit: Unit,
    /// How much, in minor units, instead of the policy's `park_minor`; absent when head office has no wish any more, and `park_minor` counts again.
    pub target_minor: Option<i64>,
}

impl Parked {
    /// Whose it is.
    #[must_use]
    pub const fn purse(&self) -> Purse {
        Purse { account: self.account, unit: self.unit }
    }
}

/// What of an account's overdrafts at a store, in its present epoch, does not count any more: head office collected it or gave it up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cleared {
    /// The account.
    pub account: crate::id::AccountId,
    /// What is counted.
    pub unit: Unit,
    /// How much in all, not since the last time.
    pub cleared_minor: i64,
}

/// A long poll: what the store has, so that the hub answers when there is more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// How long the store will wait, in milliseconds.
    pub wait_ms: u64,
    /// Recalls received with the poll before: the hub repeats the others.
    pub recalls_through: u64,
    /// The store has everything of the cards up to this version: by it head office knows who knows of a card that was reported lost.
    pub cards_version: u64,
}

/// The answer to a poll.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Polled {
    /// Value that another store needs: release what can be released, and report.
    pub recalls: Vec<Recall>,
    /// The number of the last recall in this answer, or that of the poll.
    pub recalls_through: u64,
    /// As [`Welcome::recovers`].
    pub recovers: bool,
    /// The newest version per dataset.
    pub datasets: Vec<DatasetVersion>,
}

/// A request to release.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recall {
    /// The account.
    pub account: crate::id::AccountId,
    /// What is counted.
    pub unit: Unit,
}

/// A run of a journal: the entries' bytes as written, compressed together with zstd.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// The incarnation.
    pub epoch: Epoch,
    /// The head before the first entry.
    pub previous: Head,
    /// The head after the last entry.
    pub last: Head,
    /// How many bytes [`SegmentEntries`] has before compression.
    pub raw_bytes: u64,
    /// zstd of the packed [`SegmentEntries`].
    #[serde(with = "serde_bytes")]
    pub entries_zstd: Vec<u8>,
    /// Of an epoch that ended: what is known of the entry up to which the hub heard it.
    #[serde(default, skip_serializing_if = "HeardEntry::is_unsaid")]
    pub heard: HeardEntry,
}

/// The entries of a segment, in order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentEntries(pub Vec<serde_bytes::ByteBuf>);

/// What the hub holds after a segment, durably.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uploaded {
    /// Without gap up to here, each entry proved.
    pub journal_head: Head,
    /// What is missing before something that it holds already.
    pub missing: Option<Range>,
    /// Entries kept but not understood or not right, with the reason; the rest goes on.
    pub quarantined: Vec<Quarantined>,
    /// Days that this segment closed: accepted, or what differs.
    pub days: Vec<DayVerdict>,
    /// Of an epoch that ended: how far the hub heard it. While it holds less, it takes only entries of a journal that contains this one, or of which a person
    /// says that it is lost; others are left alone, and nothing is said of them here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Head>,
}

/// An entry that the hub keeps apart.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// Where.
    pub seq: Seq,
    /// Why.
    pub reason: String,
}

/// The hub's word on a sealed day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DayVerdict {
    /// The day.
    pub business_day: BusinessDay,
    /// The seal.
    pub seal_seq: Seq,
    /// What the hub counted differently; empty when it accepts the day.
    pub differences: Vec<String>,
}

/// The longest parameters that one store may propose: a hundred promotions and thousands of SKUs are below it.
pub const PROPOSAL_BYTES_MAX: usize = 256 << 10;
/// The longest name of who proposes, in characters; the store is added to it at the hub.
pub const PROPOSER_CHARS_MAX: usize = 40;
/// How many proposals of the store an answer lists, the newest.
pub const PROPOSALS_MAX: usize = 20;

/// Asks what became of the store's proposals, and brings a new one. The same parameters again, while nobody has decided, are the same proposal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskParameters {
    /// What the store would set for itself, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propose: Option<ProposeParameters>,
}

/// What a store would set for itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposeParameters {
    /// Who proposes it, by name.
    pub by: String,
    /// `policy::StoreParameters` as TOML.
    pub document: String,
}

/// What became of the store's proposals.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParametersAnswer {
    /// The number of the proposal that was brought, when it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<u64>,
    /// Why it was not taken: every fault, naming the parameter and the bound.
    pub faults: Vec<String>,
    /// The newest proposals, the last one first, at most [`PROPOSALS_MAX`].
    pub proposals: Vec<Proposal>,
}

/// A proposal of store parameters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Its number, counted by the hub over all stores.
    pub number: u64,
    /// Whose parameters.
    pub store: StoreId,
    /// Where it is.
    pub state: ProposalState,
    /// Who proposed it.
    pub proposed_by: String,
    /// When.
    pub proposed_at_ms: Instant,
    /// Who approved or refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at_ms: Option<Instant>,
    /// With which words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The policy version that it was first published in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_version: Option<u64>,
}

/// Where a proposal is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProposalState {
    /// Nobody has decided.
    Proposed,
    /// A second person approved it; it goes out with the next policy that is published.
    Approved,
    /// It was refused.
    Refused,
    /// A later proposal of the store took its place.
    Superseded,
}

impl ProposalState {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
        }
    }
}

impl std::fmt::Display for ProposalState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for ProposalState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Proposed, Self::Approved, Self::Refused, Self::Superseded];
        all.into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no state of a proposal"))
    }
}

/// The kinds of data that flow down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatasetKind {
    /// Legal entities.
    LegalEntities,
    /// Stores.
    Stores,
    /// Items.
    Items,
    /// Members.
    Members,
    /// Cards.
    Cards,
    /// What became of those who were enrolled at stores.
    MemberDrafts,
    /// Policies.
    Policies,
    /// What the asking store is to keep of accounts; each store gets its own rows.
    Parking,
    /// What of the overdrafts of the asking store is cleared; each store gets its own rows.
    Overdrafts,
}

impl DatasetKind {
    /// All kinds, in the order in which a store applies them: a draft ends when its member and card are there.
    pub const ALL: &[Self] = &[
        Self::Policies,
        Self::LegalEntities,
        Self::Stores,
        Self::Items,
        Self::Members,
        Self::Cards,
        Self::MemberDrafts,
        Self::Parking,
        Self::Overdrafts,
    ];

    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LegalEntities => "legal_entities",
            Self::Stores => "stores",
            Self::Items => "items",
            Self::Members => "members",
            Self::Cards => "cards",
            Self::MemberDrafts => "member_drafts",
            Self::Policies => "policies",
            Self::Parking => "parking",
            Self::Overdrafts => "overdrafts",
        }
    }
}

/// A dataset's version: commit-ordered, rising by one with each change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetVersion {
    /// Which.
    pub dataset: DatasetKind,
    /// Its newest version, 0 when it is empty.
    pub version: u64,
}

/// Asks for what changed after a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRequest {
    /// Which.
    pub dataset: DatasetKind,
    /// The store has everything up to this version.
    pub after_version: u64,
    /// At most this many rows; at most [`DATASET_ROWS_MAX`].
    pub limit: u32,
}

/// A page of changes, oldest version first. Ends on a version boundary.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetPage {
    /// Which.
    pub dataset: DatasetKind,
    /// The store has everything up to this version when it has applied the page.
    pub through_version: u64,
    /// Whether more follows.
    pub more: bool,
    /// As [`Welcome::recovers`]. The rows are to be taken all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovers: bool,
    /// The rows.
    pub rows: Vec<DatasetRow>,
    /// With members: the key of their phone hashes. It travels with what it opens, so that a new key and the hashes under it arrive together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_key: Option<PhoneKey>,
}

/// One row of a dataset as it is now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetRow {
    /// A legal entity.
    LegalEntity(LegalEntity),
    /// A store.
    Store(Store),
    /// An item.
    Item(Item),
    /// A member.
    Member(Member),
    /// A card.
    Card(Card),
    /// What became of a draft.
    MemberDraft(DraftOutcome),
    /// A policy: a packed `bundle::Bundle` and its signature.
    Policy(Signed),
    /// The next key that signs policies: a packed `bundle::KeyAnnouncement`, signed by the key before it.
    PolicyKey(Signed),
    /// What the asking store is to keep of an account.
    Parked(Parked),
    /// What of an account's overdrafts at the asking store is cleared.
    Cleared(Cleared),
}

/// Why the hub refused a sync request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncFault {
    /// Not readable; the message names the field.
    Malformed,
    /// The signature is not that of the store's key.
    Forged,
    /// The nonce was used before.
    Replayed,
    /// The session is not known; say hello.
    SessionUnknown,
    /// The store is not enrolled here, or not with this key.
    StoreUnknown,
    /// Another group, store or incarnation than the one enrolled.
    Foreign,
    /// A protocol version that the hub does not serve.
    Version,
    /// The enrolment token is unknown, used or out of date.
    Token,
    /// The entries contradict what the hub holds: a fork. An alarm is raised.
    Fork,
    /// Another copy of the store has used its turn of the sync ratchet, or another journal of the epoch came: no value moves until the store has a new epoch.
    Copied,
    /// The epoch was ended by head office: no value moves until the store has a new one.
    Fenced,
    /// The store proves that the hub itself has forgotten what it said: it was put back from a backup, and nobody told it. An alarm is raised. The store
    /// is not at fault, and goes on with what it holds.
    Forgotten,
    /// Too much at once; try again after the time in `Retry-After`.
    Busy,
    /// The hub could not do it; nothing was changed.
    Internal,
}

/// The body of a refused sync request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Why.
    pub fault: SyncFault,
    /// In words: what is wrong and what to do.
    pub message: String,
}
