//! Continuity: whether stored value may move here, because the database is the one that answered the tills (the rules: `huitong_protocol::continuity`).
//!
//! At each start nothing is proved. The marker proves it at once; else every till has to show its witness, and the hub how far it heard the store. Who
//! finds that the database has forgotten something puts the store into quarantine, which is written down and ends with the database. Nothing here
//! stops a request: what may be done through which gate is decided in the core. Invariant: the marker is written only while value may move.

mod marker;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use huitong_protocol::allotment::rule::Sound;
use huitong_protocol::continuity::{Break, Continuity, Contradiction, Seen, compare, contradiction};
use huitong_protocol::id::{Epoch, Seq, TerminalId};
use huitong_protocol::journal::Head;
use huitong_protocol::ledger::ValueGate;
use huitong_protocol::till::Witness;
use huitong_protocol::time::Instant;
use tokio::sync::watch;

pub use marker::{Marked, Marker, MarkerError};

use crate::store::tenure::{self, Excused, HubTurn, Quarantine};
use crate::store::{Chain, Committed, ReadTx, Store, StoreError, journal, setting, sync_state, till};
use crate::till::TokenKey;

/// The alarm of a marker that was left behind stands here among the settings.
const LEFT_ALARM: &str = "alarm.marker";

/// The terminal under which the machine's own command line and schedule work. It is on the machine whose memory is in doubt, and proves nothing.
pub const LOCAL_TERMINAL: &str = "LOCAL";

/// Who can say that the database is the one that answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Prover {
    /// A till: it brings the highest position that it saw.
    Till(TerminalId),
    /// The hub: it says how far it heard.
    Hub,
}

/// Keeps what the running process knows of its continuity. One for a store.
pub struct Keeper {
    known: Mutex<Continuity<Prover>>,
    /// Set before the quarantine is on disk, so that nothing slips through meanwhile.
    is_broken: AtomicBool,
    marker: OnceLock<Marker>,
    tokens: OnceLock<TokenKey>,
    committed: watch::Receiver<Arc<Committed>>,
    opened: watch::Sender<bool>,
}

/// The journal's end, as whoever saw it names it.
pub(crate) fn own(chain: &Chain) -> Option<Witness> {
    chain.identity.as_ref().map(|identity| Witness { epoch: identity.epoch, head: chain.head })
}

/// Whether the journal contains what somebody saw of it.
fn look(store: &Store, shown: &Witness) -> Result<Seen, StoreError> {
    let committed = store.committed();
    let Some(own) = own(&committed) else { return Ok(Seen::Broken(Break::Epoch)) };
    let hash_at = |seq: Seq| Ok::<_, StoreError>(store.read(|tx| journal::head_at(tx, seq))?.map(|head| head.hash));
    compare(&Sound, &own, shown, hash_at)
}

impl Keeper {
    /// Of a store that is not started: nothing is proved.
    pub(crate) fn new(committed: watch::Receiver<Arc<Committed>>) -> Self {
        Self {
            known: Mutex::new(Continuity::begin([Prover::Hub])),
            is_broken: AtomicBool::new(false),
            marker: OnceLock::new(),
            tokens: OnceLock::new(),
            committed,
            opened: watch::Sender::new(false),
        }
    }

    fn known(&self) -> MutexGuard<'_, Continuity<Prover>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A test's word for it.
    #[cfg(test)]
    pub(crate) fn trust(&self) {
        *self.known() = Continuity::Proved;
    }

    /// Begins, when the daemon starts: every paired till and the hub are waited for, unless the marker proves the start or that something is forgotten.
    ///
    /// # Errors
    /// [`StoreError`]: the tills could not be read, a quarantine not be written, or the marker not be taken away from where it was kept before.
    pub async fn begin(&self, store: &Store, marker: Marker, tokens: TokenKey, now: Instant) -> Result<(), StoreError> {
        // Nobody else begins: the data directory is this process's.
        drop(self.tokens.set(tokens));
        let place = marker.path().map(|path| path.to_string_lossy().into_owned());
        let known = store.read(tenure::marker_place)?;
        let mut is_left = false;
        if known != place {
            // It would stay behind there, and prove when it is kept there again.
            if let Some(left) = known
                && let Err(error) = marker::remove(Path::new(&left))
            {
                // The shop opens all the same; each start tries again, and is not proved by a marker as long as this one may be there.
                is_left = true;
                let words = format!("{error}. Until then each start is proved by the tills and head office alone");
                tracing::error!("Alarm: {words}");
                store.write(move |tx| setting::put(tx, LEFT_ALARM, &words)).await?;
            } else {
                store.write(move |tx| tenure::put_marker_place(tx, place.as_deref())).await?;
            }
        }
        if !is_left && store.read(|tx| setting::get(tx, LEFT_ALARM))?.is_some() {
            store.write(|tx| setting::remove(tx, LEFT_ALARM)).await?;
        }
        let marked = marker.found();
        let mut is_proved = false;
        let mut broken = None;
        if let Some(marked) = marked {
            match look(store, &marked.witness)? {
                Seen::Inside => {
                    let epoch = store.committed().identity.as_ref().map(|identity| identity.epoch);
                    is_proved = marked.proves && !is_left && Some(marked.witness.epoch) == epoch;
                }
                Seen::Broken(how) => broken = Some((marked.witness, how)),
            }
        }
        let tills = store.read(waited_for)?;
        let provers = tills.into_iter().map(Prover::Till).chain([Prover::Hub]);
        *self.known() = if is_proved { Continuity::Proved } else { Continuity::begin(provers) };
        let marker = self.marker.get_or_init(|| marker);
        if let Some(end) = own(&store.committed()) {
            marker.begin_at(end);
        }
        if let Some((witness, how)) = broken {
            let why = format!("the marker beside the database stands at {witness}, and {}", words(how));
            return self.quarantine(store, why, Some(&witness), now).await;
        }
        if let Some(why) = store.read(tenure::old_alarm)? {
            self.quarantine(store, why, None, now).await?;
            return store.write(tenure::end_old_alarm).await;
        }
        if store.committed().quarantine.is_some() {
            self.close(None);
        } else if is_proved {
            self.open();
        } else {
            self.withdraw();
            tracing::warn!("Stored value waits until every till and the hub have shown how far they saw this store");
        }
        Ok(())
    }

    /// Whether value may move, as a transaction sees it.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub fn gate(&self, tx: &ReadTx<'_>, chain: &Chain) -> Result<ValueGate, StoreError> {
        if chain.quarantine.is_some() || self.is_broken.load(Ordering::Acquire) {
            return Ok(ValueGate::Quarantined);
        }
        let waiting = match &*self.known() {
            Continuity::Proved => return Ok(ValueGate::Open),
            Continuity::Broken(_) => return Ok(ValueGate::Quarantined),
            Continuity::Unproved(waiting) => waiting.clone(),
        };
        // A command line may have revoked a till beside the daemon: a person answers for it.
        let paired = waited_for(tx)?;
        let mut tills = Vec::new();
        for prover in &waiting {
            match prover {
                Prover::Till(terminal) if paired.contains(terminal) => tills.push(*terminal),
                Prover::Till(terminal) => {
                    tracing::warn!(terminal = %terminal, "Till {terminal} was revoked and is not waited for any more");
                    self.take(|known| known.excused(&Sound, *prover));
                }
                Prover::Hub => {}
            }
        }
        let hub = waiting.contains(&Prover::Hub);
        Ok(if tills.is_empty() && !hub { ValueGate::Open } else { ValueGate::Unproved { tills, hub } })
    }

    /// Whether value may move, as it was when something was proved last. For what looks again in its transaction.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.is_broken.load(Ordering::Acquire) && self.known().may_move_value()
    }

    /// Whether the store is silent towards the hub: its journal is not the one that the hub heard.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.is_broken.load(Ordering::Acquire) || self.committed.borrow().quarantine.is_some()
    }

    /// Waits until value may move.
    pub async fn opened(&self) {
        // The sender is ours: it cannot be gone.
        drop(self.opened.subscribe().wait_for(|is_open| *is_open).await);
    }

    /// Somebody showed a position that they saw. `who` names them in words.
    ///
    /// # Errors
    /// [`StoreError`]: the journal could not be read, or the quarantine not be written; value does not move then.
    pub async fn shown(
        &self,
        store: &Store,
        prover: Prover,
        witness: &Witness,
        now: Instant,
        who: &str,
    ) -> Result<(), StoreError> {
        if self.seen_at(store, witness, now, who).await? {
            self.proved(prover);
        }
        Ok(())
    }

    /// Somebody saw a position of the journal, who is not waited for. Gives whether the journal contains it.
    ///
    /// # Errors
    /// As [`Keeper::shown`].
    pub async fn seen_at(&self, store: &Store, witness: &Witness, now: Instant, who: &str) -> Result<bool, StoreError> {
        let Seen::Broken(how) = look(store, witness)? else { return Ok(true) };
        let why = format!("{who} has seen this store at {witness}, and {}", words(how));
        self.quarantine(store, why, Some(witness), now).await?;
        Ok(false)
    }

    /// For which till this store made a token, whether or not its database knows of it.
    #[must_use]
    pub fn maker_of(&self, token: &str) -> Option<TerminalId> {
        self.tokens.get()?.terminal_of(token)
    }

    /// Somebody showed a position inside the journal, or says that they never saw one.
    pub fn proved(&self, prover: Prover) {
        self.take(|known| known.shown(&Sound, prover, Seen::Inside));
    }

    /// A person answers for what a till may have been told. Gives whether it was waited for.
    ///
    /// # Errors
    /// [`StoreError`]: it could not be written down, and changes nothing.
    pub async fn excuse(&self, store: &Store, excused: Excused) -> Result<bool, StoreError> {
        let prover = Prover::Till(excused.terminal);
        let is_waited_for = matches!(&*self.known(), Continuity::Unproved(waiting) if waiting.contains(&prover));
        if is_waited_for {
            tracing::warn!(
                terminal = %excused.terminal, by = %excused.by, reason = excused.reason,
                "Till {} is excused from showing its witness: {}", excused.terminal, excused.reason
            );
            store.write(move |tx| tenure::excuse(tx, &excused)).await?;
            self.take(|known| known.excused(&Sound, prover));
        }
        Ok(is_waited_for)
    }

    /// Stops all value until the store is enrolled anew. `shown` is what somebody saw that the database does not contain.
    ///
    /// # Errors
    /// [`StoreError`]: it could not be written down. It holds for this process, and the next one finds out again: by the marker, into which `shown` is
    /// put until then, or as the hub says it again.
    pub async fn quarantine(
        &self,
        store: &Store,
        reason: String,
        shown: Option<&Witness>,
        now: Instant,
    ) -> Result<(), StoreError> {
        let is_news = !self.is_quarantined();
        // First, so that no value moves whatever becomes of the rest.
        self.close(shown);
        if is_news {
            tracing::error!(reason, "Stored value is stopped in this store: {reason}");
        }
        if store.committed().quarantine.is_none() {
            let quarantine = Quarantine { since_ms: now, reason };
            store.write(move |tx| tenure::quarantine(tx, quarantine)).await?;
        }
        self.withdraw();
        Ok(())
    }

    /// A life of the hub says how far it holds this journal. What the journal does not contain is a fork, unless the hub contradicts itself. Gives whether the
    /// store goes on.
    ///
    /// # Errors
    /// As [`Keeper::shown`].
    pub async fn held_by_hub(&self, store: &Store, life: u64, held: Head, now: Instant) -> Result<bool, StoreError> {
        let Some(own) = own(&store.committed()) else { return Ok(true) };
        let held = Witness { epoch: own.epoch, head: held };
        let Seen::Broken(how) = look(store, &held)? else { return Ok(true) };
        let acknowledged = store.read(|tx| {
            let known = sync_state::get(tx)?.acknowledged;
            // What another life of the hub acknowledged says nothing of this one.
            let counts = store.committed().hub_turn.life == life && journal::contains(tx, known)?;
            Ok::<_, StoreError>(if counts { known.seq } else { Seq::ZERO })
        })?;
        match contradiction(acknowledged, held.head.seq) {
            Contradiction::Copy => {
                let why = format!("head office holds this store's journal up to {held}, and {}", words(how));
                self.quarantine(store, why, Some(&held), now).await?;
                Ok(false)
            }
            Contradiction::Hub => {
                tracing::error!(
                    "Head office holds this store's journal up to {held}, which contradicts what it acknowledged up to entry {acknowledged}: its own database \
                     is at fault, and stored value goes on here"
                );
                Ok(true)
            }
        }
    }

    /// The hub welcomed the hello with this nonce, and said how far it heard and how far it holds the journal. Gives whether a session begins.
    ///
    /// # Errors
    /// As [`Keeper::shown`].
    pub async fn welcomed(
        &self,
        store: &Store,
        nonce: u64,
        turn: HubTurn,
        (heard, held): (&Witness, Head),
        now: Instant,
    ) -> Result<bool, StoreError> {
        // What answers no question of this process says nothing about it.
        if !store.read(|tx| tenure::is_waiting(tx, nonce))? {
            return Ok(false);
        }
        if let Seen::Broken(how) = look(store, heard)? {
            let why = format!("head office has heard this store up to {heard}, and {}", words(how));
            self.quarantine(store, why, Some(heard), now).await?;
            return Ok(false);
        }
        // Reports may lag behind the journal: a store of which a till is awaited reports nothing, and sends its journal all the same.
        if !self.held_by_hub(store, turn.life, held, now).await? {
            return Ok(false);
        }
        if !store.write(move |tx| tenure::welcomed(tx, nonce, turn)).await? {
            return Ok(false);
        }
        self.proved(Prover::Hub);
        Ok(!self.is_quarantined())
    }

    /// The committed end of the journal goes to the marker, before anybody sees it. The writer's.
    pub(crate) fn mark(&self, chain: &Chain) -> Result<(), MarkerError> {
        own(chain).map_or(Ok(()), |end| self.mark_at(end))
    }

    /// A position is about to be told that was read from the database: the writer may not have come to mark it.
    ///
    /// # Errors
    /// [`StoreError::Marker`]: it is not to be told.
    pub(crate) fn telling(&self, epoch: Epoch, head: Head) -> Result<(), StoreError> {
        self.mark_at(Witness { epoch, head }).map_err(StoreError::Marker)
    }

    fn mark_at(&self, end: Witness) -> Result<(), MarkerError> {
        self.marker.get().map_or(Ok(()), |marker| marker.mark(&end))
    }

    /// Whether the start can be proved by the marker next time.
    #[must_use]
    pub fn marker_proves(&self) -> bool {
        self.marker.get().is_some_and(Marker::may_prove)
    }

    fn take(&self, step: impl FnOnce(Continuity<Prover>) -> Continuity<Prover>) {
        let is_opened = {
            let mut known = self.known();
            let before = known.may_move_value();
            if before {
                return;
            }
            let taken = std::mem::replace(&mut *known, Continuity::Unproved(BTreeSet::new()));
            *known = step(taken);
            known.may_move_value() && !self.is_quarantined()
        };
        if is_opened {
            tracing::info!("Every till and the hub have shown how far they saw this store: stored value moves");
            self.open();
        }
    }

    fn open(&self) {
        // Whoever closes says so before the marker is taken away and before the word goes round: looked at under the lock of each.
        let is_whole = || !self.is_broken.load(Ordering::Acquire);
        if let Some(marker) = self.marker.get() {
            marker.arm(is_whole);
        }
        self.opened.send_if_modified(|is_open| !std::mem::replace(is_open, is_whole()) && *is_open);
    }

    fn close(&self, shown: Option<&Witness>) {
        self.is_broken.store(true, Ordering::Release);
        self.opened.send_replace(false);
        if let Some(marker) = self.marker.get()
            && let Err(error) = marker.contradict(shown)
        {
            tracing::error!(error = &error as &dyn std::error::Error, "{error}");
        }
    }

    fn withdraw(&self) {
        if let Some(marker) = self.marker.get()
            && let Err(error) = marker.withdraw()
        {
            tracing::error!(error = &error as &dyn std::error::Error, "{error}");
        }
    }
}

/// The tills whose word counts: paired, not revoked, and not the machine's own.
fn waited_for(tx: &ReadTx<'_>) -> Result<BTreeSet<TerminalId>, StoreError> {
    let paired = till::list(tx)?.into_iter().filter(|till| till.revoked_at_ms.is_none());
    Ok(paired.map(|till| till.terminal).filter(|terminal| terminal.as_str() != LOCAL_TERMINAL).collect())
}

fn words(how: Break) -> &'static str {
    match how {
        Break::Epoch => "this database is of an epoch before that",
        Break::Ahead => "this database ends before it",
        Break::Differs => "this database has another entry there",
    }
}
