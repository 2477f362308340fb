//! Scenarios: trading days in the words of a shopkeeper, read from `tests/scenarios/*.txt` and played in a [`Town`].
//!
//! One step a line; `#` starts a comment; several steps may share a line, split by `;`. What is expected stands at the end of a step: `approved` is
//! meant when nothing is said, else `refused CODE`. Amounts have two places. A line that cannot be read is named with its file and number.
//!
//! ```text
//! stores S1 S2                      cards C1@S1 C2@S2
//! policy release at_close park 0.00   ladder 1440:200.00 4320:50.00 10080:0.00
//! open S1 2026-11-22                close S1
//! S1 sell C1 100.00 [as R1]         S1 reload C1 50.00 [as R2]
//! S2 spend C1 30.00 as R1           S2 spend C1 999.00 refused insufficient
//! S2 void R1                        S2 return R1 0.50
//! S2 hold C1 30.00 as H1            S2 release H1
//! S2 capture C1 20.00 of H1         S2 capture C1 20.00 of H1 as R1
//! S1 refund C1 5.00                 S1 freeze C1
//! S1 quote TEA*2 COAT member C1 coupon SPRING26 costs 91.65 as Q1
//! S1 sale of Q1 paid card:C1 50.00 cash 41.65 as R2
//! S1 sale TEA paid wechat? 12.00 as R3
//! S1 payment R3 paid:4200001        S1 payment R3 failed
//! S1 offline TEA paid cash 12.00    S1 invoice R2 26440001
//! S1 return R2 1.00 line 1 red_letter 37.65
//! cut S1; join S1                   hold S1; let S1
//! backup S1; put_back S1            reboot S1
//! backup hub; put_back hub          put_back hub unsaid
//! waits S1-1 S2-1; waits nobody     heard S1; fetch S1
//! office store fence S1 --by li --note burnt         office suspense resolve S1-1 --repay --by li refused
//! wait 16                           points S1 C1 109
//! settle fifo 2026-11-22            settle fifo 2026-11-22 provisional
//! owes S1 S2 30.00                  net S1 -70.00; net partner:ACME -2.00
//! here S1 C1 70.00                  balance C1 70.00
//! look; exceptions unreferenced_return 1; exceptions any 1
//! verify
//! ```
//!
//! Goods, members, promotions and points of the town are in [`shelf`]'s words, baskets and payments in [`basket`]'s. A card belongs to a member when
//! it is written `C1@S1:M1`. `office` gives head office a command line of `huitong-hub`, in words without spaces; a
//! card's name stands for its number. `put_back hub` says `recover` before it
//! serves; `unsaid` means that nobody does, and that the recovery log is lost too. `wait` lets minutes pass; between two steps one passes anyway. `offline` posts a receipt that the till took on its own.

pub mod basket;
pub mod shelf;

use std::path::Path;

use anyhow::{Context, bail, ensure};
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::id::StoreId;
use huitong_protocol::party::Party;
use huitong_protocol::policy::Release;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::time::BusinessDay;

use self::basket::{Basket, Goods, Paid};

/// A step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The stores of the town.
    Stores(Vec<StoreId>),
    /// Blank cards.
    Cards(Vec<Card>),
    /// An item of the item master.
    Goods(shelf::Item),
    /// Members.
    Members(Vec<shelf::Member>),
    /// Chapters of the policy, as TOML: a promotion, the rules of points.
    Chapter(String),
    /// The policy's release rule and parked amount.
    Policy {
        /// When stores release.
        release: Release,
        /// What they keep.
        park_minor: i64,
    },
    /// The agreement's rates in parts per million.
    Agreement {
        /// The booked scheme.
        scheme: Scheme,
        /// On loads.
        commission_ppm: i64,
        /// On spends.
        fee_ppm: i64,
        /// Whether returns open a new lot at the taker.
        new_lot_here: bool,
    },
    /// A day opens.
    Open(StoreId, BusinessDay),
    /// The day closes and its journal goes up.
    Close(StoreId),
    /// An operation at a till.
    Till {
        /// Where.
        store: StoreId,
        /// What.
        act: Act,
        /// The refusal that is expected; none for approval.
        refused: Option<DeclineCode>,
    },
    /// Minutes pass.
    Wait(i64),
    /// The line is cut or joined.
    Cut(StoreId, bool),
    /// Segments and seals are held back, or let go.
    Hold(StoreId, bool),
    /// Something happens to a store's machine.
    Machine(StoreId, Mishap),
    /// Head office's database is kept as a backup.
    HubBackup,
    /// The backup is put back; whether head office is told so.
    HubPutBack(bool),
    /// The epochs that a restored head office still waits for.
    Waits(Vec<String>),
    /// A store has told head office everything.
    Heard(StoreId),
    /// A store fetches what head office has published.
    Fetch(StoreId),
    /// A command of head office.
    Office {
        /// Its words.
        words: Vec<String>,
        /// It is refused.
        refused: bool,
    },
    /// A settlement run.
    Settle {
        /// The scheme.
        scheme: Scheme,
        /// Through this day.
        day: BusinessDay,
        /// Late stores do not stop it.
        provisional: bool,
        /// Head office refuses it.
        refused: bool,
    },
    /// What one store owes another over all runs of the booked scheme.
    Owes(StoreId, StoreId, i64),
    /// A store's position over all runs: what it is owed less what it owes, fees and all.
    Net(Party, i64),
    /// What can be spent at a store.
    Here(StoreId, String, i64),
    /// The points that can be spent at a store.
    Points(StoreId, String, i64),
    /// The whole balance as the hub has it.
    Balance(String, i64),
    /// Head office looks for exceptions now.
    Look,
    /// How many open exceptions of a class there are, or of any.
    Exceptions(String, usize),
    /// Everything is proved.
    Verify,
}

/// What happens to a store's machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mishap {
    /// Nothing: its daemon is stopped for a backup of its database, and started again.
    Backup,
    /// The machine starts anew: what lay in its memory is gone.
    Reboot,
    /// The backup is put back.
    PutBack,
}

/// A blank card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Card {
    /// Its name in the scenario.
    pub name: String,
    /// The store that may sell it.
    pub store: StoreId,
    /// The member whom it belongs to, by name.
    pub member: Option<String>,
}

/// An operation at a till.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Sell a card.
    Sell(String, i64, Option<String>),
    /// Load it again.
    Reload(String, i64, Option<String>),
    /// Pay with it; the receipt gets a name.
    Spend {
        /// The card.
        card: String,
        /// How much.
        amount_minor: i64,
        /// The receipt's name, when it is needed later.
        receipt: Option<String>,
    },
    /// Set value of a card aside.
    Hold {
        /// The card.
        card: String,
        /// How much.
        amount_minor: i64,
        /// For how long; an hour when nothing is said.
        minutes: u32,
        /// The hold's name, when it is needed later.
        name: Option<String>,
    },
    /// Release a hold by its name.
    Release(String),
    /// Pay with a hold.
    Capture {
        /// The card.
        card: String,
        /// How much.
        amount_minor: i64,
        /// The hold's name.
        hold: String,
        /// The receipt's name, when it is needed later.
        receipt: Option<String>,
    },
    /// Undo an operation by its name.
    Void(String),
    /// Return part of a line of a receipt.
    Return {
        /// The receipt's name.
        receipt: String,
        /// The line, from 0.
        line: u16,
        /// How much.
        quantity_thousandths: i64,
        /// By how much a red-letter invoice must lower the receipt's; none when it has none.
        red_letter_minor: Option<i64>,
    },
    /// Ask what a basket costs.
    Quote {
        /// The basket.
        basket: Basket,
        /// What it must cost; none when it is refused.
        costs_minor: Option<i64>,
        /// The quote's name, when it is sold later.
        name: Option<String>,
    },
    /// Sell a basket.
    Sale {
        /// What.
        goods: Goods,
        /// How it is paid.
        paid: Vec<Paid>,
        /// Whether the till took it on its own, while the edge was down.
        offline: bool,
        /// The receipt's name, when it is needed later.
        receipt: Option<String>,
    },
    /// Say what became of an unknown payment.
    Payment {
        /// The receipt's name.
        receipt: String,
        /// Whether the money came.
        paid: bool,
        /// The reference outside.
        reference: Option<String>,
    },
    /// Register a tax invoice over a receipt.
    Invoice {
        /// The receipt's name.
        receipt: String,
        /// The invoice's number.
        number: String,
    },
    /// Return without receipt.
    Refund(String, i64),
    /// Freeze a card.
    Freeze(String),
}

/// A step with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// The line, from 1.
    pub line: usize,
    /// The step as written.
    pub text: String,
    /// What it says.
    pub step: Step,
}

/// Reads a scenario.
///
/// # Errors
/// Names the line and what is wrong in it.
pub fn read(path: &Path) -> anyhow::Result<Vec<Placed>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

/// Reads a scenario's text.
///
/// # Errors
/// Names the line and what is wrong in it.
pub fn parse(text: &str) -> anyhow::Result<Vec<Placed>> {
    let mut steps = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("");
        for text in line.split(';').map(str::trim).filter(|text| !text.is_empty()) {
            let step = step(text).with_context(|| format!("line {}: {text}", index + 1))?;
            steps.push(Placed { line: index + 1, text: text.to_owned(), step });
        }
    }
    ensure!(!steps.is_empty(), "there are no steps");
    Ok(steps)
}

/// A party: a store by its code, anybody else in full.
fn party(word: &str) -> anyhow::Result<Party> {
    word.parse().or_else(|_| Ok(Party::Store(word.parse()?)))
}

/// An amount with two places, exactly.
fn amount(text: &str) -> anyhow::Result<i64> {
    let form = || format!("{text} is not an amount with two places, like 30.00");
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, cents) = digits.split_once('.').with_context(form)?;
    ensure!(cents.len() == 2, form());
    Ok(sign * (whole.parse::<i64>().with_context(form)? * 100 + cents.parse::<i64>().with_context(form)?))
}

/// A percentage as parts per million: `0.60%`, `5%`.
fn ppm(text: &str) -> anyhow::Result<i64> {
    let form = || format!("{text} is not a percentage, like 0.60% or 5%");
    let percent = text.strip_suffix('%').with_context(form)?;
    if percent.contains('.') {
        return Ok(amount(percent).with_context(form)? * 100);
    }
    Ok(percent.parse::<i64>().with_context(form)? * 10_000)
}

fn code(text: &str) -> anyhow::Result<DeclineCode> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .with_context(|| format!("{text} is not a decline code"))
}

fn step(text: &str) -> anyhow::Result<Step> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["stores", stores @ ..] => {
            Step::Stores(stores.iter().map(|store| Ok(store.parse()?)).collect::<anyhow::Result<_>>()?)
        }
        ["cards", cards @ ..] => Step::Cards(
            cards
                .iter()
                .map(|card| {
                    let (name, place) =
                        card.split_once('@').context("a card is written NAME@STORE or NAME@STORE:MEMBER")?;
                    let (store, member) = match place.split_once(':') {
                        None => (place, None),
                        Some((store, member)) => (store, Some(member.to_owned())),
                    };
                    Ok(Card { name: name.to_owned(), store: store.parse()?, member })
                })
                .collect::<anyhow::Result<_>>()?,
        ),
        ["goods", words @ ..] => Step::Goods(shelf::item(words)?),
        ["members", words @ ..] => Step::Members(shelf::members(words)),
        ["promotion", words @ ..] => Step::Chapter(shelf::promotion(words)?),
        ["ladder", rungs @ ..] => Step::Chapter(shelf::ladder(rungs)?),
        ["points", "per", ..] => Step::Chapter(shelf::points(&words[1..])?),
        ["points", store, card, held] => Step::Points(
            store.parse()?,
            (*card).to_owned(),
            held.parse().with_context(|| format!("{held} is no number of points"))?,
        ),
        ["wait", minutes] => Step::Wait(minutes.parse().with_context(|| format!("{minutes} is no number of minutes"))?),
        ["policy", "release", rule, "park", park] => Step::Policy {
            release: match *rule {
                "at_once" => Release::AtOnce,
                "at_close" => Release::AtClose,
                other => Release::WhenIdle {
                    minutes: other
                        .strip_prefix("when_idle:")
                        .and_then(|minutes| minutes.parse().ok())
                        .context("a release is at_once, when_idle:MINUTES or at_close")?,
                },
            },
            park_minor: amount(park)?,
        },
        ["agreement", scheme, "commission", commission, "fee", fee, returns @ ..] => Step::Agreement {
            scheme: scheme.parse()?,
            commission_ppm: ppm(commission)?,
            fee_ppm: ppm(fee)?,
            new_lot_here: match returns {
                [] | ["returns", "restore"] => false,
                ["returns", "new_lot_here"] => true,
                _ => bail!("returns are restore or new_lot_here"),
            },
        },
        ["open", store, day] => Step::Open(store.parse()?, day.parse()?),
        ["close", store] => Step::Close(store.parse()?),
        ["cut", store] => Step::Cut(store.parse()?, true),
        ["join", store] => Step::Cut(store.parse()?, false),
        ["hold", store] => Step::Hold(store.parse()?, true),
        ["let", store] => Step::Hold(store.parse()?, false),
        ["backup", "hub"] => Step::HubBackup,
        ["put_back", "hub"] => Step::HubPutBack(true),
        ["put_back", "hub", "unsaid"] => Step::HubPutBack(false),
        ["waits", "nobody"] => Step::Waits(Vec::new()),
        ["waits", epochs @ ..] => Step::Waits(epochs.iter().map(|&epoch| epoch.to_owned()).collect()),
        ["heard", store] => Step::Heard(store.parse()?),
        ["fetch", store] => Step::Fetch(store.parse()?),
        ["office", words @ .., "refused"] => office(words, true)?,
        ["office", words @ ..] => office(words, false)?,
        ["backup", store] => Step::Machine(store.parse()?, Mishap::Backup),
        ["reboot", store] => Step::Machine(store.parse()?, Mishap::Reboot),
        ["put_back", store] => Step::Machine(store.parse()?, Mishap::PutBack),
        ["settle", scheme, day, how @ ..] => Step::Settle {
            scheme: scheme.parse()?,
            day: day.parse()?,
            provisional: how.contains(&"provisional"),
            refused: how.contains(&"refused"),
        },
        ["owes", debtor, creditor, owed] => Step::Owes(debtor.parse()?, creditor.parse()?, amount(owed)?),
        ["net", who, net] => Step::Net(party(who)?, amount(net)?),
        ["here", store, card, held] => Step::Here(store.parse()?, (*card).to_owned(), amount(held)?),
        ["balance", card, balance] => Step::Balance((*card).to_owned(), amount(balance)?),
        ["look"] => Step::Look,
        ["exceptions", class, count] => Step::Exceptions((*class).to_owned(), count.parse()?),
        ["verify"] => Step::Verify,
        [store, act @ .., "refused", refusal] => till(store, act, Some(code(refusal)?))?,
        [store, act @ .., "approved"] => till(store, act, None)?,
        [store, act @ ..] => till(store, act, None)?,
        [] => bail!("is empty"),
    })
}

fn office(words: &[&str], refused: bool) -> anyhow::Result<Step> {
    ensure!(!words.is_empty(), "a command of head office is written: office WORDS [refused]");
    Ok(Step::Office { words: words.iter().map(|&word| word.to_owned()).collect(), refused })
}

fn till(store: &str, words: &[&str], refused: Option<DeclineCode>) -> anyhow::Result<Step> {
    let store = store.parse()?;
    let act = match words {
        ["sell", card, paid] => Act::Sell((*card).to_owned(), amount(paid)?, None),
        ["sell", card, paid, "as", name] => Act::Sell((*card).to_owned(), amount(paid)?, Some((*name).to_owned())),
        ["reload", card, paid] => Act::Reload((*card).to_owned(), amount(paid)?, None),
        ["reload", card, paid, "as", name] => Act::Reload((*card).to_owned(), amount(paid)?, Some((*name).to_owned())),
        ["spend", card, paid] => Act::Spend { card: (*card).to_owned(), amount_minor: amount(paid)?, receipt: None },
        ["spend", card, paid, "as", name] => {
            Act::Spend { card: (*card).to_owned(), amount_minor: amount(paid)?, receipt: Some((*name).to_owned()) }
        }
        ["hold", card, value, name @ ..] => {
            let (span, name) = named(name);
            let minutes = match span {
                [] => 60,
                ["for", minutes] => minutes.parse().with_context(|| format!("{minutes} is no number of minutes"))?,
                _ => bail!("a hold is written: hold CARD AMOUNT [for MINUTES] [as NAME]"),
            };
            Act::Hold { card: (*card).to_owned(), amount_minor: amount(value)?, minutes, name }
        }
        ["release", name] => Act::Release((*name).to_owned()),
        ["capture", card, paid, "of", hold, name @ ..] => {
            let ([], receipt) = named(name) else {
                bail!("a capture is written: capture CARD AMOUNT of HOLD [as NAME]")
            };
            let (card, hold) = ((*card).to_owned(), (*hold).to_owned());
            Act::Capture { card, amount_minor: amount(paid)?, hold, receipt }
        }
        ["void", name] => Act::Void((*name).to_owned()),
        ["return", name, quantity, rest @ ..] => {
            let (line, rest) = match rest {
                ["line", line, rest @ ..] => (line.parse().with_context(|| format!("{line} is no line"))?, rest),
                rest => (0, rest),
            };
            let red_letter_minor = match rest {
                [] => None,
                ["red_letter", value] => Some(amount(value)?),
                _ => bail!("a return is written: return NAME QUANTITY [line LINE] [red_letter AMOUNT]"),
            };
            let quantity_thousandths = amount(quantity)? * 10;
            Act::Return { receipt: (*name).to_owned(), line, quantity_thousandths, red_letter_minor }
        }
        ["quote", words @ ..] => {
            let (words, name) = named(words);
            let (words, costs_minor) = match words {
                [words @ .., "costs", price] => (words, Some(amount(price)?)),
                words => (words, None),
            };
            ensure!(costs_minor.is_some() != refused.is_some(), "a quote costs something, or is refused");
            Act::Quote { basket: basket::basket(words)?, costs_minor, name }
        }
        [how @ ("sale" | "offline"), words @ ..] => {
            let (words, receipt) = named(words);
            let at = words.iter().position(|&word| word == "paid").context("how is it paid?")?;
            let (goods, paid) = (basket::goods(&words[..at])?, basket::paid(&words[at + 1..])?);
            Act::Sale { goods, paid, offline: *how == "offline", receipt }
        }
        ["payment", name, outcome] => {
            let (outcome, reference) = match outcome.split_once(':') {
                None => (*outcome, None),
                Some((outcome, reference)) => (outcome, Some(reference.to_owned())),
            };
            let paid = match outcome {
                "paid" => true,
                "failed" => false,
                _ => bail!("a payment is paid, paid:REFERENCE or failed"),
            };
            Act::Payment { receipt: (*name).to_owned(), paid, reference }
        }
        ["invoice", name, number] => Act::Invoice { receipt: (*name).to_owned(), number: (*number).to_owned() },
        ["refund", card, value] => Act::Refund((*card).to_owned(), amount(value)?),
        ["freeze", card] => Act::Freeze((*card).to_owned()),
        _ => bail!("is no step; the head of tests/src/scenario.rs lists them"),
    };
    Ok(Step::Till { store, act, refused })
}

/// The words before `as NAME`, and the name.
fn named<'w>(words: &'w [&'w str]) -> (&'w [&'w str], Option<String>) {
    match words {
        [words @ .., "as", name] => (words, Some((*name).to_owned())),
        words => (words, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_read() {
        let steps =
            parse("stores S1 S2 # two\nS2 spend C1 30.00 as R1; S2 spend C1 999.00 refused insufficient").unwrap();
        assert_eq!(steps.len(), 3);
        assert_eq!(steps[2].line, 2);
        let Step::Till { act, refused, .. } = &steps[2].step else { panic!("a till") };
        assert_eq!(
            (act, refused),
            (
                &Act::Spend { card: "C1".to_owned(), amount_minor: 99_900, receipt: None },
                &Some(DeclineCode::Insufficient)
            )
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let check = |text: &str, says: &str| {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(says), "{error}");
        };
        check("", "no steps");
        check("S1 sell C1 100", "line 1: S1 sell C1 100");
        check("\nS1 dance", "line 2: S1 dance");
        check("S1 quote TEA as Q1", "a quote costs something");
        check("S1 sale TEA as R1", "how is it paid?");
        check("S1 payment R1 perhaps", "paid, paid:REFERENCE or failed");
        check("S1 spend C1 1.00 refused because", "because is not a decline code");
        check("policy release sometimes park 0.00", "at_once, when_idle:MINUTES or at_close");
    }
}
