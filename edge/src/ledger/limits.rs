//! Limits that the store counts or judges by who asks: roles of operators, budgets of its own promotions, spends of a day.
//!
//! Rules are the core's; here their rows are read before a decision, and written with it.

use huitong_protocol::card::CardNumber;
use huitong_protocol::decline::{Decline, DeclineCode};
use huitong_protocol::entry::{Body, Entry, TenderLine};
use huitong_protocol::id::{AccountId, PromotionId, StoreId};
use huitong_protocol::ledger::basket::PricedBasket;
use huitong_protocol::ledger::{Exposure, Hub};
use huitong_protocol::money::Ppm;
use huitong_protocol::policy::{Act, Operation, Policy, Product, TenderClass};
use huitong_protocol::till::TillLine;
use huitong_protocol::unit::Unit;

use super::{Call, Order};
use crate::store::{ReadTx, StoreError, WriteTx, budget, card, day_spend, journal, overdraft};

/// Why neither the operator's role nor the approver's allows an order. A receipt that a till took on its own is never refused for it: the goods are gone.
pub(super) fn role(order: &Order, policy: &Policy, call: &Call) -> Option<Decline> {
    let act = act(order)?;
    let meta = order.meta(call);
    let roles = policy.permissions.allow(meta.operator, meta.approver, act).err()?;
    Some(Decline { roles, ..Decline::new(DeclineCode::RoleDenied) })
}

/// What of an order needs a permission.
fn act(order: &Order) -> Option<Act> {
    let (operation, amount) = match order {
        Order::SellCard { request, .. } | Order::ReloadCard { request, .. } => {
            (Operation::LoadCard, request.amount_minor.saturating_add(request.bonus_minor))
        }
        Order::FreezeCard { .. } => (Operation::FreezeCard, 0),
        Order::Sale(request) => {
            let share = request.lines.iter().filter_map(markdown_share).max();
            (Operation::Markdown, share.filter(|_| request.taken_at_ms.is_none())?.0)
        }
        Order::Void { .. } => (Operation::Void, 0),
        Order::Return(_) => (Operation::Return, 0),
        Order::UnreferencedReturn(request) => (Operation::ReturnWithoutReceipt, request.amount_minor),
        Order::ResolvePayment { .. } => (Operation::ResolvePayment, 0),
        Order::RegisterInvoice { .. } => (Operation::RegisterInvoice, 0),
        // As selling, holding is everybody's.
        Order::PlaceHold(_)
        | Order::ReleaseHold { .. }
        | Order::EnrolMember(_)
        | Order::ChangeMember(_)
        | Order::OpenDay(_)
        | Order::CloseDay(_) => return None,
    };
    Some(Act { operation, amount })
}

/// The part of a line that its markdowns take, rounded up; none when it has none.
fn markdown_share(line: &TillLine) -> Option<Ppm> {
    if line.markdowns.is_empty() {
        return None;
    }
    let off: i128 = line.markdowns.iter().map(|markdown| i128::from(markdown.amount_minor)).sum();
    let (one, gross) = (i128::from(Ppm::ONE.0), i128::from(line.gross_minor.max(1)));
    let share = (off * one + gross - 1).div_euclid(gross);
    Some(Ppm(i64::try_from(share).unwrap_or(i64::MAX)))
}

/// The budgets of the store's own promotions.
fn budgets(policy: &Policy, store: StoreId) -> impl Iterator<Item = (PromotionId, i64)> {
    let own = policy.stores.get(&store).into_iter().flat_map(|own| &own.promotions);
    own.filter_map(|promotion| Some((promotion.id, promotion.budget_minor?)))
}

/// What is left of each budget.
pub(super) fn budgets_left(
    tx: &ReadTx<'_>,
    policy: &Policy,
    store: StoreId,
) -> Result<Vec<(PromotionId, i64)>, StoreError> {
    budgets(policy, store).map(|(id, budget_minor)| Ok((id, budget_minor - budget::given(tx, id)?))).collect()
}

/// Whether a basket gives more than is left now: it was priced before another sale was written. Its budgets are those of the policy that priced it.
pub(super) fn is_over_budget(tx: &WriteTx<'_>, store: StoreId, basket: &PricedBasket) -> Result<bool, StoreError> {
    if basket.own_given.is_empty() {
        return Ok(false);
    }
    // One that went while the sale waited for its turn: what it gave cannot be judged any more, so it is priced anew.
    let Some(policy) = tx.chain().policy_of(basket.policy_version) else { return Ok(true) };
    let left = budgets_left(tx, &policy.policy, store)?;
    let is_over = |&(id, taken_minor): &(PromotionId, i64)| {
        left.iter().any(|&(known, left_minor)| known == id && taken_minor > left_minor)
    };
    Ok(basket.own_given.iter().any(is_over))
}

/// What the accounts of a sale have spent today, of products with a limit per day.
pub(super) fn spent_today(
    tx: &WriteTx<'_>,
    policy: &Policy,
    order: &Order,
) -> Result<Vec<(AccountId, i64)>, StoreError> {
    let mut spent: Vec<(AccountId, i64)> = Vec::new();
    let Some(day) = tx.chain().open_day else { return Ok(spent) };
    let spends = match order {
        Order::Sale(request) => limited_spends(tx, policy, &request.tenders)?,
        Order::PlaceHold(request) => {
            limited_spend(tx, policy, request.card, request.amount_minor)?.into_iter().collect()
        }
        _ => return Ok(spent),
    };
    for (account, _) in spends {
        if !spent.iter().any(|(known, _)| *known == account) {
            spent.push((account, day_spend::get(tx, day, account)?));
        }
    }
    Ok(spent)
}

/// How far customers have overdrawn here, for a sale that head office could not be asked about (one that answers and is closed does not count) under a policy that lets them.
pub(super) fn exposure(
    tx: &WriteTx<'_>,
    policy: &Policy,
    order: &Order,
    hub: &Hub,
    cards_age_ms: Option<i64>,
) -> Result<Option<Exposure>, StoreError> {
    let (Order::Sale(request), Some(_), Hub::Unreachable) = (order, &policy.overdraft, hub) else { return Ok(None) };
    let unit = Unit::Money(policy.currency);
    let mut owed_here: Vec<(AccountId, i64)> = Vec::new();
    for number in request.tenders.iter().filter_map(|line| line.card) {
        if let Some(card) = card::find(tx, number)?
            && !owed_here.iter().any(|(known, _)| *known == card.account)
        {
            owed_here.push((card.account, overdraft::owed(tx, card.account, unit)?));
        }
    }
    let today_minor = match tx.chain().open_day {
        Some(day) => overdraft::on_day(tx, day, unit)?,
        None => 0,
    };
    Ok(Some(Exposure { cards_age_ms, owed_here, today_minor }))
}

/// What tender lines take of accounts whose product has a limit per day.
fn limited_spends(
    tx: &ReadTx<'_>,
    policy: &Policy,
    tenders: &[TenderLine],
) -> Result<Vec<(AccountId, i64)>, StoreError> {
    let mut spends = Vec::new();
    for line in tenders {
        let is_value = policy.tender(line.tender).is_some_and(|tender| tender.class == TenderClass::StoredValue);
        let Some(number) = line.card.filter(|_| is_value) else { continue };
        spends.extend(limited_spend(tx, policy, number, line.amount_minor)?);
    }
    Ok(spends)
}

/// The account of a card whose product has a limit per day, with what is to be taken of it.
fn limited_spend(
    tx: &ReadTx<'_>,
    policy: &Policy,
    number: CardNumber,
    amount_minor: i64,
) -> Result<Option<(AccountId, i64)>, StoreError> {
    let is_limited = |product: &Product| product.spend_day_minor_max < i64::MAX;
    if !policy.products.iter().any(is_limited) {
        return Ok(None);
    }
    let card = card::find(tx, number)?.filter(|card| policy.product(card).is_some_and(is_limited));
    Ok(card.map(|card| (card.account, amount_minor)))
}

/// Counts what an approved operation gave away and what it spent, in its own transaction.
pub(super) fn count(
    tx: &mut WriteTx<'_>,
    policy: &Policy,
    body: &Body,
    given: &[(PromotionId, i64)],
) -> Result<(), StoreError> {
    for &(promotion, amount_minor) in given {
        match amount_minor {
            0 => {}
            1.. => budget::add(tx, promotion, amount_minor)?,
            _ => budget::take_back(tx, promotion, amount_minor.saturating_neg())?,
        }
    }
    let Some(day) = tx.chain().open_day else { return Ok(()) };
    let spends = match body {
        Body::Sale(sale) => limited_spends(tx, policy, &sale.tenders)?,
        // Undone on its day it was never spent. Goods that come back do not open the day's limit again.
        Body::Void(void) => match journal::decoded(tx, void.of.seq)? {
            Some(Entry { header, body: Body::Sale(sale) }) if header.business_day == Some(day) => {
                let spends = limited_spends(tx, policy, &sale.tenders)?;
                spends.into_iter().map(|(account, amount_minor)| (account, -amount_minor)).collect()
            }
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    spends.into_iter().try_for_each(|(account, amount_minor)| day_spend::add(tx, day, account, amount_minor))
}
