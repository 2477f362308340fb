//! Session: who is asking. A store's key signs every request; a nonce is good once.
//!
//! Sessions live in memory: after a restart stores say hello again. What a signature covers is in `protocol::wire::signed_text`. A session belongs to the turn
//! of the sync ratchet that its hello was given: once a later one was given it is over. Whether that is so the database says (`report::admit`), as an epoch
//! may be ended beside the daemon.
//! Invariant: nothing is done for a request whose signature, session and nonce were not checked here.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use huitong_protocol::id::{Epoch, Hash, Seq, StoreId};
use huitong_protocol::wire::{SyncFault, signed_text};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::refusal::Refusal;
use crate::store::device::Device;

/// Sessions kept per store: one in use, and some that a store lost the answer of.
pub const SESSIONS_PER_STORE_MAX: usize = 4;
/// How far below the highest nonce an unused one is still taken: requests overtake each other on several connections.
pub const NONCE_WINDOW: u64 = 4_096;
/// Hellos of a store that are remembered: as many as it says before a turn is answered, on the worst of lines.
const HELLOS_PER_STORE_MAX: usize = 64;
/// Random bytes of a session's name: nobody guesses 128 bits.
const SESSION_BYTES: usize = 16;

/// Who is asking, proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The store.
    pub store: StoreId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// The hello that its session began with: the hash of its signature.
    pub hello: Hash,
    /// The life of the hub that its session was begun with.
    pub life: i64,
    /// Where its journal ended when it said hello.
    pub head: Seq,
}

/// A request as far as its signature covers it.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The store that it names.
    pub store: StoreId,
    /// The session that it names; empty on hello.
    pub session: &'a str,
    /// Its nonce.
    pub nonce: u64,
    /// The path asked.
    pub path: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// Ed25519 over all of these.
    pub signature: &'a [u8],
}

impl Signed<'_> {
    /// Checks the signature against a key.
    ///
    /// # Errors
    /// [`SyncFault::Forged`].
    pub fn verify(&self, public_key: &[u8]) -> Result<(), Refusal> {
        let text = signed_text("POST", self.path, self.store, self.session, self.nonce, self.body);
        UnparsedPublicKey::new(&ED25519, public_key).verify(text.as_bytes(), self.signature).map_err(|_| {
            Refusal::new(
                SyncFault::Forged,
                "the signature is not that of the store's key; was the store enrolled on another machine?",
            )
        })
    }
}

/// Which nonces were used: the highest, and a bit for each below it.
#[derive(Clone, Debug)]
struct Nonces {
    highest: Option<u64>,
    used: [u64; (NONCE_WINDOW / 64) as usize],
}

impl Nonces {
    const fn new() -> Self {
        Self { highest: None, used: [0; (NONCE_WINDOW / 64) as usize] }
    }

    /// Uses a nonce. Gives whether it was unused.
    fn take(&mut self, nonce: u64) -> bool {
        match self.highest {
            Some(highest) if nonce <= highest => {
                if highest - nonce >= NONCE_WINDOW || self.is_used(nonce) {
                    return false;
                }
            }
            Some(highest) => {
                // The ring's places between the old and the new highest belong to numbers from now on.
                for passed in 1..=(nonce - highest).min(NONCE_WINDOW) {
                    self.mark(highest.wrapping_add(passed), false);
                }
                self.highest = Some(nonce);
            }
            None => self.highest = Some(nonce),
        }
        self.mark(nonce, true);
        true
    }

    const fn place(nonce: u64) -> (usize, u64) {
        let at = nonce % NONCE_WINDOW;
        ((at / 64) as usize, 1 << (at % 64))
    }

    const fn is_used(&self, nonce: u64) -> bool {
        let (word, bit) = Self::place(nonce);
        self.used[word] & bit != 0
    }

    const fn mark(&mut self, nonce: u64, used: bool) {
        let (word, bit) = Self::place(nonce);
        if used {
            self.used[word] |= bit;
        } else {
            self.used[word] &= !bit;
        }
    }
}

struct Session {
    name: String,
    /// The hello that it was made for; the same one again is given the same session, so that it pushes out no other.
    hello: Hash,
    epoch: Epoch,
    turn: u64,
    life: i64,
    head: Seq,
    /// When its hello was judged, by [`Sessions::greeting`].
    greeting: u64,
    public_key: Vec<u8>,
    nonces: Nonces,
}

/// What the turn of a hello is given in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given {
    /// The turn of the sync ratchet.
    pub turn: u64,
    /// The life of the hub.
    pub life: i64,
    /// The place of the hello among those that were judged.
    pub greeting: u64,
    /// Where the journal ended, as the hello says.
    pub head: Seq,
}

/// What is known of a verified hello before it is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Whether it is later than all before it. A late or repeated one is still answered, since a store's clock may go back, but what it says of the store
    /// is old news.
    pub is_news: bool,
    /// Whether these very bytes came before: the network brings them twice, or somebody who recorded them.
    pub is_repeated: bool,
}

/// The last hellos of a store: the highest nonce, and which came.
#[derive(Default)]
struct Hellos {
    highest: Option<u64>,
    came: VecDeque<Hash>,
}

/// A store's sessions, and the epoch that was minted for it last as far as this life of the hub knows.
#[derive(Default)]
struct OfStore {
    minted: Option<Epoch>,
    open: VecDeque<Session>,
}

/// All sessions.
pub struct Sessions {
    random: SystemRandom,
    stores: Mutex<HashMap<StoreId, OfStore>>,
    hellos: Mutex<HashMap<StoreId, Hellos>>,
    greetings: AtomicU64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            random: SystemRandom::new(),
            stores: Mutex::default(),
            hellos: Mutex::default(),
            greetings: AtomicU64::new(0),
        }
    }
}

impl Sessions {
    fn stores(&self) -> MutexGuard<'_, HashMap<StoreId, OfStore>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a hello among those that were judged. Taken in the transaction that judges it: one after the other, also when their answers change places.
    pub fn greeting(&self) -> u64 {
        self.greetings.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens a session for a device whose hello was verified and given a turn by a life of the hub, and gives its name. Sessions of earlier turns end, and
    /// those of another hello of the same turn that was judged before: the database knows the last one, and that one is heard.
    ///
    /// # Errors
    /// [`SyncFault::Fenced`] when the store was enrolled again since the device was read, [`SyncFault::Internal`] when the machine has no random numbers.
    pub fn open(&self, device: Device, given: Given, hello: &Signed<'_>) -> Result<String, Refusal> {
        let mut bytes = [0; SESSION_BYTES];
        self.random
            .fill(&mut bytes)
            .map_err(|_| Refusal::new(SyncFault::Internal, "the hub's machine gives no random numbers"))?;
        let name = data_encoding::HEXLOWER.encode(&bytes);
        let hello = Hash::of(hello.signature);
        let Given { turn, life, greeting, head } = given;
        let session = Session {
            name: name.clone(),
            hello,
            epoch: device.epoch,
            turn,
            life,
            head,
            greeting,
            public_key: device.public_key,
            nonces: Nonces::new(),
        };
        let mut stores = self.stores();
        let OfStore { minted, open } = stores.entry(device.store).or_default();
        if let Some(minted) = minted.filter(|minted| device.epoch < *minted) {
            let words = format!("epoch: is {}; here it is {minted}", device.epoch);
            return Err(Refusal::new(SyncFault::Fenced, words));
        }
        let is_over = |session: &Session| (session.turn, session.life) < (turn, life);
        let is_same_turn = |session: &Session| (session.turn, session.life) == (turn, life);
        let is_anothers =
            |session: &Session| is_same_turn(session) && session.hello != hello && session.greeting < greeting;
        open.retain(|session| !is_over(session) && !is_anothers(session));
        // The network brings a hello twice: the session that its store uses already is the answer again.
        if let Some(same) = open.iter().find(|known| (known.hello, known.turn, known.life) == (hello, turn, life)) {
            return Ok(same.name.clone());
        }
        if open.iter().any(|session| is_same_turn(session) && session.greeting > greeting) {
            return Ok(name); // Another hello was judged after it, and is heard: who comes with this name says hello again.
        }
        open.push_back(session);
        while open.len() > SESSIONS_PER_STORE_MAX {
            open.pop_front();
        }
        Ok(name)
    }

    /// What is known of a verified hello before it is judged.
    pub fn arrives(&self, hello: &Signed<'_>) -> Arrival {
        let mut hellos = self.hellos.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hellos.entry(hello.store).or_default();
        let is_news = known.highest.is_none_or(|highest| highest < hello.nonce);
        known.highest = known.highest.max(Some(hello.nonce));
        let hash = Hash::of(hello.signature);
        let is_repeated = known.came.contains(&hash);
        if !is_repeated {
            known.came.push_back(hash);
            if known.came.len() > HELLOS_PER_STORE_MAX {
                known.came.pop_front();
            }
        }
        Arrival { is_news, is_repeated }
    }

    /// A store has an epoch of its own with a key of its own: sessions of those before end, and a hello that was on its way opens none.
    pub fn minted(&self, store: StoreId, epoch: Epoch) {
        let mut stores = self.stores();
        let of = stores.entry(store).or_default();
        let minted = of.minted.map_or(epoch, |minted| minted.max(epoch));
        of.minted = Some(minted);
        of.open.retain(|session| session.epoch >= minted);
    }

    /// Proves who asks: session, then signature, then nonce, so that a forged request uses up nothing.
    ///
    /// # Errors
    /// [`SyncFault::SessionUnknown`], [`SyncFault::Forged`], [`SyncFault::Replayed`].
    pub fn prove(&self, signed: &Signed<'_>) -> Result<Caller, Refusal> {
        let unknown =
            || Refusal::new(SyncFault::SessionUnknown, "the session is not known here (any more); say hello again");
        let (caller, public_key) = {
            let stores = self.stores();
            let session =
                stores.get(&signed.store).and_then(|of| of.open.iter().find(|session| session.name == signed.session));
            let session = session.ok_or_else(unknown)?;
            let &Session { epoch, hello, life, head, .. } = session;
            (Caller { store: signed.store, epoch, hello, life, head }, session.public_key.clone())
        };
        signed.verify(&public_key)?;
        let mut stores = self.stores();
        let session = stores
            .get_mut(&signed.store)
            .and_then(|of| of.open.iter_mut().find(|session| session.name == signed.session))
            .ok_or_else(unknown)?;
        if session.nonces.take(signed.nonce) {
            Ok(caller)
        } else {
            Err(Refusal::new(SyncFault::Replayed, format!("nonce {} was used before, or is too old", signed.nonce)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_that_races_a_new_enrolment_opens_no_session_of_the_old_epoch() {
        let (sessions, store) = (Sessions::default(), "S1".parse().unwrap());
        let device = |epoch| Device { store, epoch: Epoch(epoch), public_key: vec![1; 32] };
        let hello =
            Signed { store, session: "", nonce: 1, path: "/sync/v1/hello", body: b"", signature: b"of the old key" };
        let given = Given { turn: 1, life: 1, greeting: 0, head: Seq::ZERO };
        // The device was read, then somebody enrolled the store again, then the session is opened.
        let read_before = device(1);
        sessions.minted(store, Epoch(2));
        assert_eq!(sessions.open(read_before, given, &hello).unwrap_err().fault, SyncFault::Fenced);
        sessions.open(device(2), given, &hello).unwrap();
        sessions.minted(store, Epoch(2));
        sessions.minted(store, Epoch(1));
        assert_eq!(sessions.stores()[&store].open.len(), 1, "the same enrolment told again ends nothing");
        sessions.minted(store, Epoch(3));
        assert!(sessions.stores()[&store].open.is_empty());
    }

    #[test]
    fn the_session_of_the_hello_that_was_judged_last_stays_whichever_is_opened_last() {
        for is_in_order in [true, false] {
            let (sessions, store) = (Sessions::default(), "S1".parse().unwrap());
            let device = || Device { store, epoch: Epoch(1), public_key: vec![1; 32] };
            let hello =
                |signature| Signed { store, session: "", nonce: 1, path: "/sync/v1/hello", body: b"", signature };
            // The store's first answer was lost; both hellos are of one turn.
            let both = [&b"first"[..], &b"second"[..]].map(|signature| {
                let given = Given { turn: 4, life: 1, greeting: sessions.greeting(), head: Seq::ZERO };
                (given, hello(signature))
            });
            let open = |at: usize| sessions.open(device(), both[at].0, &both[at].1).unwrap();
            let names = if is_in_order {
                [open(0), open(1)]
            } else {
                let second = open(1);
                [open(0), second]
            };
            let kept: Vec<String> = sessions.stores()[&store].open.iter().map(|session| session.name.clone()).collect();
            assert_eq!(kept, [names[1].clone()]);
        }
    }

    #[test]
    fn a_nonce_is_good_once_within_the_window() {
        let mut nonces = Nonces::new();
        let check = |nonces: &mut Nonces, nonce, good| assert_eq!(nonces.take(nonce), good, "nonce {nonce}");
        check(&mut nonces, 10, true);
        check(&mut nonces, 10, false);
        check(&mut nonces, 8, true);
        check(&mut nonces, 9, true);
        check(&mut nonces, 8, false);
        check(&mut nonces, 10 + NONCE_WINDOW, true);
        check(&mut nonces, 10, false);
        check(&mut nonces, 11, true);
        check(&mut nonces, 11, false);
        check(&mut nonces, u64::MAX, true);
        check(&mut nonces, u64::MAX, false);
        check(&mut nonces, u64::MAX - 1, true);
        check(&mut nonces, 12, false);
    }
}
