//! The wire between a store and the hub, as bad as real ones are: it can be cut, hold segments back, lose answers and reorder what it carries.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use huitong_edge::sync::hub_client::{HttpPost, HttpReply, HubClient, HubDown};
use huitong_protocol::wire::path;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, oneshot, watch};

/// A wire with a fault or none.
pub struct Wire {
    inner: Arc<dyn HubClient>,
    cut: watch::Sender<bool>,
    uploads_held: AtomicBool,
    answers_lost: Option<Mutex<HashSet<[u8; 32]>>>,
    shuffler: Option<Arc<Shuffler>>,
    lost: AtomicU64,
    sent: Mutex<BTreeMap<&'static str, u64>>,
}

impl Wire {
    /// A good wire.
    #[must_use]
    pub fn new(inner: Arc<dyn HubClient>) -> Self {
        Self {
            inner,
            cut: watch::Sender::new(false),
            uploads_held: AtomicBool::new(false),
            answers_lost: None,
            shuffler: None,
            lost: AtomicU64::new(0),
            sent: Mutex::default(),
        }
    }

    /// How often the store asked at a path: the round trips it made or has begun.
    #[must_use]
    pub fn sent(&self, path: &str) -> u64 {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or(0)
    }

    /// Loses the first answer to every segment, so that each is sent twice.
    #[must_use]
    pub fn losing_answers(mut self) -> Self {
        self.answers_lost = Some(Mutex::default());
        self
    }

    /// Delivers segments in the order in which a shuffler lets them go.
    #[must_use]
    pub fn shuffled_by(mut self, shuffler: Arc<Shuffler>) -> Self {
        self.shuffler = Some(shuffler);
        self
    }

    /// Cuts or joins it. What is under way when it is cut breaks off at once.
    pub fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }

    /// Whether it is not cut.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !*self.cut.borrow()
    }

    /// Holds segments and seals back, or lets them go; all else goes on.
    pub fn hold_uploads(&self, held: bool) {
        self.uploads_held.store(held, Ordering::SeqCst);
    }

    /// How many answers it lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl HubClient for Wire {
    async fn post(&self, request: HttpPost) -> Result<HttpReply, HubDown> {
        let broken = |why: &str| Err(HubDown::Line(why.to_owned()));
        if !self.is_whole() {
            return broken("the line is cut");
        }
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner).entry(request.path).or_default() += 1;
        let is_upload = request.path == path::UPLOAD;
        if is_upload && self.uploads_held.load(Ordering::SeqCst) {
            return broken("segments are held back");
        }
        // The signature differs each time; the segment's own bytes tell whether it went before.
        let segment = *blake3::hash(&request.body).as_bytes();
        if let (true, Some(shuffler)) = (is_upload, &self.shuffler) {
            shuffler.turn().await;
        }
        let mut cut = self.cut.subscribe();
        let reply = tokio::select! {
            _ = cut.wait_for(|cut| *cut) => return broken("the line was cut while the answer was under way"),
            reply = self.inner.post(request) => reply?,
        };
        if let (true, Some(sent)) = (is_upload, &self.answers_lost)
            && sent.lock().unwrap_or_else(PoisonError::into_inner).insert(segment)
        {
            self.lost.fetch_add(1, Ordering::SeqCst);
            return broken("the answer was lost");
        }
        Ok(reply)
    }
}

/// Lets waiting segments go one by one, in seeded random order.
pub struct Shuffler {
    waiting: Mutex<Vec<oneshot::Sender<()>>>,
    came: Notify,
    random: Mutex<StdRng>,
}

/// How often others may step in front before one is picked: enough that what was sent at the same time waits at the same time.
const TURNS: usize = 64;

impl Shuffler {
    /// A shuffler with a seed. Its task lives as long as the runtime.
    #[must_use]
    pub fn start(seed: u64) -> Arc<Self> {
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        let shuffler = Arc::new(Self { waiting: Mutex::default(), came: Notify::new(), random });
        let picker = Arc::clone(&shuffler);
        tokio::spawn(async move {
            loop {
                picker.came.notified().await;
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                picker.release_one();
            }
        });
        shuffler
    }

    async fn turn(&self) {
        let (go, gone) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(go);
        self.came.notify_one();
        let _ = gone.await; // The shuffler is gone: nobody holds anything any more.
    }

    /// Lets one of those who wait go, and comes back for the others.
    fn release_one(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return;
        }
        let at = self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..waiting.len());
        let _ = waiting.swap_remove(at).send(()); // Who gave up waiting is passed over.
        if !waiting.is_empty() {
            self.came.notify_one();
        }
    }
}
