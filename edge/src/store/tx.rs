//! Transactions: what store functions are written over. Reading sees one moment; writing also owns the end of the chain.
//!
//! Store functions are plain and synchronous; their SQL stands beside them. Invariant: what a function changes in [`Chain`] is undone with the
//! savepoint that it ran in, and is seen by others only after COMMIT.

use std::cell::OnceCell;
use std::ops::Deref;
use std::sync::Arc;

use huitong_protocol::bundle::RefusedPolicy;
use huitong_protocol::entry::{
    BODY_VERSION, Body, ENTRY_BYTES_MAX, Entry, HEADER_VERSION, Header, Origin, ReplicaVersions,
};
use huitong_protocol::id::{EntryId, OperationId, OperatorId, Seq, TerminalId};
use huitong_protocol::journal::Head;
use huitong_protocol::policy::Policy;
use huitong_protocol::pricing::PriceBook;
use huitong_protocol::time::{BusinessDay, Instant, Stamp};
use rusqlite::{CachedStatement, Connection, Params, Row};

use super::StoreError;
use super::hub_clock::HubClock;
use super::identity::Identity;
use super::tenure::{HubTurn, Quarantine};

/// The policy that decides, with its version.
#[derive(Debug)]
pub struct PolicyInForce {
    /// The hub's version of the document.
    pub version: u64,
    /// The first business day that it was published for.
    pub effective_from: BusinessDay,
    /// The document, read and validated.
    pub policy: Policy,
    /// Its promotions, compiled once: a quote looks up only those of its goods.
    pub book: PriceBook,
}

/// What is true of the store as a whole. The writer keeps it in memory: provisional during a batch, everybody's after COMMIT.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Who the store is, once enrolled.
    pub identity: Option<Arc<Identity>>,
    /// The end of the journal.
    pub head: Head,
    /// The last stamp given.
    pub stamp: Stamp,
    /// The largest stamp received from the hub since the start; the next entry comes after it.
    pub seen: Stamp,
    /// The open day.
    pub open_day: Option<BusinessDay>,
    /// The last day that was closed.
    pub closed_day: Option<BusinessDay>,
    /// The position of the last seal.
    pub sealed_seq: Seq,
    /// The policy in force.
    pub policy: Option<Arc<PolicyInForce>>,
    /// The versions that are read: the one in force, the usable one before it, and what is to come.
    pub policy_versions: Arc<super::policy::Versions>,
    /// The newest version that was taken, usable or not.
    pub policy_held: u64,
    /// Published policies that were refused or cannot be used; the one before stays in force.
    pub policy_refused: Arc<[RefusedPolicy]>,
    /// Since when and why no value moves, when the database has forgotten something.
    pub quarantine: Option<Arc<Quarantine>>,
    /// The session that the hub gave last.
    pub hub_turn: HubTurn,
    /// What the hub's answers say of its time. One for all copies of this struct.
    pub hub_clock: Arc<HubClock>,
    /// What the replica holds.
    pub replica: ReplicaVersions,
    /// Numbers each change of an allotment or a card's status, so that reports can ask for what changed after one.
    pub change_no: i64,
    /// Rises when a till is paired or revoked.
    pub tills_version: u64,
    /// Rises with every change of this struct; nothing is published when it stands still.
    pub revision: u64,
}

impl Chain {
    /// Before anything was read or written.
    #[must_use]
    pub fn start() -> Self {
        Self {
            identity: None,
            head: Head::START,
            stamp: Stamp::ZERO,
            seen: Stamp::ZERO,
            open_day: None,
            closed_day: None,
            sealed_seq: Seq::ZERO,
            policy: None,
            policy_versions: Arc::default(),
            policy_held: 0,
            policy_refused: Arc::new([]),
            quarantine: None,
            hub_turn: HubTurn::default(),
            hub_clock: Arc::default(),
            replica: ReplicaVersions::default(),
            change_no: 0,
            tills_version: 0,
            revision: 0,
        }
    }
}

impl Chain {
    /// A policy by its version, for what was quoted under it: the one in force or the one before. What is still to come decides nothing.
    #[must_use]
    pub fn policy_of(&self, version: u64) -> Option<&Arc<PolicyInForce>> {
        self.policy_versions
            .get(&version)
            .and_then(|policy| policy.as_ref().ok())
            .filter(|_| version <= self.replica.policy)
    }
}

/// A moment of the database, for reading.
pub struct ReadTx<'a> {
    pub(super) connection: &'a Connection,
}

impl ReadTx<'_> {
    /// The connection, for SQL of other modules. No BEGIN, COMMIT or ROLLBACK: the caller of the closure owns them.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        self.connection
    }

    fn statement(&self, operation: &'static str, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        self.connection.prepare_cached(sql).map_err(StoreError::during(operation))
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Engine`], or what `read` gives.
    pub fn one<T>(
        &self,
        operation: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.statement(operation, sql)?;
        let mut rows = statement.query(params).map_err(StoreError::during(operation))?;
        rows.next().map_err(StoreError::during(operation))?.map(read).transpose()
    }

    /// Reads rows one by one, until `each` says that it has enough.
    ///
    /// # Errors
    /// As [`ReadTx::one`].
    pub fn each(
        &self,
        operation: &'static str,
        sql: &str,
        params: impl Params,
        mut each: impl FnMut(&Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.statement(operation, sql)?;
        let mut rows = statement.query(params).map_err(StoreError::during(operation))?;
        while let Some(row) = rows.next().map_err(StoreError::during(operation))? {
            if !each(row)? {
                break;
            }
        }
        Ok(())
    }

    /// Every row.
    ///
    /// # Errors
    /// As [`ReadTx::one`].
    pub fn all<T>(
        &self,
        operation: &'static str,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.each(operation, sql, params, |row| {
            found.push(read(row)?);
            Ok(true)
        })?;
        Ok(found)
    }
}

/// A transaction that writes: one savepoint of the writer's batch.
pub struct WriteTx<'a> {
    pub(super) read: ReadTx<'a>,
    pub(super) chain: &'a mut Chain,
    /// The time that promises go by, once somebody has asked for it.
    pub(super) guarded: OnceCell<Instant>,
}

impl<'a> Deref for WriteTx<'a> {
    type Target = ReadTx<'a>;

    fn deref(&self) -> &ReadTx<'a> {
        &self.read
    }
}

/// What the caller knows of an entry beside its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryMeta {
    /// The till's operation. Entries that no till asked for get an id made from their position.
    pub operation: Option<OperationId>,
    /// The business day, for what belongs to one.
    pub business_day: Option<BusinessDay>,
    /// The till.
    pub terminal: Option<TerminalId>,
    /// The till's own count.
    pub terminal_seq: Option<u64>,
    /// Who stood at the till.
    pub operator: Option<OperatorId>,
    /// Who approved it.
    pub approver: Option<OperatorId>,
    /// Who decided it.
    pub origin: Origin,
}

/// An entry that was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Its key.
    pub id: EntryId,
    /// Its stamp.
    pub stamp: Stamp,
}

impl WriteTx<'_> {
    /// The store as it is within this transaction.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        self.chain
    }

    /// The end of the journal within this transaction.
    #[must_use]
    pub fn head(&self) -> Head {
        self.chain.head
    }

    /// The time that promises go by: one for the whole transaction, as it would else go on between what is decided and what is written.
    #[must_use]
    pub fn guarded(&self, now: Instant) -> Instant {
        *self.guarded.get_or_init(|| self.chain.hub_clock.time(now, self.chain.stamp))
    }

    /// Who the store is.
    ///
    /// # Errors
    /// [`StoreError::NotEnrolled`].
    pub fn identity(&self) -> Result<Arc<Identity>, StoreError> {
        self.chain.identity.clone().ok_or(StoreError::NotEnrolled)
    }

    /// The chain, to change it.
    pub(super) fn chain_mut(&mut self) -> &mut Chain {
        self.chain.revision += 1;
        self.chain
    }

    /// Numbers a change that the hub is to be told.
    pub(super) fn next_change_no(&mut self) -> i64 {
        let chain = self.chain_mut();
        chain.change_no += 1;
        chain.change_no
    }

    /// Remembers a stamp that the hub sent: whatever is written from now on comes after it.
    pub fn observe(&mut self, seen: Stamp) {
        if seen > self.chain.seen {
            self.chain_mut().seen = seen;
        }
    }

    /// Runs a statement and gives the number of rows that it touched.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn execute(&mut self, operation: &'static str, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.read.statement(operation, sql)?.execute(params).map_err(StoreError::during(operation))
    }

    /// Runs a statement that must touch exactly one row.
    ///
    /// # Errors
    /// [`StoreError::Rows`] when it touched another number.
    pub fn execute_one(&mut self, operation: &'static str, sql: &str, params: impl Params) -> Result<(), StoreError> {
        match self.execute(operation, sql, params)? {
            1 => Ok(()),
            rows => Err(StoreError::Rows { operation, rows }),
        }
    }

    /// Appends one entry: makes its header, encodes it once, links it to the chain and stores the bytes.
    ///
    /// # Errors
    /// [`StoreError::NotEnrolled`], [`StoreError::Engine`].
    pub fn append(&mut self, now: Instant, meta: EntryMeta, body: Body) -> Result<Appended, StoreError> {
        let identity = self.identity()?;
        let seq = self.chain.head.seq.next();
        let id = EntryId { store: identity.store.id, epoch: identity.epoch, seq };
        let stamp = Stamp::next(now, self.chain.stamp, self.chain.seen);
        let entry = Entry {
            header: Header {
                header_version: HEADER_VERSION,
                body_version: BODY_VERSION,
                kind: body.kind().to_owned(),
                group: identity.group,
                store: id.store,
                epoch: id.epoch,
                seq,
                operation: meta.operation.unwrap_or_else(|| own_operation(id)),
                stamp,
                at_ms: now,
                offset_minutes: identity.offset(now),
                business_day: meta.business_day,
                terminal: meta.terminal,
                terminal_seq: meta.terminal_seq,
                operator: meta.operator,
                approver: meta.approver,
                origin: meta.origin,
                replica: self.chain.replica,
            },
            body,
        };
        let bytes = entry.encode();
        // A reader refuses what is larger: such an entry would block its journal for ever.
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes: bytes.len() });
        }
        let head = self.chain.head.push(&bytes);
        super::journal::insert(self, &entry.header, head, &bytes)?;
        let chain = self.chain_mut();
        (chain.head, chain.stamp) = (head, stamp);
        Ok(Appended { id, stamp })
    }
}

/// The operation id of an entry that no till asked for. Made from its place, as nothing here draws random numbers; unique in the group as the
/// place is, and marked as a custom UUID (RFC 9562, version 8), so that it never meets one of a till.
fn own_operation(id: EntryId) -> OperationId {
    let hash = blake3::hash(format!("huitong-edge-operation\n{id}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    OperationId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}
