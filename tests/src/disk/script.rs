//! Script: what tills and sync do with a store, step by step. A step that was cut off is done again with the same operation id.
//!
//! Everything in a step is decided by its place in the script and by what the store answered before, so that two stores that did the same steps hold
//! the same rows, whatever happened to one of them in between.

use anyhow::Context;
use huitong_edge::store::{StoreError, allotment, operation, replica, sync_state};
use huitong_protocol::allotment::Purse;
use huitong_protocol::id::{EntryId, Epoch, OperationId};
use huitong_protocol::time::Stamp;
use huitong_protocol::wire::Grant;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use together::poll_all;

use super::shop::{Answer, CNY, Shop, account, install, member_page, number, policy_page, store_id};

/// What one till sends.
#[derive(Clone, Debug)]
pub struct Posting {
    /// The operation's id.
    pub key: OperationId,
    path: String,
    body: Value,
    /// The operation whose receipt goes into path (`RECEIPT`) and body (`receipt`).
    receipt_of: Option<OperationId>,
}

/// Something that happens at the store.
#[derive(Clone, Debug)]
pub enum Step {
    /// The first download after enrolment.
    Install,
    /// A till sends an operation.
    Post(Posting),
    /// Several tills send at the same moment: one fsync for all of them.
    Burst(Vec<Posting>),
    /// Members arrive in one page.
    Members(u32),
    /// A policy arrives.
    Policy(u64),
    /// A grant arrives that nobody waits for.
    Grant(u32, i64),
    /// Value goes back to the pool, all of an account.
    Release(u32),
    /// The hub holds the journal so far, and took reports so far.
    Acknowledged,
}

/// How the tills fare: what they were answered last.
#[derive(Clone, Debug, Default)]
pub struct Tills {
    /// The highest position that they have seen.
    pub witness: Option<String>,
}

impl Step {
    /// Does it, and gives what tills were answered, in their order.
    ///
    /// # Errors
    /// When it was not done, or only in part: the store failed under it.
    pub async fn take(&self, at: usize, shop: &Shop, tills: &mut Tills) -> anyhow::Result<Vec<Answer>> {
        shop.set_clock(i64::try_from(at).unwrap_or(i64::MAX));
        let now = shop.now();
        match self {
            Self::Post(posting) => {
                let answer = posting.send(shop, tills.witness.as_deref()).await?;
                tills.witness.clone_from(&answer.witness);
                return Ok(vec![answer]);
            }
            Self::Burst(postings) => {
                let witness = tills.witness.clone();
                let sent = postings.iter().map(|posting| posting.send(shop, witness.as_deref()));
                let answers = poll_all(shop, sent.collect()).await?;
                let answers = answers.into_iter().collect::<anyhow::Result<Vec<Answer>>>()?;
                if let Some(last) = answers.last() {
                    tills.witness.clone_from(&last.witness);
                }
                return Ok(answers);
            }
            // Nothing is put twice: pages and grants are totals, and so is what was acknowledged.
            Self::Install => {
                if shop.store.committed().witness().is_none() {
                    shop.store.write(install).await?;
                }
            }
            &Self::Members(count) => {
                shop.store.write(move |tx| replica::apply_page(tx, &member_page(u64::from(count), count))).await?;
            }
            &Self::Policy(version) => {
                shop.store.write(move |tx| replica::apply_page(tx, &policy_page(version))).await?;
            }
            &Self::Grant(n, granted_minor) => {
                let grant = Grant { account: account(n), unit: CNY, granted_minor, stamp: Stamp(now.0) };
                shop.store.write(move |tx| allotment::adopt_grants(tx, now, &[grant])).await?;
            }
            &Self::Release(n) => {
                let purse = Purse { account: account(n), unit: CNY };
                shop.store.write(move |tx| allotment::release(tx, now, &[(purse, i64::MAX)])).await?;
            }
            Self::Acknowledged => {
                shop.store
                    .write(|tx| {
                        let (head, change_no) = (tx.head(), tx.chain().change_no);
                        sync_state::acknowledge(tx, head)?;
                        sync_state::reported(tx, change_no, head)
                    })
                    .await?;
            }
        }
        Ok(Vec::new())
    }

    /// What tills send in it.
    #[must_use]
    pub fn postings(&self) -> &[Posting] {
        match self {
            Self::Post(posting) => std::slice::from_ref(posting),
            Self::Burst(postings) => postings,
            _ => &[],
        }
    }
}

impl Posting {
    /// Sends it.
    ///
    /// # Errors
    /// When there was no answer.
    pub async fn send(&self, shop: &Shop, witness: Option<&str>) -> anyhow::Result<Answer> {
        let (mut path, mut body) = (self.path.clone(), self.body.clone());
        if let Some(of) = self.receipt_of {
            let known = shop.store.read(|tx| operation::find(tx, of))?.context("the receipt's operation is unknown")?;
            let seq = known.entry_seq.context("the receipt's operation was declined")?;
            let receipt = EntryId { store: store_id(), epoch: Epoch(1), seq };
            path = path.replace("RECEIPT", &receipt.to_string());
            if body.get("items").is_some() {
                body["receipt"] = json!(receipt);
            }
        }
        shop.post(&path, self.key, &serde_json::to_vec(&body)?, witness).await
    }
}

mod together {
    //! Sends at the same moment: while the writer is held, each request goes as far as its queue.

    use std::pin::Pin;
    use std::task::Poll;

    use super::{Answer, Shop, StoreError};

    /// A request under way, and what came of it.
    type Waiting<F> = (Pin<Box<F>>, Option<anyhow::Result<Answer>>);

    /// How often each request is given its turn while the writer is held: more than it has places to wait at.
    const TURNS: usize = 16;

    pub(super) async fn poll_all<F>(shop: &Shop, sent: Vec<F>) -> anyhow::Result<Vec<anyhow::Result<Answer>>>
    where
        F: Future<Output = anyhow::Result<Answer>>,
    {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let store = shop.store.clone();
        let held = tokio::spawn(async move {
            store
                .write(move |_| {
                    let _ = begin.send(()); // Whoever waits for it is below.
                    let _ = released.recv(); // Ends when the sender is dropped.
                    Ok::<_, StoreError>(())
                })
                .await
        });
        if begun.await.is_err() {
            // The store has stopped: the requests are told so.
            drop(release);
            held.await??;
            anyhow::bail!("the writer was not held");
        }
        let mut release = Some(release);
        let mut waiting: Vec<Waiting<F>> = sent.into_iter().map(|send| (Box::pin(send), None)).collect();
        let mut turns = 0;
        std::future::poll_fn(|context| {
            for (send, answer) in waiting.iter_mut().filter(|(_, answer)| answer.is_none()) {
                if let Poll::Ready(given) = send.as_mut().poll(context) {
                    *answer = Some(given);
                }
            }
            turns += 1;
            if turns == TURNS {
                release = None;
            }
            if waiting.iter().all(|(_, answer)| answer.is_some()) {
                return Poll::Ready(());
            }
            if turns < TURNS {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        drop(release);
        held.await??;
        Ok(waiting.into_iter().filter_map(|(_, answer)| answer).collect())
    }
}

/// The key of the nth operation.
#[must_use]
pub fn key(n: u128) -> OperationId {
    OperationId(uuid::Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0000 | n))
}

fn cash(amount_minor: i64) -> Value {
    json!({"tender": "cash", "amount_minor": amount_minor})
}

fn by_bank_card(amount_minor: i64, reference: u128) -> Value {
    json!({"tender": "bank_card", "amount_minor": amount_minor, "reference": format!("R{reference}")})
}

fn by_card(n: u32, amount_minor: i64) -> Value {
    json!({"tender": "stored_value", "amount_minor": amount_minor, "card": number(n).reveal()})
}

/// A line of three pieces.
fn line(net_minor: i64) -> Value {
    json!({
        "sku": "A1", "quantity_thousandths": 3000, "gross_minor": net_minor, "net_minor": net_minor, "tax_ppm": 130_000,
    })
}

/// Writes steps with keys in their order.
#[derive(Default)]
struct Writer {
    steps: Vec<Step>,
    keys: u128,
}

impl Writer {
    fn posting(&mut self, path: &str, body: Value, receipt_of: Option<OperationId>) -> Posting {
        self.keys += 1;
        Posting { key: key(self.keys), path: path.to_owned(), body, receipt_of }
    }

    fn post(&mut self, path: &str, body: Value) -> OperationId {
        let posting = self.posting(path, body, None);
        let key = posting.key;
        self.steps.push(Step::Post(posting));
        key
    }

    fn on_receipt(&mut self, of: OperationId, path: &str, body: Value) {
        let posting = self.posting(path, body, Some(of));
        self.steps.push(Step::Post(posting));
    }

    fn load(&mut self, verb: &str, n: u32, amount_minor: i64) -> OperationId {
        let body = json!({"currency": "CNY", "amount_minor": amount_minor, "tenders": [cash(amount_minor)]});
        self.post(&format!("/v1/cards/{}/{verb}", number(n).reveal()), body)
    }

    fn sale_body(total_minor: i64, tenders: &[Value], earner: Option<u32>) -> Value {
        let mut body = json!({"currency": "CNY", "lines": [line(total_minor)], "tenders": tenders});
        if let Some(n) = earner {
            body["member_card"] = json!(number(n).reveal());
        }
        body
    }

    fn spend(&mut self, n: u32, amount_minor: i64) -> OperationId {
        self.post("/v1/sales", Self::sale_body(amount_minor, &[by_card(n, amount_minor)], Some(n)))
    }

    fn void(&mut self, of: OperationId) -> OperationId {
        self.post(&format!("/v1/operations/{of}/void"), json!({"reason": "mistake"}))
    }

    fn give_back(&mut self, of: OperationId, thousandths: i64) {
        let body = json!({"reason": "broken", "items": [{"line": 0, "quantity_thousandths": thousandths}]});
        self.on_receipt(of, "/v1/returns", body);
    }

    /// Sets value aside for so many seconds, which is so many steps.
    fn hold(&mut self, n: u32, amount_minor: i64, expires_in_s: u64) -> OperationId {
        let body = json!({
            "card": number(n).reveal(), "currency": "CNY", "amount_minor": amount_minor, "expires_in_s": expires_in_s,
        });
        self.post("/v1/holds", body)
    }

    fn capture(&mut self, n: u32, amount_minor: i64, hold: OperationId) {
        let mut tender = by_card(n, amount_minor);
        tender["hold"] = json!(hold);
        self.post("/v1/sales", Self::sale_body(amount_minor, &[tender], None));
    }

    fn enrol(&mut self, n: u32, phone: &str) {
        let body = json!({
            "name": "王小明", "phone": phone, "card": number(n).reveal(),
            "consent": {"version": "2026-01", "given_at_ms": super::shop::MORNING.0 - 60_000},
        });
        self.post("/v1/members", body);
    }

    fn burst(&mut self, spends: &[(u32, i64)]) {
        let postings = spends.iter().map(|&(n, amount_minor)| {
            let body = Self::sale_body(amount_minor, &[by_card(n, amount_minor)], None);
            self.keys += 1;
            Posting { key: key(self.keys), path: "/v1/sales".to_owned(), body, receipt_of: None }
        });
        let postings = postings.collect();
        self.steps.push(Step::Burst(postings));
    }
}

/// Two business days with everything that a store does: the first from its installation to its seal, the second up to its middle.
#[must_use]
pub fn day() -> Vec<Step> {
    let mut script = Writer::default();
    let s = &mut script;
    s.steps.push(Step::Install);
    s.steps.push(Step::Members(20));
    s.post("/v1/day/open", json!({}));
    for n in [11, 12, 13] {
        s.load("sell", n, 10_000);
    }
    let reloaded = s.load("reload", 2, 50_000);
    s.load("reload", 3, 40_000);
    s.load("reload", 9, 100); // Nobody's: declined, and the answer is kept.
    s.load("reload", 3, 500_001); // Beyond the limit.
    let granted = s.spend(1, 12_000); // Head office is asked, and grants.
    let spent = s.spend(2, 20_001);
    let by_points = json!({"tender": "points", "amount_minor": 100, "card": number(2).reveal()});
    let burnt = s.post("/v1/sales", Writer::sale_body(1_000, &[by_points, cash(900)], Some(2)));
    s.give_back(burnt, 1_000);
    s.spend(3, 90_000); // More than is there.
    s.burst(&[(2, 3_000), (3, 4_000), (3, 7_000), (2, 5_000), (11, 700)]);
    s.give_back(spent, 1_000);
    s.give_back(spent, 1_000);
    s.give_back(spent, 2_000); // More than is left.
    s.void(granted);
    s.void(granted); // Twice.
    let mixed = s.post("/v1/sales", Writer::sale_body(9_000, &[by_card(2, 4_000), by_bank_card(5_000, 1)], Some(1)));
    s.post("/v1/sales", Writer::sale_body(5_000, &[by_bank_card(5_000, 1)], None)); // The reference was used.
    s.void(mixed);
    s.post("/v1/sales", Writer::sale_body(5_000, &[by_bank_card(5_000, 1)], None)); // Now it is free again.
    let sold = s.load("sell", 14, 30_000);
    s.spend(14, 1_000);
    s.void(sold); // Not while something of it is spent.
    let mistaken = s.load("sell", 15, 7_000);
    s.void(mistaken);
    s.void(reloaded); // Too late: most of it is gone.
    s.enrol(16, "13900000016");
    s.enrol(17, "13900000016"); // The same phone.
    s.load("sell", 16, 2_000);
    s.post(&format!("/v1/cards/{}/freeze", number(12).reveal()), json!({"reason": "lost"}));
    s.spend(12, 100);
    let body = json!({"card": number(13).reveal(), "currency": "CNY", "amount_minor": 1_500, "reason": "no receipt"});
    s.post("/v1/returns/unreferenced", body);
    let mut parked = Writer::sale_body(6_000, &[by_card(13, 1_000), by_bank_card(5_000, 2)], Some(13));
    parked["payment_unknown"] = json!(1);
    let parked = s.post("/v1/sales", parked);
    s.on_receipt(parked, "/v1/sales/RECEIPT/payment", json!({"outcome": "paid", "reason": "asked the acquirer"}));
    let cash_sale = s.post("/v1/sales", Writer::sale_body(4_321, &[cash(4_321)], Some(2)));
    s.on_receipt(cash_sale, "/v1/sales/RECEIPT/invoice", json!({"number": "26312000000000000001"}));
    s.steps.push(Step::Acknowledged);
    s.steps.push(Step::Policy(2));
    s.steps.push(Step::Grant(4, 9_000));
    s.spend(4, 8_000);
    s.steps.push(Step::Release(4));
    s.spend(4, 2_000);
    let brief = s.hold(3, 700, 3);
    let (part, none) = (s.hold(3, 5_000, 3_600), s.hold(3, 2_000, 3_600));
    s.capture(3, 3_000, part); // Its sale ends the brief one, whose time is over.
    s.capture(3, 1, brief); // Too late.
    s.post(&format!("/v1/holds/{none}/release"), json!({"reason": "nobody came"}));
    let kept = s.hold(3, 500, 3_600);
    s.burst(&[(11, 800), (3, 300)]);
    s.steps.push(Step::Release(3)); // All but what is kept.
    s.post("/v1/day/close", json!({}));
    s.steps.push(Step::Acknowledged);
    s.spend(2, 100); // The store is closed.
    s.post("/v1/day/open", json!({"business_day": "2026-11-23"}));
    s.steps.push(Step::Members(60));
    s.load("reload", 5, 6_000);
    s.give_back(cash_sale, 3_000); // Goods of yesterday.
    s.spend(5, 4_000);
    s.capture(3, 200, kept); // It was promised yesterday.
    script.steps
}

/// A day that a seed makes up.
#[must_use]
pub fn random_day(seed: u64, operations: usize) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut script = Writer::default();
    let s = &mut script;
    s.steps.push(Step::Install);
    s.post("/v1/day/open", json!({}));
    let mut spent = Vec::new();
    let mut blank: Vec<u32> = (11..=18).collect();
    for _ in 0..operations {
        let (n, amount_minor) = (random.random_range(1..=8), random.random_range(1..20_000));
        match random.random_range(0..20) {
            0..=5 => drop(s.load("reload", n, amount_minor)),
            6..=10 => spent.push(s.spend(n, amount_minor / 2 + 1)),
            11 => {
                let spends: Vec<_> = (0..random.random_range(2..6))
                    .map(|_| (random.random_range(1..=8), random.random_range(1..5_000)))
                    .collect();
                s.burst(&spends);
            }
            12 | 13 if !spent.is_empty() => {
                let of = spent[random.random_range(0..spent.len())];
                s.void(of);
            }
            14 if !blank.is_empty() => {
                let n = blank.swap_remove(random.random_range(0..blank.len()));
                s.load("sell", n, amount_minor);
            }
            15 => {
                let body =
                    json!({"card": number(n).reveal(), "currency": "CNY", "amount_minor": 10, "reason": "no receipt"});
                s.post("/v1/returns/unreferenced", body);
            }
            16 => s.steps.push(Step::Members(random.random_range(1..200))),
            17 => s.steps.push(Step::Release(n)),
            18 => s.steps.push(Step::Grant(random.random_range(5..=8), amount_minor)),
            19 => s.steps.push(Step::Acknowledged),
            _ => drop(s.post("/v1/sales", Writer::sale_body(amount_minor, &[cash(amount_minor)], Some(n)))),
        }
    }
    s.post("/v1/day/close", json!({}));
    script.steps
}
