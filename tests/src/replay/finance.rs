//! Finance: reads the hub's results as its finance department would, through the hub's own functions: legs, totals, balances and lots.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use huitong_hub::store::Store;
use huitong_hub::store::engine::StoreError;
use huitong_hub::{account, settle};
use huitong_protocol::id::AccountId;
use huitong_protocol::movement::MovementKind;
use huitong_protocol::party::Party;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::leg::LegKind;

use super::cards;
use super::golden::{Books, CardBook, Column, Flow, LotBook, StoreNo};

async fn sums(store: &Store, scheme: Scheme) -> anyhow::Result<Vec<settle::Sum>> {
    Ok(store.read(move |tx| settle::cumulative(tx, scheme)).await?)
}

/// What one party owes another over all runs of a scheme, gross: reversals are legs of their own, the other way.
///
/// # Errors
/// When the hub cannot be read.
pub async fn owed(store: &Store, scheme: Scheme, debtor: Party, creditor: Party) -> anyhow::Result<i64> {
    let sums = sums(store, scheme).await?;
    Ok(sums.iter().filter(|sum| (sum.debtor, sum.creditor) == (debtor, creditor)).map(|sum| sum.amount_minor).sum())
}

/// What a party is owed less what it owes, over all runs of a scheme.
///
/// # Errors
/// When the hub cannot be read.
pub async fn position(store: &Store, scheme: Scheme, party: Party) -> anyhow::Result<i64> {
    let sums = sums(store, scheme).await?;
    let effect = |sum: &settle::Sum| match (sum.debtor == party, sum.creditor == party) {
        (true, false) => -sum.amount_minor,
        (false, true) => sum.amount_minor,
        _ => 0,
    };
    Ok(sums.iter().map(effect).sum())
}

fn store_no(party: Party) -> anyhow::Result<StoreNo> {
    match party {
        Party::Store(id) => id.as_str().parse().with_context(|| format!("store {id} is not one of the replay")),
        other => bail!("{other} stands where a store should"),
    }
}

fn flow(kind: MovementKind) -> anyhow::Result<Flow> {
    Ok(match kind {
        MovementKind::CardSale => Flow::Sell,
        MovementKind::Reload => Flow::Reload,
        MovementKind::Spend => Flow::Spend,
        MovementKind::UnreferencedReturn => Flow::Refund,
        other => bail!("a replay has no movement {other}"),
    })
}

fn column(kind: LegKind) -> anyhow::Result<Column> {
    Ok(match kind {
        LegKind::Load => Column::Load,
        LegKind::Spend => Column::Spend,
        LegKind::Return => Column::Refund,
        other => bail!("a replay has no leg {other}"),
    })
}

/// Everything that the result files are made of. The three schemes must have been run.
///
/// # Errors
/// When the hub cannot be read, or holds what no replay makes.
pub async fn books(store: &Store) -> anyhow::Result<Books> {
    let mut books = Books::default();
    for total in store.read(account::movement_totals).await? {
        let key = (total.business_day, store_no(Party::Store(total.store))?, flow(total.kind)?);
        books.flows.insert(key, (u64::try_from(total.count)?, total.amount_minor));
    }
    for sum in sums(store, Scheme::Fifo).await? {
        if sum.kind == LegKind::Spend {
            *books.fifo.entry((store_no(sum.debtor)?, store_no(sum.creditor)?, sum.business_day)).or_default() +=
                sum.amount_minor;
        }
    }
    for sum in sums(store, Scheme::Home).await? {
        let kind = column(sum.kind)?;
        // Of a spend the home store is the debtor, of a load or refund the creditor.
        let (home, other) = if kind == Column::Spend { (sum.debtor, sum.creditor) } else { (sum.creditor, sum.debtor) };
        *books.home.entry((store_no(home)?, store_no(other)?, sum.business_day, kind)).or_default() += sum.amount_minor;
    }
    for sum in sums(store, Scheme::Pool).await? {
        let kind = column(sum.kind)?;
        let party = if kind == Column::Spend { sum.creditor } else { sum.debtor };
        *books.pool.entry((sum.business_day, store_no(party)?, kind)).or_default() += sum.amount_minor;
    }
    books.cards = card_books(store).await?;
    Ok(books)
}

async fn card_books(store: &Store) -> anyhow::Result<Vec<CardBook>> {
    let (balances, numbers, flows) = store
        .read(|tx| {
            let mut balances = Vec::new();
            account::balances(tx, |balance| balances.push(balance))?;
            let mut numbers: BTreeMap<AccountId, String> = BTreeMap::new();
            account::card_numbers(tx, |account, number| {
                numbers.insert(account, number.to_owned());
            })?;
            let flows = tx.query(
                "SELECT account_id, kind, COUNT(*), CAST(SUM(amount_minor) AS BIGINT) FROM movement GROUP BY account_id, kind",
                &[],
                |row| {
                    let kind: MovementKind = row.parsed(1, "movement", "kind")?;
                    Ok::<_, StoreError>((row.integer(0)?, kind, row.integer(2)?, row.integer(3)?))
                },
            )?;
            Ok::<_, account::AccountError>((balances, numbers, flows))
        })
        .await?;
    let mut by_account: BTreeMap<AccountId, BTreeMap<Flow, (u64, i64)>> = BTreeMap::new();
    for (account, kind, count, amount_minor) in flows {
        by_account
            .entry(AccountId::new(account)?)
            .or_default()
            .insert(flow(kind)?, (u64::try_from(count)?, amount_minor));
    }
    let mut cards = Vec::with_capacity(balances.len());
    for balance in balances {
        let number =
            numbers.get(&balance.account).with_context(|| format!("account {} has no card", balance.account))?;
        let lots = balance.lots.iter().map(|lot| {
            Ok(LotBook {
                no: lot.no.into(),
                origin: flow(lot.origin)?,
                owner: store_no(lot.owner)?,
                amount_minor: lot.amount_minor,
                remaining_minor: lot.remaining_minor,
            })
        });
        cards.push(CardBook {
            household: cards::household(number)?,
            home: store_no(balance.home)?,
            flows: by_account.remove(&balance.account).unwrap_or_default(),
            balance_minor: balance.balance_minor,
            lots: lots.collect::<anyhow::Result<_>>()?,
        });
    }
    cards.sort_by_key(|card| card.household);
    Ok(cards)
}

/// How often value moved between hub and stores: reports, grants, releases, recalls.
///
/// # Errors
/// When the hub cannot be read.
pub async fn counts(store: &Store) -> anyhow::Result<BTreeMap<String, i64>> {
    Ok(store.read(huitong_hub::store::allotment::counts).await?.into_iter().collect())
}
