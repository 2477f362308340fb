//! Opening balances from CSV: `card, amount, business_day, [store]`: what an older system owed, brought in once.
//!
//! They are written as head office's own entries, in the journal of [`StoreId::HUB`], and loaded into the hub's pool, from where stores draw them.
//! `store` names whose lot the balance is; without it the hub stands for it. A card that gets a balance becomes active. Invariant: an account is
//! opened at most once, and the same file never has two effects: its entries' operations are made from its bytes.

use std::collections::{BTreeMap, HashMap};

use huitong_protocol::allotment::{HubEvent, HubSide, Purse, step};
use huitong_protocol::card::{CardNumber, CardStatus};
use huitong_protocol::entry::HubPosting;
use huitong_protocol::id::{OperationId, StoreId};
use huitong_protocol::money;
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;

use super::{Column, Faults, ImportError, ImportReport, Options, Table, Written, apply};
use crate::store::engine::{Store, Tx};
use crate::store::{account, allotment, organisation, posting, root};

const COLUMNS: &[Column] = &[
    Column::required("card"),
    Column::required("amount"),
    Column::required("business_day"),
    Column::optional("store"),
];

/// The most movements of one entry: some 120 bytes each, so that an entry stays far below its limit.
const MOVEMENTS_MAX: usize = 2_000;

struct Row {
    card: CardNumber,
    amount_minor: i64,
    business_day: BusinessDay,
    store: Option<StoreId>,
}

/// Imports opening balances at `now`; `reference` is what the entries call the file.
///
/// # Errors
/// [`ImportError`], with nothing written.
pub fn import(
    store: &Store,
    csv: &[u8],
    reference: &str,
    now: Instant,
    options: &Options,
) -> Result<ImportReport, ImportError> {
    let hub = store.read_blocking(root::hub)?;
    let table = Table::read("opening balance", COLUMNS, csv, options.encoding)?;
    let mut seen = HashMap::new();
    let rows = table.rows(|line| {
        let card = line.card("card");
        let amount_minor = line.amount("amount", hub.currency);
        let (business_day, owner) = (line.parsed("business_day"), line.maybe("store"));
        if let (Some(card), Some(owner), Some(day)) = (card, owner, business_day) {
            line.unique("card", &mut seen, (card, owner, day), &format_args!("{card} for the same store and day"));
        }
        Some(Row { card: card?, amount_minor: amount_minor?, business_day: business_day?, store: owner? })
    })?;
    let sum_minor = money::sum(rows.iter().map(|(_, row)| row.amount_minor)).map_err(|why| ImportError::Refused {
        fault: format!("the sum of the amounts: {why}"),
        hint: "look for a column in another unit".to_owned(),
    })?;
    options.progress.set_length(rows.len() as u64);
    let (reference, content, unit) = (reference.to_owned(), blake3::hash(csv), Unit::Money(hub.currency));
    apply(store, options, move |tx, progress| {
        let mut faults = Faults::default();
        let mut days: BTreeMap<BusinessDay, Vec<Movement>> = BTreeMap::new();
        let mut opened = Vec::with_capacity(rows.len());
        if posting::known(tx, operation(&content, 0))? {
            return Err(ImportError::Refused {
                fault: "this very file was imported before".to_owned(),
                hint: "`huitong-hub account show CARD` shows what it brought".to_owned(),
            });
        }
        for (line, row) in &rows {
            if let Some(movement) = movement(tx, unit, *line, row, &mut faults)? {
                opened.push((row.card, movement.account, movement.amount_minor));
                days.entry(row.business_day).or_default().push(movement);
            }
            progress.inc(1);
        }
        faults.refuse()?;
        let mut stamp = posting::stamp(tx, now)?;
        let chunks =
            days.iter().flat_map(|(day, movements)| movements.chunks(MOVEMENTS_MAX).map(|chunk| (*day, chunk)));
        for (number, (day, movements)) in (0_u32..).zip(chunks) {
            let body = HubPosting { reference: reference.clone(), movements: movements.to_vec() };
            stamp = posting::post(tx, operation(&content, number), day, now, body)?.stamp;
        }
        for (number, account, amount_minor) in opened {
            let purse = Purse { account, unit };
            let (pool, seen) = allotment::take_pool(tx, purse)?;
            let next =
                step(&HubSide { pool, ..HubSide::default() }, HubEvent::Load { amount_minor }).map_err(|why| {
                    ImportError::Refused {
                        fault: format!("{number} cannot take its balance: {why}"),
                        hint: "look at the amounts again".to_owned(),
                    }
                })?;
            allotment::put_pool(tx, purse, &next.pool, stamp.max(seen))?;
            if let Some(mut card) = organisation::card(tx, &number)?.filter(|card| card.status == CardStatus::Blank) {
                (card.status, card.status_stamp) = (CardStatus::Active, stamp);
                organisation::write_card(tx, &card)?;
            }
        }
        let mut report = ImportReport {
            amount_minor: Some(sum_minor),
            currency: Some(hub.currency),
            ..ImportReport::new("opening balances", rows.len())
        };
        rows.iter().for_each(|_| report.count(Written::New));
        Ok(report)
    })
}

/// The operation of the file's n-th entry, made from its bytes.
fn operation(content: &blake3::Hash, number: u32) -> OperationId {
    let mut hasher = blake3::Hasher::new_derive_key("huitong opening balances 1");
    hasher.update(content.as_bytes()).update(&number.to_be_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    OperationId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

fn movement(
    tx: &mut Tx<'_>,
    unit: Unit,
    line: u64,
    row: &Row,
    faults: &mut Faults,
) -> Result<Option<Movement>, ImportError> {
    let before = faults.total;
    let Some(card) = organisation::card(tx, &row.card)? else {
        faults.add(line, "card", format!("{} is unknown; import the cards first", row.card));
        return Ok(None);
    };
    if !matches!(card.status, CardStatus::Blank | CardStatus::Active | CardStatus::Frozen | CardStatus::Lost) {
        faults.add(line, "card", format!("{} is {}; it cannot take a balance", row.card, card.status));
    }
    if let Some(entry) = account::opening_of(tx, card.account)? {
        faults.add(line, "card", format!("{} has its opening balance already, by entry {entry}", row.card));
    }
    if let Some(store) = row.store
        && organisation::store(tx, store)?.is_none()
    {
        faults.add(line, "store", format!("{store} is unknown; import the stores first"));
    }
    Ok((faults.total == before).then_some(Movement {
        account: card.account,
        unit,
        kind: MovementKind::Opening,
        amount_minor: row.amount_minor,
        of: None,
        origin_store: row.store,
        shortfall_minor: 0,
        owed_by: None,
    }))
}
