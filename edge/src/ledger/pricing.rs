//! Pricing: what a basket costs here and now, for a quote and for the sale that follows it.
//!
//! Reads only, on a reader's connection and before the writer's transaction: the till's path through the writer stays free of it. What was looked up
//! goes into the entry, so that a replica that changes in between is no harm. Rules are the core's; here items and members are looked up, and the
//! quote's proof is made and checked.

use huitong_protocol::card::{CardNumber, CardStatus};
use huitong_protocol::decline::{Decline, DeclineCode};
use huitong_protocol::id::MemberId;
use huitong_protocol::ledger::Decision;
use huitong_protocol::ledger::basket::{Earner, Known, Priced, PricedBasket, Prices, Sent, as_taken, price_basket};
use huitong_protocol::member::Member;
use huitong_protocol::pricing::{Considered, PricedLine, Shopper};
use huitong_protocol::quote::{Asked, QuoteKey, QuoteToken};
use huitong_protocol::till::{AskQuote, Fault, PostSale, Quote, TillLine};
use huitong_protocol::time::{BusinessDay, Instant};

use super::{Call, Ledger, LedgerError, limits};
use crate::store::identity::Identity;
use crate::store::{Committed, PolicyInForce, ReadTx, StoreError, card, draft, item, member, operation, setting};

/// The setting that holds the key of this store's quotes, in hex. It is in no log and no answer.
const QUOTE_KEY: &str = "quotes.key";

const MINUTE_MS: i64 = 60_000;

/// The basket of a sale as it was priced, for the writer's transaction.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// The business day that it was priced on.
    pub(super) day: Option<BusinessDay>,
    /// What came of it.
    pub(super) basket: Result<PricedBasket, Decision>,
    /// Its lines as the answer shows them, and every rule considered. Empty for receipts that the till priced.
    pub(super) explained: (Vec<PricedLine>, Vec<Considered>),
}

/// The answer to a question for a price.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Quoted {
    /// It costs so much.
    Priced(Box<Quote>),
    /// It cannot be sold as it is.
    Declined(Box<Decline>),
}

/// What is asked about, whoever asks.
struct Question<'a> {
    member: Option<MemberId>,
    member_card: Option<CardNumber>,
    sent: Sent<'a>,
}

/// The moment and the rules.
struct Frame<'a> {
    identity: &'a Identity,
    policy: &'a PolicyInForce,
    day: BusinessDay,
    priced_at: Instant,
    /// Whether the store has an item master at all.
    has_items: bool,
}

/// Makes sure that the store has a key for its quotes: `random` is used when it has none.
///
/// # Errors
/// [`StoreError`] of the engine.
pub async fn keep_quote_key(store: &crate::store::Store, random: [u8; 32]) -> Result<(), StoreError> {
    store
        .write(move |tx| match setting::get(tx, QUOTE_KEY)? {
            Some(_) => Ok(()),
            None => setting::put(tx, QUOTE_KEY, &data_encoding::HEXLOWER.encode(&random)),
        })
        .await
}

impl Ledger {
    /// What a basket costs, and why. Stores nothing.
    ///
    /// # Errors
    /// [`LedgerError::Fault`] when the question is not well-formed, [`LedgerError::NoPolicy`], or a failure of the store.
    pub fn quote(&self, now: Instant, ask: &AskQuote) -> Result<Quoted, LedgerError> {
        ask.check()?;
        let committed = self.store().committed();
        let identity = committed.identity.as_ref().ok_or(StoreError::NotEnrolled)?;
        let policy = committed.policy.as_ref().ok_or(LedgerError::NoPolicy)?;
        if ask.currency != policy.policy.currency {
            let fault = format!("is {}; this group counts in {}", ask.currency, policy.policy.currency);
            return Err(Fault::new("currency", fault).into());
        }
        let Some(day) = day_of(&committed, identity, now) else { return Err(no_calendar().into()) };
        let frame = Frame { identity, policy, day, priced_at: now, has_items: committed.replica.items > 0 };
        let question = Question { member: ask.member, member_card: ask.member_card, sent: ask.into() };
        let (key, priced) =
            self.store().look(|tx| Ok::<_, StoreError>((quote_key(tx)?, price(tx, &frame, &question)?)))?;
        match priced {
            Ok(priced) => {
                let Priced { basket, lines, trace } = priced;
                let token = QuoteToken::new(&key, Asked::from(ask), policy.version, now, basket.total_minor);
                Ok(Quoted::Priced(Box::new(Quote {
                    quote: token.to_string(),
                    policy_version: policy.version,
                    expires_at_ms: expires_at(policy, now),
                    total_minor: basket.total_minor,
                    earns_points: earns_points(&basket)?,
                    lines,
                    trace,
                })))
            }
            Err(Decision::Declined(decline)) => Ok(Quoted::Declined(decline)),
            Err(Decision::Faulty(fault)) => Err(fault.into()),
            Err(Decision::AskHub(_) | Decision::Approved(_)) => {
                Err(StoreError::Rule { operation: "price a basket", fault: "it asks for more than a price".to_owned() }
                    .into())
            }
        }
    }

    /// Prices the basket of a sale, as its quote said where it has one. `None` when the store has no policy yet, or the sale was answered before: both the
    /// writer answers.
    pub(super) fn prepare(&self, call: &Call, request: &PostSale) -> Result<Option<Prepared>, StoreError> {
        let (now, operation) = (call.now, call.operation);
        let committed = self.store().committed();
        let (Some(identity), Some(in_force)) = (committed.identity.as_ref(), committed.policy.as_ref()) else {
            return Ok(None);
        };
        let refused =
            |decision| Prepared { day: committed.open_day, basket: Err(decision), explained: Default::default() };
        if let Err(fault) = request.check() {
            return Ok(Some(refused(Decision::Faulty(fault))));
        }
        let Some(day) = day_of(&committed, identity, now) else {
            return Ok(Some(refused(Decision::Faulty(no_calendar()))));
        };
        let has_items = committed.replica.items > 0;
        let question = Question { member: request.member, member_card: request.member_card, sent: request.into() };
        if let Some(taken_at) = request.taken_at_ms {
            let frame = Frame { identity, policy: in_force, day, priced_at: taken_at, has_items };
            let basket = self.store().look(|tx| {
                if operation::is_answered(tx, operation)? {
                    return Ok(None);
                }
                let known = known(tx, &frame, &question)?;
                let moment = (taken_at, identity.offset(taken_at));
                Ok::<_, StoreError>(Some(as_taken(
                    prices(in_force),
                    identity.store.id,
                    day,
                    moment,
                    question.sent,
                    known,
                )))
            })?;
            let prepared = |basket| Prepared { day: committed.open_day, basket, explained: Default::default() };
            return Ok(basket.map(prepared));
        }
        let token = match request.quote.as_deref().map(str::parse::<QuoteToken>).transpose() {
            Ok(token) => token,
            Err(why) => return Ok(Some(refused(Decision::Faulty(Fault::new("quote", format!("is not {why}")))))),
        };
        let (policy, priced_at) = match &token {
            None => (&**in_force, now),
            Some(token) => match still_good(&committed, identity, token, now) {
                Ok(policy) => (policy, token.priced_at),
                Err(code) => return Ok(Some(refused(Decision::Declined(Box::new(Decline::new(code)))))),
            },
        };
        let frame = Frame { identity, policy, day, priced_at, has_items };
        let priced = self.store().look(|tx| {
            // One look at an index that the writer will want in memory anyway: a repeated sale is not priced.
            if operation::is_answered(tx, operation)? {
                return Ok(None);
            }
            // Most sales are rung up without a quote: nothing is read for them that only a quote needs.
            let key = token.map(|_| quote_key(tx)).transpose()?;
            Ok::<_, StoreError>(Some((key, price(tx, &frame, &question)?)))
        })?;
        let Some((key, priced)) = priced else { return Ok(None) };
        if let (Some(token), Some(key)) = (token, key) {
            if !token.is_of(&key, Asked::from(request)) {
                let fault = "is not this store's quote for this basket; send back what was quoted, with the same lines, member, coupons and markdowns";
                return Ok(Some(refused(Decision::Faulty(Fault::new("quote", fault)))));
            }
            if priced.as_ref().is_ok_and(|priced| priced.basket.total_minor != token.total_minor) {
                return Ok(Some(refused(Decision::Declined(Box::new(Decline::new(DeclineCode::QuoteChanged))))));
            }
        }
        Ok(Some(match priced {
            Ok(Priced { basket, lines, trace }) => {
                Prepared { day: committed.open_day, basket: Ok(basket), explained: (lines, trace) }
            }
            Err(decision) => refused(decision),
        }))
    }
}

fn prices(policy: &PolicyInForce) -> Prices<'_> {
    Prices { policy: &policy.policy, version: policy.version, book: &policy.book }
}

fn expires_at(policy: &PolicyInForce, priced_at: Instant) -> Instant {
    priced_at.plus_ms(i64::from(policy.policy.pricing.quote_valid_minutes) * MINUTE_MS)
}

/// The policy of a quote that is still good, or why it is not.
fn still_good<'a>(
    committed: &'a Committed,
    identity: &Identity,
    token: &QuoteToken,
    now: Instant,
) -> Result<&'a PolicyInForce, DeclineCode> {
    let policy = committed.policy_of(token.policy_version).ok_or(DeclineCode::QuotePolicyNotHeld)?;
    if now >= expires_at(policy, token.priced_at) {
        return Err(DeclineCode::QuoteExpired);
    }
    // The entry records one offset, by which head office prices again: a quote does not outlive a change of the clocks.
    if identity.offset(now) != identity.offset(token.priced_at) {
        return Err(DeclineCode::QuoteClockChanged);
    }
    Ok(policy)
}

fn no_calendar() -> Fault {
    Fault::new(
        "business_day",
        "is not known: no day is open and the clock of this machine is outside the calendar; open a day",
    )
}

/// The open day; before one is open, the one that the clock would open.
fn day_of(committed: &Committed, identity: &Identity, now: Instant) -> Option<BusinessDay> {
    committed.open_day.or_else(|| identity.business_day(now))
}

fn price(tx: &ReadTx<'_>, frame: &Frame<'_>, question: &Question<'_>) -> Result<Result<Priced, Decision>, StoreError> {
    let known = known(tx, frame, question)?;
    let Frame { identity, policy, day, priced_at, .. } = *frame;
    let moment = (priced_at, identity.offset(priced_at));
    Ok(price_basket(prices(policy), identity.store.id, day, moment, question.sent, known))
}

/// Looks goods and member up.
fn known(tx: &ReadTx<'_>, frame: &Frame<'_>, question: &Question<'_>) -> Result<Known, StoreError> {
    let find = |line: &TillLine| if frame.has_items { item::find(tx, &line.sku) } else { Ok(None) };
    let items = question.sent.lines.iter().map(find).collect::<Result<_, _>>()?;
    let found = match (question.member, question.member_card) {
        (Some(id), _) => member::find(tx, id)?,
        (None, Some(number)) => member::find_by_card(tx, number)?,
        (None, None) => None,
    };
    let earner = match frame.policy.policy.points.earn {
        Some(_) => earner(tx, question.member_card, found.as_ref())?,
        None => None,
    };
    let shopper = match (found, question.member_card) {
        (Some(member), _) => member.active.then(|| Shopper {
            member: Some(member.id),
            tier: member.tier_on(frame.day),
            birthday_month: member.birthday_month_on(frame.day),
            segments: member.segments,
        }),
        // Who was enrolled here a moment ago has the member's prices, and no tier yet.
        (None, Some(number)) => draft::find_by_card(tx, number)?.map(|draft| Shopper {
            member: None,
            tier: None,
            birthday_month: draft.birthday.is_some_and(|birthday| birthday.month() == frame.day.date().month()),
            segments: Vec::new(),
        }),
        (None, None) => None,
    };
    let budgets_left = limits::budgets_left(tx, &frame.policy.policy, frame.identity.store.id)?;
    Ok(Known { items, shopper, earner, budgets_left })
}

/// Whose account earns: that of the card shown, else of the member's first card in use. A card that is not here, or not sold as far as this store knows, may
/// be somebody's all the same: head office will know.
fn earner(tx: &ReadTx<'_>, shown: Option<CardNumber>, member: Option<&Member>) -> Result<Option<Earner>, StoreError> {
    let in_use = |card: &huitong_protocol::card::Card| card.status == CardStatus::Active;
    if let Some(number) = shown {
        return Ok(match card::find(tx, number)? {
            Some(card) if in_use(&card) => Some(Earner::Here(card.number, card.account)),
            Some(card) if card.status != CardStatus::Blank => None,
            _ => Some(Earner::Deferred(number)),
        });
    }
    let Some(member) = member.filter(|member| member.active) else { return Ok(None) };
    Ok(member::cards(tx, member.id)?.into_iter().find(in_use).map(|card| Earner::Here(card.number, card.account)))
}

/// What a basket earns when all of it is paid with tenders that earn.
fn earns_points(basket: &PricedBasket) -> Result<Option<i64>, Fault> {
    let Some(terms) = &basket.terms else { return Ok(None) };
    let earning = basket.lines.iter().zip(&basket.earns_points).filter(|&(_, &earns)| earns);
    let base_minor = earning.map(|(line, _)| line.net_minor).sum();
    terms.points_of(base_minor).map(Some).map_err(|error| Fault::new("lines", error.to_string()))
}

fn quote_key(tx: &ReadTx<'_>) -> Result<QuoteKey, StoreError> {
    let bad = |fault: &str| StoreError::Value { table: "setting", column: "value", fault: fault.to_owned() };
    let hex = setting::get(tx, QUOTE_KEY)?.ok_or_else(|| bad("the key of quotes is missing"))?;
    let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).map_err(|_| bad("the key of quotes is no key"))?;
    bytes.try_into().map(QuoteKey).map_err(|_| bad("the key of quotes is no key"))
}
