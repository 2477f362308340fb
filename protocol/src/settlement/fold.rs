//! The fold: one account's history, in the total order, into legs and lots.
//!
//! A [`Folder`] keeps its working memory from account to account; the hub streams millions of movements through one. What a movement means for
//! lots is in `lot`, who owes whom because value moved is in the file of the scheme, and fees are here, alike in all schemes.
//!
//! Invariant, checked after every account: lots less what is unattributed equal the sum of the movements.

use crate::id::AccountId;
use crate::money::{Currency, Ppm, Rounding, reversal, share};
use crate::movement::{Direction, MovementKind, PostedMovement};
use crate::party::Party;
use crate::settlement::agreement::{Agreement, Agreements, ReturnLots, Scheme};
use crate::settlement::leg::{Leg, LegBook, LegKind};
use crate::settlement::lot::{Attribution, Lot, LotBook, LotKind, Plan, UnattributedDraw};
use crate::settlement::{fifo, home, pool, store_party};
use crate::time::BusinessDay;
use crate::unit::Unit;

/// What may pass through one account and unit in its life, so that no sum of a fold, points at their dearest included, leaves 64 bits.
pub const ACCOUNT_VOLUME_MINOR_MAX: i64 = i64::MAX / 10_000;

/// What a caller handed over is no history of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A movement does not come after the one before it in the total order.
    #[error("movement {index} of account {account} does not follow the one before it in the total order")]
    Order {
        /// The account.
        account: AccountId,
        /// Index in the history, from 0.
        index: usize,
    },
    /// A movement of another account.
    #[error("movement {index} belongs to account {found}, the history to account {account}")]
    Account {
        /// The account of the history's first movement.
        account: AccountId,
        /// The other account.
        found: AccountId,
        /// Index in the history, from 0.
        index: usize,
    },
    /// Money of another currency than the agreement's.
    #[error("movement {index} of account {account} is in {found}, but the agreement settles {expected}")]
    Currency {
        /// The account.
        account: AccountId,
        /// Index in the history, from 0.
        index: usize,
        /// The movement's currency.
        found: Currency,
        /// The agreement's currency.
        expected: Currency,
    },
    /// A negative amount, or more than [`ACCOUNT_VOLUME_MINOR_MAX`] in all.
    #[error(
        "movement {index} of account {account} has the amount {amount_minor}, which is negative or makes the account's volume too large"
    )]
    Amount {
        /// The account.
        account: AccountId,
        /// Index in the history, from 0.
        index: usize,
        /// The amount.
        amount_minor: i64,
    },
    /// The lots do not add up to the movements: a fault of this program.
    #[error("the lots of account {account} come to {lots_minor} {unit}, its movements to {movements_minor}")]
    Unbalanced {
        /// The account.
        account: AccountId,
        /// The unit.
        unit: Unit,
        /// Σ remaining − unattributed.
        lots_minor: i64,
        /// Σ in − Σ out.
        movements_minor: i64,
    },
}

/// Folds accounts under one scheme and agreement.
#[derive(Debug)]
pub struct Folder {
    scheme: Scheme,
    agreements: Agreements,
    money: LotBook,
    points: LotBook,
    legs: LegBook,
}

/// What became of an account beside its legs. Borrows the folder's memory until the next account.
#[derive(Debug)]
pub struct Folded<'a> {
    folder: &'a Folder,
    history: &'a [PostedMovement],
    home: Party,
}

/// The fold of one account, owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountFold {
    /// Cumulative legs, sorted by key.
    pub legs: Vec<Leg>,
    /// Money lots in the order of their numbers, empty ones included.
    pub lots: Vec<Lot>,
    /// Points lots likewise.
    pub points_lots: Vec<Lot>,
    /// The balance in minor units: principal and bonus less what is unattributed.
    pub balance_minor: i64,
    /// The principal held.
    pub principal_minor: i64,
    /// The bonus held.
    pub bonus_minor: i64,
    /// The points held; below zero when more were taken than are known.
    pub points: i64,
    /// Money taken that no lot stands for yet, oldest first.
    pub unattributed: Vec<UnattributedDraw>,
    /// The home store (or the hub); unattributed while the card's sale is missing.
    pub home: Party,
}

/// Folds one account with memory of its own. For many, keep a [`Folder`].
///
/// # Errors
/// As [`Folder::fold_account`].
pub fn fold(scheme: Scheme, agreements: &Agreements, history: &[PostedMovement]) -> Result<AccountFold, FoldError> {
    let mut legs = Vec::new();
    let mut folder = Folder::new(scheme, agreements.clone());
    let folded = folder.fold_account(history, &mut |leg| legs.push(leg))?;
    Ok(AccountFold {
        lots: folded.lots().collect(),
        points_lots: folded.points_lots().collect(),
        balance_minor: folded.balance_minor(),
        principal_minor: folded.principal_minor(),
        bonus_minor: folded.bonus_minor(),
        points: folded.points(),
        unattributed: folded.unattributed().collect(),
        home: folded.home(),
        legs,
    })
}

impl Folder {
    /// A folder. Its currency is that of the agreement.
    #[must_use]
    pub fn new(scheme: Scheme, agreements: Agreements) -> Self {
        Self { scheme, agreements, money: LotBook::default(), points: LotBook::default(), legs: LegBook::default() }
    }

    /// Folds one account's whole history, sorted by [`PostedMovement::order_key`], and hands its cumulative legs to `sink` in the order of their keys.
    /// After an error nothing was handed out.
    ///
    /// # Errors
    /// [`FoldError`] when the history is not one; nothing that tills can have written is refused.
    pub fn fold_account<'a>(
        &'a mut self,
        history: &'a [PostedMovement],
        sink: &mut impl FnMut(Leg),
    ) -> Result<Folded<'a>, FoldError> {
        self.money.clear();
        self.points.clear();
        self.legs.clear();
        let home = if self.scheme == Scheme::Home { home::home(history) } else { Party::Unattributed };
        if let Some(first) = history.first() {
            let mut account = Account {
                id: first.account,
                scheme: self.scheme,
                agreements: &self.agreements,
                currency: self.agreements.currency(),
                home,
                history,
                legs: &mut self.legs,
            };
            account.fold(&mut self.money, &mut self.points)?;
            self.legs.drain(sink);
        }
        Ok(Folded { folder: self, history, home })
    }
}

impl Folded<'_> {
    /// Money lots in the order of their numbers, empty ones included.
    pub fn lots(&self) -> impl Iterator<Item = Lot> + '_ {
        self.folder.money.lots(self.history)
    }

    /// Points lots likewise.
    pub fn points_lots(&self) -> impl Iterator<Item = Lot> + '_ {
        self.folder.points.lots(self.history)
    }

    /// The balance in minor units: principal and bonus less what is unattributed.
    #[must_use]
    pub fn balance_minor(&self) -> i64 {
        self.folder.money.balance()
    }

    /// The principal held, in minor units.
    #[must_use]
    pub fn principal_minor(&self) -> i64 {
        self.folder.money.held(LotKind::Principal)
    }

    /// The bonus held, in minor units.
    #[must_use]
    pub fn bonus_minor(&self) -> i64 {
        self.folder.money.held(LotKind::Bonus)
    }

    /// The points held; below zero when more were taken than are known.
    #[must_use]
    pub fn points(&self) -> i64 {
        self.folder.points.balance()
    }

    /// Money taken that no lot stands for yet, oldest first.
    pub fn unattributed(&self) -> impl Iterator<Item = UnattributedDraw> + '_ {
        self.folder.money.unattributed(self.history)
    }

    /// The home store (or the hub); unattributed while the card's sale is missing.
    #[must_use]
    pub fn home(&self) -> Party {
        if self.folder.scheme == Scheme::Home { self.home } else { home::home(self.history) }
    }
}

/// The share of an amount at a rate, half-up. Without 128-bit division where 64 bits do, as it is taken once or twice per movement.
fn fee(amount: i64, rate: Ppm) -> i64 {
    if rate == Ppm(0) || amount == 0 {
        return 0;
    }
    match amount.checked_mul(rate.0).and_then(|product| product.checked_add(Ppm::ONE.0 / 2)) {
        Some(product) => product / Ppm::ONE.0,
        None => share(amount, rate, Rounding::HalfUp).expect("rates and volume are bounded so that a share fits"),
    }
}

/// One account while it is folded.
struct Account<'a> {
    id: AccountId,
    scheme: Scheme,
    agreements: &'a Agreements,
    currency: Currency,
    home: Party,
    history: &'a [PostedMovement],
    legs: &'a mut LegBook,
}

impl Account<'_> {
    fn fold(&mut self, money: &mut LotBook, points: &mut LotBook) -> Result<(), FoldError> {
        let (mut money_total, mut points_total) = (Total::default(), Total::default());
        for (index, movement) in self.history.iter().enumerate() {
            let account = self.id;
            if movement.account != account {
                return Err(FoldError::Account { account, found: movement.account, index });
            }
            let number = match u32::try_from(index) {
                Ok(number) if index == 0 || self.history[index - 1].order_key() < movement.order_key() => number,
                _ => return Err(FoldError::Order { account, index }),
            };
            let total = match movement.unit {
                Unit::Points => &mut points_total,
                Unit::Money(found) if found == self.currency => &mut money_total,
                Unit::Money(found) => {
                    return Err(FoldError::Currency { account, index, found, expected: self.currency });
                }
            };
            if !total.add(movement) {
                return Err(FoldError::Amount { account, index, amount_minor: movement.amount_minor });
            }
            if movement.amount_minor == 0 {
                continue;
            }
            match movement.unit {
                Unit::Money(_) => self.money(money, number, movement),
                Unit::Points => self.points(points, number, movement),
            }
        }
        self.leave_unattributed(money, points);
        for (book, total, unit) in
            [(&*money, money_total, Unit::Money(self.currency)), (&*points, points_total, Unit::Points)]
        {
            if book.balance() != total.balance {
                let (lots_minor, movements_minor) = (book.balance(), total.balance);
                return Err(FoldError::Unbalanced { account: self.id, unit, lots_minor, movements_minor });
            }
        }
        Ok(())
    }

    fn money(&mut self, book: &mut LotBook, number: u32, movement: &PostedMovement) {
        use MovementKind as K;
        let (day, amount) = (movement.business_day, movement.amount_minor);
        let agreement = *self.agreements.at(day);
        let here = store_party(movement.entry.store);
        match movement.kind {
            K::CardSale | K::Reload => {
                let rate = agreement.load_commission_ppm;
                self.new_lot(book, number, LotKind::Principal, here, rate);
                self.entered(LegKind::Load, here, day, amount);
                self.leg(LegKind::Commission, Party::Hub, here, day, fee(amount, rate));
            }
            K::Bonus => {
                let rate = agreement.bonus_hub_share_ppm;
                self.new_lot(book, number, LotKind::Bonus, here, rate);
                self.entered(LegKind::Bonus, Party::Hub, day, amount);
                self.leg(LegKind::BonusShare, here, Party::Hub, day, amount - fee(amount, rate));
            }
            K::Opening => {
                let owner = movement.origin_store.map_or(Party::Hub, store_party);
                self.new_lot(book, number, LotKind::Principal, owner, Ppm(0));
            }
            K::AdjustIn | K::Earn | K::BurnReversal => {
                self.new_lot(book, number, LotKind::Principal, Party::Hub, Ppm(0));
                self.entered(LegKind::AdjustIn, Party::Hub, day, amount);
            }
            K::SuspenseRepaid => {
                self.new_lot(book, number, LotKind::Principal, Party::Risk, Ppm(0));
                // The risk account owes for what is drawn from it, not for what it may lose.
                if self.id != AccountId::RISK {
                    self.entered(LegKind::SuspenseRepaid, Party::Risk, day, amount);
                }
            }
            K::RiskBudget | K::OverdraftRecovered | K::OverdraftWrittenOff => {
                self.new_lot(book, number, LotKind::Principal, Party::Risk, Ppm(0));
            }
            K::RiskBudgetCut | K::OverdraftReleased | K::OverdraftLost => {
                book.draw(number, amount, Plan::Order(agreement.draw_order), None);
                self.attribute(book);
            }
            K::Overdraft => {
                book.draw(number, amount, Plan::Order(agreement.draw_order), None);
                self.leg(LegKind::Overdraft, Party::Risk, here, day, amount);
                self.leg(LegKind::Fee, here, Party::Hub, day, fee(amount, agreement.acceptance_fee_ppm));
                self.attribute(book);
            }
            K::OverdraftBack => self.give_back_overdraft(book, number, movement),
            K::OverdraftCollected => {
                book.draw(number, amount, Plan::Order(agreement.draw_order), None);
                self.left(LegKind::OverdraftCollected, Party::Risk, day, amount);
                self.attribute(book);
            }
            K::OverdraftReturned => {
                self.new_lot(book, number, LotKind::Principal, Party::Risk, Ppm(0));
                self.entered(LegKind::OverdraftReturned, Party::Risk, day, amount);
            }
            K::SpendVoid | K::SpendReturn | K::UnreferencedReturn => self.give_back(book, number, movement, &agreement),
            K::Spend => {
                book.draw(number, amount, Plan::Order(agreement.draw_order), None);
                self.left(LegKind::Spend, here, day, amount);
                self.leg(LegKind::Fee, here, Party::Hub, day, fee(amount, agreement.acceptance_fee_ppm));
                self.attribute(book);
            }
            K::CashOut | K::LoadVoid | K::BonusForfeit | K::BonusVoid => {
                let first =
                    if matches!(movement.kind, K::CashOut | K::LoadVoid) { LotKind::Principal } else { LotKind::Bonus };
                let named = movement.of.and_then(|of| book.lot_of(self.history, of));
                book.draw(number, amount, Plan::First(first), named);
                let (kind, taker) = out(movement);
                self.left(kind, taker, day, amount);
                self.attribute(book);
            }
            K::AdjustOut | K::Expire | K::Burn | K::EarnReversal => {
                book.draw(number, amount, Plan::Order(agreement.draw_order), None);
                self.left(LegKind::AdjustOut, Party::Hub, day, amount);
                self.attribute(book);
            }
        }
    }

    /// A void or return of a spend, or a return without one.
    fn give_back(&mut self, book: &mut LotBook, number: u32, movement: &PostedMovement, agreement: &Agreement) {
        let (day, amount) = (movement.business_day, movement.amount_minor);
        let taker = store_party(movement.entry.store);
        let restores = match movement.kind {
            MovementKind::SpendVoid => true,
            MovementKind::SpendReturn => agreement.return_lots == ReturnLots::Restore,
            _ => false,
        };
        let Some(of) = movement.of.filter(|_| restores) else {
            self.new_lot(book, number, LotKind::Principal, taker, Ppm(0));
            return self.entered(LegKind::Return, taker, day, amount);
        };
        let seller = store_party(of.entry.store);
        let kind = match movement.kind {
            MovementKind::SpendVoid => LegKind::SpendVoid,
            _ if seller == taker => LegKind::Return,
            _ => LegKind::AgentReturn,
        };
        self.entered(kind, seller, day, amount);
        if kind == LegKind::AgentReturn {
            self.leg(LegKind::AgentGoods, taker, taker, day, amount);
        }
        let mut restored = 0;
        if let Some(draw) = book.draw_of(self.history, of, MovementKind::Spend) {
            let before = book.draws[draw as usize];
            restored = book.restore(draw, amount);
            for place in 0..book.restorations.len() {
                let restoration = book.restorations[place];
                let backer = restoration.lot.map_or(Party::Unattributed, |lot| {
                    let lot = &book.lots[lot as usize];
                    fifo::backer(lot.kind, lot.owner)
                });
                self.put_back(kind, seller, backer, day, restoration.amount);
            }
            let rate = self.agreements.at(self.history[before.movement as usize].business_day).acceptance_fee_ppm;
            let fee_back = fee(before.restored + restored, rate) - fee(before.restored, rate);
            self.leg(LegKind::FeeReversal, Party::Hub, seller, day, fee_back);
        }
        if amount > restored {
            // The spend is missing, or was smaller: whose value this is will be known when it arrives.
            self.put_back(kind, seller, Party::Unattributed, day, amount - restored);
            book.open(number, LotKind::Principal, Party::Unattributed, amount - restored, Ppm(0));
        }
        self.attribute(book);
    }

    /// Goods that were paid by overdraft came back: the store that sold them owes the risk account again what it got, and gets its fee back.
    fn give_back_overdraft(&mut self, book: &mut LotBook, number: u32, movement: &PostedMovement) {
        let (day, amount) = (movement.business_day, movement.amount_minor);
        let seller = store_party(movement.of.map_or(movement.entry.store, |of| of.entry.store));
        self.leg(LegKind::OverdraftBack, seller, Party::Risk, day, amount);
        let mut restored = 0;
        if let Some(draw) = movement.of.and_then(|of| book.draw_of(self.history, of, MovementKind::Overdraft)) {
            let before = book.draws[draw as usize];
            restored = book.restore(draw, amount);
            let rate = self.agreements.at(self.history[before.movement as usize].business_day).acceptance_fee_ppm;
            let fee_back = fee(before.restored + restored, rate) - fee(before.restored, rate);
            self.leg(LegKind::FeeReversal, Party::Hub, seller, day, fee_back);
        }
        if amount > restored {
            book.open(number, LotKind::Principal, Party::Risk, amount - restored, Ppm(0));
        }
        self.attribute(book);
    }

    fn new_lot(&mut self, book: &mut LotBook, number: u32, kind: LotKind, owner: Party, rate: Ppm) {
        let amount = self.history[number as usize].amount_minor;
        book.open(number, kind, owner, amount, rate);
        self.attribute(book);
    }

    /// Makes the legs of money that found its lot: who owes the taker, and which fees on the lot go back.
    fn attribute(&mut self, book: &mut LotBook) {
        for place in 0..book.attributions.len() {
            let Attribution { part, lot, amount } = book.attributions[place];
            let movement = &self.history[book.draws[book.parts[part as usize].draw as usize].movement as usize];
            let (kind, taker) = out(movement);
            let day = movement.business_day;
            let lot = &mut book.lots[lot as usize];
            let owner = lot.owner;
            if self.scheme == Scheme::Fifo
                && !movement.kind.is_of_risk_account()
                && let Some((debtor, creditor)) = fifo::left(fifo::backer(lot.kind, owner), taker)
            {
                self.leg(kind, debtor, creditor, day, amount);
            }
            match (movement.kind, lot.kind) {
                (MovementKind::CashOut | MovementKind::LoadVoid, LotKind::Principal) => {
                    lot.refunded += amount;
                    let back = fee(lot.refunded, lot.rate) - lot.refunded_fee;
                    lot.refunded_fee += back;
                    self.leg(LegKind::CommissionClawback, owner, Party::Hub, day, back);
                }
                (MovementKind::BonusForfeit | MovementKind::BonusVoid, LotKind::Bonus) => {
                    lot.refunded += amount;
                    let back = lot.refunded - fee(lot.refunded, lot.rate) - lot.refunded_fee;
                    lot.refunded_fee += back;
                    self.leg(LegKind::BonusShareBack, Party::Hub, owner, day, back);
                }
                _ => {}
            }
        }
        book.attributions.clear();
    }

    fn points(&mut self, book: &mut LotBook, number: u32, movement: &PostedMovement) {
        use MovementKind as K;
        let (day, amount) = (movement.business_day, movement.amount_minor);
        let rate = self.agreements.at(day).points_cost_ppm;
        let here = store_party(movement.entry.store);
        match movement.kind {
            K::Earn => {
                // What head office gives for a store's sale is that store's.
                let here = movement.origin_store.map_or(here, store_party);
                book.open(number, LotKind::Principal, here, amount, rate);
                self.leg(LegKind::PointsEarn, here, Party::Hub, day, fee(amount, rate));
            }
            K::EarnReversal => {
                let named = movement.of.and_then(|of| book.lot_of(self.history, of));
                book.draw(number, amount, Plan::First(LotKind::Principal), named);
                if let Some(lot) = named {
                    let lot = &mut book.lots[lot as usize];
                    lot.refunded += amount.min(lot.amount - lot.refunded);
                    let back = fee(lot.refunded, lot.rate) - lot.refunded_fee;
                    lot.refunded_fee += back;
                    let owner = lot.owner;
                    self.leg(LegKind::PointsEarnReversal, Party::Hub, owner, day, back);
                }
            }
            K::BurnReversal => {
                let draw = movement.of.and_then(|of| book.draw_of(self.history, of, K::Burn));
                let restored = draw.map_or(0, |draw| book.restore(draw, amount));
                if let Some(draw) = draw
                    && restored > 0
                {
                    let burnt_at = store_party(self.history[book.draws[draw as usize].movement as usize].entry.store);
                    self.take_points_cost_back(book, burnt_at, day);
                }
                book.open(number, LotKind::Principal, Party::Unattributed, amount - restored, rate);
            }
            K::Burn => book.draw(number, amount, Plan::First(LotKind::Principal), None),
            _ if movement.kind.direction() == Direction::In => {
                book.open(number, LotKind::Principal, Party::Hub, amount, rate)
            }
            _ => book.draw(number, amount, Plan::First(LotKind::Principal), None),
        }
        self.pay_points_cost(book);
    }

    /// Pays the burning store what the points cost when they were earned, per lot and cumulatively: a lot burnt to the end pays what it was charged.
    fn pay_points_cost(&mut self, book: &mut LotBook) {
        for place in 0..book.attributions.len() {
            let Attribution { part, lot, amount } = book.attributions[place];
            let part = &mut book.parts[part as usize];
            let movement = &self.history[book.draws[part.draw as usize].movement as usize];
            if movement.kind == MovementKind::Burn {
                let lot = &mut book.lots[lot as usize];
                lot.burnt += amount;
                let cost = (fee(lot.burnt, lot.rate) - lot.burnt_cost).max(0);
                lot.burnt_cost += cost;
                part.cost = cost;
                self.leg(
                    LegKind::PointsBurn,
                    Party::Hub,
                    store_party(movement.entry.store),
                    movement.business_day,
                    cost,
                );
            }
        }
        book.attributions.clear();
    }

    /// Takes back from the store that burnt them the cost of points that were just restored.
    fn take_points_cost_back(&mut self, book: &mut LotBook, burnt_at: Party, day: BusinessDay) {
        for place in 0..book.restorations.len() {
            let restoration = book.restorations[place];
            let part = &mut book.parts[restoration.part as usize];
            let Some(lot) = restoration.lot else { continue };
            let back = reversal(part.cost, part.restored, part.taken, part.cost_back, Rounding::HalfUp)
                .expect("a share of a cost fits where the cost does");
            part.cost_back += back;
            let lot = &mut book.lots[lot as usize];
            lot.burnt -= restoration.amount;
            lot.burnt_cost -= back;
            self.leg(LegKind::PointsBurnReversal, burnt_at, Party::Hub, day, back);
        }
    }

    /// Lets unattributed stand for what no lot does at the end of the history.
    fn leave_unattributed(&mut self, money: &LotBook, points: &LotBook) {
        if self.scheme == Scheme::Fifo {
            for part in money.parts_without_lot() {
                let movement = &self.history[money.draws[part.draw as usize].movement as usize];
                if movement.kind.is_of_risk_account() {
                    continue; // Its own legs do not wait for a lot.
                }
                let (kind, taker) = out(movement);
                self.leg(kind, Party::Unattributed, taker, movement.business_day, part.taken);
            }
        }
        for part in points.parts_without_lot() {
            let movement = &self.history[points.draws[part.draw as usize].movement as usize];
            if movement.kind == MovementKind::Burn {
                let rate = self.agreements.at(movement.business_day).points_cost_ppm;
                let cost = fee(part.taken - part.restored, rate);
                self.leg(
                    LegKind::PointsBurn,
                    Party::Unattributed,
                    store_party(movement.entry.store),
                    movement.business_day,
                    cost,
                );
            }
        }
    }

    /// Value came onto the account, for which `source` received cash or goods.
    fn entered(&mut self, kind: LegKind, source: Party, day: BusinessDay, amount: i64) {
        let pair = match self.scheme {
            Scheme::Pool => pool::entered(source),
            Scheme::Home => home::entered(self.home, source),
            Scheme::Fifo => None,
        };
        if let Some((debtor, creditor)) = pair {
            self.leg(kind, debtor, creditor, day, amount);
        }
    }

    /// Value went off the account, for which `taker` gave cash or goods. Under fifo its lots say who owes it (see `attribute`).
    fn left(&mut self, kind: LegKind, taker: Party, day: BusinessDay, amount: i64) {
        let pair = match self.scheme {
            Scheme::Pool => pool::left(taker),
            Scheme::Home => home::left(self.home, taker),
            Scheme::Fifo => None,
        };
        if let Some((debtor, creditor)) = pair {
            self.leg(kind, debtor, creditor, day, amount);
        }
    }

    /// Value went back into a lot; only under fifo does it matter whose.
    fn put_back(&mut self, kind: LegKind, source: Party, backer: Party, day: BusinessDay, amount: i64) {
        if self.scheme == Scheme::Fifo
            && let Some((debtor, creditor)) = fifo::put_back(source, backer)
        {
            self.leg(kind, debtor, creditor, day, amount);
        }
    }

    fn leg(&mut self, kind: LegKind, debtor: Party, creditor: Party, business_day: BusinessDay, amount_minor: i64) {
        if amount_minor != 0 && (debtor, creditor) != (Party::Hub, Party::Hub) {
            self.legs.add(Leg {
                account: Some(self.id),
                business_day,
                kind,
                debtor,
                creditor,
                currency: self.currency,
                amount_minor,
            });
        }
    }
}

/// The leg of a movement that takes value off, and who gave cash or goods for it.
fn out(movement: &PostedMovement) -> (LegKind, Party) {
    let here = store_party(movement.entry.store);
    match movement.kind {
        MovementKind::Spend => (LegKind::Spend, here),
        MovementKind::OverdraftCollected => (LegKind::OverdraftCollected, Party::Risk),
        MovementKind::CashOut => (LegKind::CashOut, here),
        MovementKind::LoadVoid => (LegKind::LoadVoid, here),
        MovementKind::BonusForfeit | MovementKind::BonusVoid => (LegKind::BonusBack, Party::Hub),
        _ => (LegKind::AdjustOut, Party::Hub),
    }
}

/// What passed through an account in one unit.
#[derive(Default)]
struct Total {
    volume: i64,
    balance: i64,
}

impl Total {
    /// Whether the movement is within bounds; adds it if so.
    fn add(&mut self, movement: &PostedMovement) -> bool {
        let amount = movement.amount_minor;
        if amount < 0 || amount > ACCOUNT_VOLUME_MINOR_MAX - self.volume {
            return false;
        }
        self.volume += amount;
        self.balance += if movement.kind.direction() == Direction::In { amount } else { -amount };
        true
    }
}
