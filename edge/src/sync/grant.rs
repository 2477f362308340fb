//! Grant: asks the hub for value that a till needs now, within a bound, and not at all while the line is known to be down.
//!
//! This is what the ledger sees of the hub. Adopting what was granted is the ledger's, in the transaction that spends it; the report rides along,
//! so that the hub knows this store's counters before it decides. Invariant: what the hub grants is adopted, or the hub is asked about it again,
//! whoever stops waiting meanwhile.

use std::sync::Arc;

use async_trait::async_trait;
use huitong_protocol::allotment::Purse;
use huitong_protocol::wire::{GrantAnswer, GrantRequest, NEEDS_MAX, Need, path};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::hub_client::HubDown;
use super::session::CallError;
use super::{Link, SyncError};
use crate::ledger::{Hub, HubReply};
use crate::store::{ReadTx, StoreError, card};

/// The hub as tills' operations ask it.
pub struct HubAtCall {
    link: Arc<Link>,
    tasks: TaskTracker,
}

impl HubAtCall {
    /// Asks over this link; `tasks` are waited for when the store stops.
    #[must_use]
    pub const fn new(link: Arc<Link>, tasks: TaskTracker) -> Self {
        Self { link, tasks }
    }
}

#[async_trait]
impl Hub for HubAtCall {
    async fn ask(&self, needs: Vec<Need>, totals: bool) -> HubReply {
        if needs.len() > NEEDS_MAX || !self.link.circuit.may_ask(tokio::time::Instant::now()) {
            return HubReply::Unreachable;
        }
        let (reply, answer) = oneshot::channel();
        let link = Arc::clone(&self.link);
        // A task of its own: a till that hangs up takes back its question, not what the hub grants because of it.
        self.tasks.spawn(async move {
            let answered = ask(&link, needs, totals).await;
            // When nobody waits any more it is dropped here, and says so.
            drop(reply.send(Unread { link, reply: Some(answered) }));
        });
        answer.await.map_or(HubReply::Unreachable, Unread::read)
    }

    fn lost(&self, purses: Vec<Purse>) {
        self.link.left(purses);
    }
}

/// What the hub said, until the till's operation takes it. Dropped before that, the next report asks about its purses, and the hub repeats its grants.
struct Unread {
    link: Arc<Link>,
    reply: Option<HubReply>,
}

impl Unread {
    fn read(mut self) -> HubReply {
        self.reply.take().unwrap_or(HubReply::Unreachable)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(reply) = &self.reply {
            self.link.ask_again(reply.purses());
        }
    }
}

/// Asks, and comes to an end within the bound for grants.
async fn ask(link: &Link, needs: Vec<Need>, totals: bool) -> HubReply {
    let timeout = link.config.grant_timeout.duration();
    let asked = needs.clone();
    let ask = link.exchange::<_, GrantAnswer>(path::GRANT, GrantRequest { needs, totals }, timeout);
    // Over all: a hello may come first.
    let error = match tokio::time::timeout(timeout, ask).await {
        Ok(Ok((answer, turn))) => {
            let GrantAnswer { cards, elsewhere, totals, is_closed } = answer.body;
            return HubReply::Answered { grants: answer.grants, turn, cards, elsewhere, totals, is_closed };
        }
        Ok(Err(error)) => error,
        Err(_) => {
            let silent = CallError::Down(HubDown::Silent { timeout_ms: timeout.as_millis() });
            link.circuit.failed(&silent, tokio::time::Instant::now());
            silent.into()
        }
    };
    if let SyncError::Call(refused @ CallError::Refused { .. }) = &error {
        // The line stands, yet nothing will be granted before somebody puts it right: tills need not ask each time.
        link.circuit.failed(refused, tokio::time::Instant::now());
    }
    // The hub may have granted all the same. Asking about the accounts later brings it; what is not needed then goes back by policy.
    match link.store.read(|tx| purses_of(tx, &asked)) {
        Ok(purses) => link.reported.mention(purses),
        Err(error) => tracing::error!(error = %error, "Could not look up the cards of a lost grant"),
    }
    tracing::warn!(error = %error, "Could not ask the hub for value: {error}");
    HubReply::Unreachable
}

/// The purses of cards that this store knows.
fn purses_of(tx: &ReadTx<'_>, needs: &[Need]) -> Result<Vec<Purse>, StoreError> {
    let mut purses = Vec::new();
    for need in needs {
        if let Some(card) = card::find(tx, need.card)? {
            purses.push(Purse { account: card.account, unit: need.unit });
        }
    }
    Ok(purses)
}
