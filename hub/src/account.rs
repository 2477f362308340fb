//! Account: what one holds, where it lies, and whose it is, as finance and the service desk read it.
//!
//! Two sources meet here: the reports of the stores (pool and counters, current within seconds) and the journals (movements, lots and home store,
//! complete when every store has uploaded). A difference between their balances is what has not arrived yet.

use huitong_protocol::allotment::{Fenced, Line, Pool, Purse, Receipts, StoreCounters, Suspense};
use huitong_protocol::card::Card;
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::party::Party;
use huitong_protocol::settlement::agreement::{Agreement, Agreements, Scheme};
use huitong_protocol::settlement::fold::{FoldError, Folder, fold};
use huitong_protocol::settlement::lot::{Lot, UnattributedDraw};
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;
use serde::Serialize;

use crate::publish;
use crate::refold::Refold;
use crate::store::account::history;
use crate::store::engine::{Row, StoreError, Tx};
use crate::store::{allotment, organisation, root};

/// Why an account cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Its movements do not fold.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One purse as the hub knows it from reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct PurseView {
    /// What it counts.
    pub unit: Unit,
    /// The hub's own counters.
    pub pool: Pool,
    /// What may be granted.
    pub free_minor: i64,
    /// Free, held by stores and waiting in suspense together.
    pub balance_minor: i64,
    /// What each store holds.
    pub stores: Vec<PurseAtStore>,
}

/// One purse at one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct PurseAtStore {
    /// The store.
    pub store: StoreId,
    /// The incarnation.
    pub epoch: Epoch,
    /// Granted by the hub so far.
    pub granted_minor: i64,
    /// The store's counters as last reported.
    pub seen: StoreCounters,
    /// What it may spend, grants on their way included. Nothing, once the epoch has ended.
    pub held_minor: i64,
    /// What waits for a decision, as the epoch has ended.
    pub suspense_minor: i64,
    /// What was paid back of it.
    pub repaid_minor: i64,
    /// What receipts prove of it that its journal has not brought.
    pub receipts: Receipts,
    /// When the store was last heard: what it did since then nobody knows.
    pub last_seen_ms: Option<Instant>,
}

/// An account in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct AccountView<C = Card> {
    /// Its number.
    pub account: AccountId,
    /// The cards that open it.
    pub cards: Vec<C>,
    /// Its money by the stores' reports: in the hub's pool and at the stores.
    pub balance_minor: i64,
    /// Its purses, from reports.
    pub purses: Vec<PurseView>,
    /// Its home store, from the journals.
    pub home: Party,
    /// Its balance from the journals.
    pub journal_balance_minor: i64,
    /// The principal in it.
    pub principal_minor: i64,
    /// The bonus in it.
    pub bonus_minor: i64,
    /// Its points from the journals.
    pub points: i64,
    /// Lots that still hold something.
    pub lots: Vec<Lot>,
    /// What was taken before its load arrived.
    pub unattributed: Vec<UnattributedDraw>,
}

impl AccountView {
    /// The same with its cards shown otherwise.
    pub fn with_cards<C>(self, shown: impl Fn(&Card) -> C) -> AccountView<C> {
        let Self {
            account,
            cards,
            balance_minor,
            purses,
            home,
            journal_balance_minor,
            principal_minor,
            bonus_minor,
            points,
            lots,
            unattributed,
        } = self;
        let cards = cards.iter().map(shown).collect();
        AccountView {
            account,
            cards,
            balance_minor,
            purses,
            home,
            journal_balance_minor,
            principal_minor,
            bonus_minor,
            points,
            lots,
            unattributed,
        }
    }
}

/// The terms to fold by: those published, or free ones until there are any. Lots depend on draw order and return rule alone.
///
/// # Errors
/// [`StoreError`].
pub fn terms(tx: &mut Tx<'_>) -> Result<Agreements, StoreError> {
    if let Some(agreements) = publish::agreements(tx)? {
        return Ok(agreements);
    }
    let currency = root::hub(tx)?.currency;
    let always = BusinessDay::of(jiff::civil::date(1970, 1, 1));
    Agreements::new(vec![Agreement::free_of_charge(always, Scheme::Pool, currency)])
        .map_err(|why| StoreError::Rule { operation: "fold by free terms", fault: why.to_string() })
}

/// An account in full, or nothing when no card opens it.
///
/// # Errors
/// [`AccountError`].
pub fn show(tx: &mut Tx<'_>, account: AccountId) -> Result<Option<AccountView>, AccountError> {
    let cards = organisation::cards_of(tx, account)?;
    if cards.is_empty() {
        return Ok(None);
    }
    let agreements = terms(tx)?;
    let folded = fold(Scheme::Pool, &agreements, &history(tx, account, i64::MAX)?)?;
    let purses = purses(tx, account)?;
    Ok(Some(AccountView {
        account,
        cards,
        balance_minor: purses.iter().filter(|purse| purse.unit != Unit::Points).map(|purse| purse.balance_minor).sum(),
        purses,
        home: folded.home,
        journal_balance_minor: folded.balance_minor,
        principal_minor: folded.principal_minor,
        bonus_minor: folded.bonus_minor,
        points: folded.points,
        lots: folded.lots.into_iter().filter(|lot| lot.remaining_minor > 0).collect(),
        unattributed: folded.unattributed,
    }))
}

fn read_line(row: &Row<'_>) -> Result<(Unit, PurseAtStore), StoreError> {
    let epoch = row.integer(2)?;
    let seen = StoreCounters {
        adopted_minor: row.integer(4)?,
        loaded_minor: row.integer(5)?,
        spent_minor: row.integer(6)?,
        released_minor: row.integer(7)?,
    };
    let line = Line { granted_minor: row.integer(3)?, seen };
    let receipts = Receipts { loaded_minor: row.integer(11)?, spent_minor: row.integer(12)? };
    let suspense = Suspense { repaid_minor: row.integer(9)?, receipts };
    let is_fenced = row.maybe_integer(8)?.is_some();
    let fenced = Fenced { pool: Pool::default(), line, suspense };
    Ok((
        row.parsed(0, "allotment", "unit")?,
        PurseAtStore {
            store: row.parsed(1, "allotment", "store_id")?,
            epoch: Epoch(u32::try_from(epoch).map_err(|why| StoreError::Value {
                table: "allotment",
                column: "epoch",
                row: epoch.to_string(),
                fault: why.to_string(),
            })?),
            granted_minor: line.granted_minor,
            seen,
            held_minor: if is_fenced { 0 } else { saturated(line.held()) },
            suspense_minor: if is_fenced { fenced.waiting_minor() } else { 0 },
            repaid_minor: suspense.repaid_minor,
            receipts,
            last_seen_ms: row.maybe_integer(10)?.map(Instant),
        },
    ))
}

fn saturated(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

/// The purses of an account, from reports.
///
/// # Errors
/// [`StoreError`].
pub fn purses(tx: &mut Tx<'_>, account: AccountId) -> Result<Vec<PurseView>, StoreError> {
    let lines = tx.query(
        "SELECT a.unit, a.store_id, a.epoch, a.granted_minor, a.adopted_minor, a.loaded_minor, a.spent_minor, a.released_minor, t.epoch,
         COALESCE(s.repaid_minor, 0), d.last_seen_ms, COALESCE(s.receipt_loaded_minor, 0), COALESCE(s.receipt_spent_minor, 0) FROM allotment a
         LEFT JOIN tenure t ON t.store_id = a.store_id AND t.epoch = a.epoch AND t.standing = 'fenced'
         LEFT JOIN suspense s ON s.account_id = a.account_id AND s.unit = a.unit AND s.store_id = a.store_id AND s.epoch = a.epoch
         LEFT JOIN device d ON d.store_id = a.store_id
         WHERE a.account_id = $1 ORDER BY a.unit, a.store_id, a.epoch",
        &[account.into()],
        read_line,
    )?;
    let mut units: Vec<Unit> = lines.iter().map(|(unit, _)| *unit).collect();
    units.extend(tx.query("SELECT unit FROM pool WHERE account_id = $1", &[account.into()], |row| {
        row.parsed::<Unit>(0, "pool", "unit")
    })?);
    units.sort_unstable();
    units.dedup();
    units
        .into_iter()
        .map(|unit| {
            let (pool, _) = allotment::pool(tx, Purse { account, unit })?;
            let stores: Vec<PurseAtStore> =
                lines.iter().filter(|(other, _)| *other == unit).map(|(_, line)| line.clone()).collect();
            let held: i128 =
                stores.iter().map(|line| i128::from(line.held_minor) + i128::from(line.suspense_minor)).sum();
            Ok(PurseView {
                unit,
                pool,
                free_minor: pool.free_minor(),
                balance_minor: saturated(pool.free() + held),
                stores,
            })
        })
        .collect()
}

/// One account's balance and lots, from the journals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Balance {
    /// The account.
    pub account: AccountId,
    /// Its home store.
    pub home: Party,
    /// Its money.
    pub balance_minor: i64,
    /// The principal in it.
    pub principal_minor: i64,
    /// The bonus in it.
    pub bonus_minor: i64,
    /// Its points.
    pub points: i64,
    /// What was taken before its load arrived.
    pub unattributed_minor: i64,
    /// All money lots, empty ones included, by number.
    pub lots: Vec<Lot>,
}

/// Hands out the balance of every account that ever moved, by number.
///
/// # Errors
/// [`AccountError`].
pub fn balances(tx: &mut Tx<'_>, mut each: impl FnMut(Balance)) -> Result<(), AccountError> {
    let agreements = terms(tx)?;
    let mut folder = Folder::new(Scheme::Pool, agreements);
    Refold::everything().run(tx, |_, account, history| {
        let folded = folder.fold_account(history, &mut |_| ())?;
        each(Balance {
            account,
            home: folded.home(),
            balance_minor: folded.balance_minor(),
            principal_minor: folded.principal_minor(),
            bonus_minor: folded.bonus_minor(),
            points: folded.points(),
            unattributed_minor: folded.unattributed().map(|draw| draw.amount_minor).sum(),
            lots: folded.lots().collect(),
        });
        Ok::<(), AccountError>(())
    })
}

/// The money lots of one account, empty ones included.
///
/// # Errors
/// [`AccountError`].
pub fn lots(tx: &mut Tx<'_>, account: AccountId) -> Result<Vec<Lot>, AccountError> {
    let agreements = terms(tx)?;
    Ok(fold(Scheme::Pool, &agreements, &history(tx, account, i64::MAX)?)?.lots)
}

/// The numbers of all cards with their accounts, by account and number: to name accounts as people know them.
///
/// # Errors
/// [`StoreError`].
pub fn card_numbers(tx: &mut Tx<'_>, mut each: impl FnMut(AccountId, &str)) -> Result<(), StoreError> {
    tx.for_each("SELECT account_id, number FROM card ORDER BY account_id, number", &[], |row| {
        let number = row.integer(0)?;
        let account = AccountId::new(number).map_err(|why| StoreError::Value {
            table: "card",
            column: "account_id",
            row: number.to_string(),
            fault: why.to_string(),
        })?;
        each(account, row.text(1)?);
        Ok(())
    })
}

/// What moved at a store on a business day, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct MovementTotal {
    /// The store, or the hub.
    pub store: StoreId,
    /// The business day.
    pub business_day: BusinessDay,
    /// What moved.
    pub unit: Unit,
    /// Why.
    pub kind: huitong_protocol::movement::MovementKind,
    /// How often.
    pub count: i64,
    /// How much.
    pub amount_minor: i64,
}

/// Totals of all movements per store, business day, unit and kind.
///
/// # Errors
/// [`StoreError`].
pub fn movement_totals(tx: &mut Tx<'_>) -> Result<Vec<MovementTotal>, StoreError> {
    tx.query(
        "SELECT store_id, business_day, unit, kind, COUNT(*), CAST(SUM(amount_minor) AS BIGINT) FROM movement
         GROUP BY store_id, business_day, unit, kind ORDER BY store_id, business_day, unit, kind",
        &[],
        |row| {
            Ok(MovementTotal {
                store: row.parsed(0, "movement", "store_id")?,
                business_day: row.parsed(1, "movement", "business_day")?,
                unit: row.parsed(2, "movement", "unit")?,
                kind: row.parsed(3, "movement", "kind")?,
                count: row.integer(4)?,
                amount_minor: row.integer(5)?,
            })
        },
    )
}
