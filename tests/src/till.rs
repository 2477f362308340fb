//! A till: a client of a store's API with its token, its operation ids and its witness, as a POS vendor would write one.
//!
//! It speaks HTTP, or calls the routes of an edge in the same process; what it sends and understands is the same.

use std::sync::{Mutex, OnceLock};

use anyhow::{Context, bail};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use huitong_protocol::card::CardNumber;
use huitong_protocol::decline::Decline;
use huitong_protocol::entry::{LineFlags, TenderLine};
use huitong_protocol::id::{EntryId, MemberId, OperationId};
use huitong_protocol::member::MemberLook;
use huitong_protocol::money::Currency;
use huitong_protocol::till::{
    Approved, AskQuote, CardState, CloseDay, DayReport, EdgeStatus, IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, LoadCard,
    OpenDay, OperationState, Outcome, ParkedSale, PaymentOutcome, PostReturn, PostSale, PostUnreferencedReturn, Quote,
    RegisterInvoice, ResolvePayment, StoreWitness, TillLine, VoidOperation, WITNESS, WITNESS_NONE,
};
use huitong_protocol::time::BusinessDay;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;

/// How a till reaches its edge.
#[derive(Clone)]
pub enum Line {
    /// Over HTTP.
    Http {
        /// Shared by all tills of a process.
        client: reqwest::Client,
        /// `http://127.0.0.1:PORT`.
        base: String,
    },
    /// In the same process.
    Routes(axum::Router),
}

/// A till.
pub struct Till {
    line: Line,
    token: String,
    currency: Currency,
    witness: Mutex<Option<String>>,
}

/// The answer to a question for a price.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum QuoteAnswer {
    /// What the basket costs, and why.
    Quoted(Box<Quote>),
    /// It cannot be sold as it is.
    Declined {
        /// One sentence for the screen.
        message: String,
        /// Code and figures.
        #[serde(flatten)]
        decline: Box<Decline>,
    },
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body.
    pub media_type: String,
    /// Whether it is a stored answer.
    pub replayed: bool,
    /// The witness.
    pub witness: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON of a type.
    ///
    /// # Errors
    /// With status and body, when it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("answered {}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }
}

fn reply(status: StatusCode, headers: &HeaderMap, body: Vec<u8>) -> Reply {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (replayed, witness) = (header(IDEMPOTENCY_REPLAYED).is_some(), header(WITNESS));
    Reply { status: status.as_u16(), media_type: header("content-type").unwrap_or_default(), replayed, witness, body }
}

/// A request and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// What was sent.
    pub body: &'a [u8],
    /// What came.
    pub reply: &'a Reply,
}

/// Who looks at everything that tills of this process send and get.
static OBSERVER: OnceLock<fn(&Seen<'_>)> = OnceLock::new();

/// Has everything looked at from now on. The first observer stays.
pub fn observe(observer: fn(&Seen<'_>)) {
    OBSERVER.get_or_init(|| observer);
}

const ANSWER_BYTES_MAX: usize = 16 << 20;

impl Till {
    /// A till with the token of its pairing.
    #[must_use]
    pub fn new(line: Line, token: String, currency: Currency) -> Self {
        Self { line, token, currency, witness: Mutex::new(None) }
    }

    /// The same till, of a store whose daemon was started again.
    #[must_use]
    pub fn on(&self, line: Line) -> Self {
        let witness = self.witness.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Self { line, token: self.token.clone(), currency: self.currency, witness: Mutex::new(witness) }
    }

    /// Sends a request and gives what came.
    ///
    /// # Errors
    /// When nothing came: what was sent may or may not have been done.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        key: Option<OperationId>,
        body: Vec<u8>,
    ) -> anyhow::Result<Reply> {
        let witness = self.witness.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let observed = OBSERVER.get().map(|observer| (observer, method.clone(), body.clone()));
        let mut request = Request::builder()
            .method(method)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key.to_string());
        }
        request = request.header(WITNESS, witness.as_deref().unwrap_or(WITNESS_NONE));
        let reply = match &self.line {
            Line::Routes(router) => {
                let request = request.uri(path).body(Body::from(body)).context("could not make a request")?;
                let answer = match router.clone().oneshot(request).await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                };
                let (head, body) = answer.into_parts();
                let body = to_bytes(body, ANSWER_BYTES_MAX).await.context("could not read the answer")?.to_vec();
                reply(head.status, &head.headers, body)
            }
            Line::Http { client, base } => {
                let request = request.uri(format!("{base}{path}")).body(body).context("could not make a request")?;
                let answer = client
                    .execute(request.try_into().context("could not make a request")?)
                    .await
                    .context("no answer from the edge")?;
                let (status, headers) = (answer.status(), answer.headers().clone());
                let body = answer.bytes().await.context("the answer was cut")?.to_vec();
                reply(status, &headers, body)
            }
        };
        if let Some((observer, method, body)) = &observed {
            observer(&Seen { method: method.as_str(), path, body, reply: &reply });
        }
        if let Some(seen) = &reply.witness {
            let mut highest = self.witness.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let position =
                |text: &str| text.parse::<StoreWitness>().map(|seen| (seen.witness.epoch, seen.witness.head.seq)).ok();
            if highest.as_deref().is_none_or(|known| position(known) <= position(seen)) {
                *highest = Some(seen.clone());
            }
        }
        Ok(reply)
    }

    /// Posts an operation and gives its outcome.
    ///
    /// # Errors
    /// When nothing came, or a problem instead of an outcome.
    pub async fn operate(&self, path: &str, key: OperationId, body: &impl Serialize) -> anyhow::Result<Outcome> {
        let reply = self.send(Method::POST, path, Some(key), serde_json::to_vec(body)?).await?;
        if reply.status != 200 && reply.status != 201 {
            bail!("POST {path} was answered with {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        }
        reply.json()
    }

    async fn look(&self, path: &str) -> anyhow::Result<Reply> {
        let reply = self.send(Method::GET, path, None, Vec::new()).await?;
        if reply.status != 200 {
            bail!("GET {path} was answered with {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        }
        Ok(reply)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.look(path).await?.json()
    }

    /// Opens a day.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn open_day(&self, key: OperationId, business_day: Option<BusinessDay>) -> anyhow::Result<Outcome> {
        self.operate("/v1/day/open", key, &OpenDay { business_day, ..OpenDay::default() }).await
    }

    /// Closes the day.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn close_day(&self, key: OperationId) -> anyhow::Result<Outcome> {
        self.operate("/v1/day/close", key, &CloseDay::default()).await
    }

    fn load(&self, amount_minor: i64) -> LoadCard {
        let tenders = if amount_minor == 0 { Vec::new() } else { vec![tender("cash", amount_minor, None)] };
        LoadCard {
            currency: self.currency,
            amount_minor,
            bonus_minor: 0,
            tenders,
            member: None,
            draft: None,
            operator: None,
            approver: None,
            terminal_seq: None,
        }
    }

    /// Sells a card for cash, to the member whose it is where the store knows one.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn sell(&self, key: OperationId, card: CardNumber, amount_minor: i64) -> anyhow::Result<Outcome> {
        let request = LoadCard { member: self.owner(card).await, ..self.load(amount_minor) };
        self.operate(&format!("/v1/cards/{}/sell", card.reveal()), key, &request).await
    }

    /// The member whose card it is, as far as the store says.
    pub async fn owner(&self, card: CardNumber) -> Option<MemberId> {
        self.member("card", card.reveal()).await.ok().map(|look| look.member)
    }

    /// Loads a card again, for cash.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn reload(&self, key: OperationId, card: CardNumber, amount_minor: i64) -> anyhow::Result<Outcome> {
        self.operate(&format!("/v1/cards/{}/reload", card.reveal()), key, &self.load(amount_minor)).await
    }

    /// The sale of one line, paid with a card's stored value.
    #[must_use]
    pub fn one_line_sale(&self, card: CardNumber, amount_minor: i64) -> PostSale {
        PostSale {
            currency: self.currency,
            member: None,
            member_card: None,
            coupons: Vec::new(),
            markdowns: Vec::new(),
            quote: None,
            lines: vec![line("goods", amount_minor)],
            tenders: vec![tender("stored_value", amount_minor, Some(card))],
            payment_unknown: None,
            taken_at_ms: None,
            operator: None,
            approver: None,
            terminal_seq: None,
        }
    }

    /// Sells one line of goods, paid with a card's stored value.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn spend(&self, key: OperationId, card: CardNumber, amount_minor: i64) -> anyhow::Result<Outcome> {
        self.operate("/v1/sales", key, &self.one_line_sale(card, amount_minor)).await
    }

    /// Posts a sale.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn sale(&self, key: OperationId, sale: &PostSale) -> anyhow::Result<Outcome> {
        self.operate("/v1/sales", key, sale).await
    }

    /// Asks what the basket of a sale costs: its lines, member and coupons. The answer's `quote` belongs into the sale.
    ///
    /// # Errors
    /// When nothing came, or a problem.
    pub async fn quote(&self, sale: &PostSale) -> anyhow::Result<QuoteAnswer> {
        let PostSale { currency, member, member_card, coupons, markdowns, lines, .. } = sale.clone();
        let ask = AskQuote { currency, member, member_card, coupons, markdowns, lines };
        let reply = self.send(Method::POST, "/v1/quotes", None, serde_json::to_vec(&ask)?).await?;
        if reply.status != 200 {
            bail!("POST /v1/quotes was answered with {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        }
        reply.json()
    }

    /// Says what became of the payment of a parked sale; with the reference of a payment that came.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn resolve_payment(
        &self,
        key: OperationId,
        receipt: EntryId,
        outcome: PaymentOutcome,
        reference: Option<&str>,
    ) -> anyhow::Result<Outcome> {
        let request = ResolvePayment {
            outcome,
            reference: reference.map(str::to_owned),
            reason: "asked the acquirer".to_owned(),
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        self.operate(&format!("/v1/sales/{receipt}/payment"), key, &request).await
    }

    /// The sales of the store whose payment is not known.
    ///
    /// # Errors
    /// When nothing came, or a problem.
    pub async fn parked(&self) -> anyhow::Result<Vec<ParkedSale>> {
        self.get("/v1/sales/parked").await
    }

    /// Registers the tax invoice over a receipt.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn register_invoice(&self, key: OperationId, receipt: EntryId, number: &str) -> anyhow::Result<Outcome> {
        let request = RegisterInvoice {
            number: number.to_owned(),
            replaces: None,
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        self.operate(&format!("/v1/sales/{receipt}/invoice"), key, &request).await
    }

    /// A receipt as its printer gets it, in Chinese.
    ///
    /// # Errors
    /// When nothing came, or a problem.
    pub async fn receipt(&self, receipt: EntryId, columns: usize) -> anyhow::Result<String> {
        let reply = self.look(&format!("/v1/operations/{receipt}/receipt?columns={columns}")).await?;
        String::from_utf8(reply.body).context("a receipt is not UTF-8")
    }

    /// A member by `card`, `qr`, `phone` or `number`. A `+` is written `%2B`.
    ///
    /// # Errors
    /// When nothing came, or a problem.
    pub async fn member(&self, field: &str, text: &str) -> anyhow::Result<MemberLook> {
        self.get(&format!("/v1/members?{field}={text}")).await
    }

    /// Undoes an operation.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn void(&self, key: OperationId, of: OperationId) -> anyhow::Result<Outcome> {
        let request =
            VoidOperation { reason: "typed twice".to_owned(), operator: None, approver: None, terminal_seq: None };
        self.operate(&format!("/v1/operations/{of}/void"), key, &request).await
    }

    /// Gives goods of a receipt back.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn give_back(
        &self,
        key: OperationId,
        receipt: EntryId,
        line: u16,
        quantity_thousandths: i64,
    ) -> anyhow::Result<Outcome> {
        let items = vec![huitong_protocol::till::ReturnItem { line, quantity_thousandths }];
        let reason = "not as expected".to_owned();
        let request = PostReturn { receipt, items, reason, operator: None, approver: None, terminal_seq: None };
        self.operate("/v1/returns", key, &request).await
    }

    /// Gives goods back without a receipt, onto a card.
    ///
    /// # Errors
    /// As [`Till::operate`].
    pub async fn refund(&self, key: OperationId, card: CardNumber, amount_minor: i64) -> anyhow::Result<Outcome> {
        let (currency, reason) = (self.currency, "no receipt".to_owned());
        let request = PostUnreferencedReturn {
            card,
            currency,
            amount_minor,
            reason,
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        self.operate("/v1/returns/unreferenced", key, &request).await
    }

    /// A card as this store knows it; with the whole balance when the hub answers.
    ///
    /// # Errors
    /// When nothing came, or a problem.
    pub async fn card(&self, card: CardNumber, total: bool) -> anyhow::Result<CardState> {
        let query = if total { "?total=true" } else { "" };
        self.get(&format!("/v1/cards/{}{query}", card.reveal())).await
    }

    /// What became of an operation.
    ///
    /// # Errors
    /// When nothing came, or a problem.
    pub async fn operation(&self, key: OperationId) -> anyhow::Result<OperationState> {
        let reply = self.send(Method::GET, &format!("/v1/operations/{key}"), None, Vec::new()).await?;
        reply.json()
    }

    /// The running totals of the open day.
    ///
    /// # Errors
    /// When nothing came, or a problem.
    pub async fn x_report(&self) -> anyhow::Result<DayReport> {
        self.get("/v1/day/x").await
    }

    /// The edge's state.
    ///
    /// # Errors
    /// When nothing came, or a problem.
    pub async fn status(&self) -> anyhow::Result<EdgeStatus> {
        self.get("/v1/status").await
    }
}

/// A tender line.
///
/// # Panics
/// When the code is not one.
#[must_use]
pub fn tender(code: &str, amount_minor: i64, card: Option<CardNumber>) -> TenderLine {
    TenderLine { tender: code.parse().expect("a tender code"), amount_minor, card, reference: None, hold: None }
}

/// A basket line of one piece.
#[must_use]
pub fn line(sku: &str, net_minor: i64) -> TillLine {
    TillLine {
        sku: sku.to_owned(),
        name: String::new(),
        category_path: String::new(),
        brand: String::new(),
        counter: None,
        supplier: None,
        clerk: None,
        quantity_thousandths: 1_000,
        list_price_minor: None,
        gross_minor: net_minor,
        markdowns: Vec::new(),
        discounts: Vec::new(),
        net_minor: Some(net_minor),
        tax_code: String::new(),
        tax_ppm: 0,
        flags: LineFlags::default(),
    }
}

/// The approval, or the refusal as an error.
///
/// # Errors
/// The refusal in words.
pub fn approved(outcome: Outcome) -> anyhow::Result<Approved> {
    match outcome {
        Outcome::Approved(approved) => Ok(*approved),
        Outcome::Declined { message, decline, .. } => bail!("declined with {:?}: {message}", decline.code),
    }
}

/// The refusal, or the approval as an error.
///
/// # Errors
/// When it was approved.
pub fn declined(outcome: Outcome) -> anyhow::Result<Decline> {
    match outcome {
        Outcome::Declined { decline, .. } => Ok(*decline),
        Outcome::Approved(approved) => bail!("approved as {}", approved.entry),
    }
}
