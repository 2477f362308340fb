//! Cards from CSV: `number, product, [allocated_store], [member], [expires_on], [account_of], [account]`.
//!
//! A new card is blank and gets an account of its own from the hub, unless `account_of` names another card, of this file or of the table, whose
//! account it opens as well (many cards, one account). Of a card that is there, the member and the last day may change, and the store while it is
//! blank; product and account never do. After a restore of the hub's database, `account` gives a card that the backup has forgotten the number back under which
//! stores know what is on it.

use std::collections::{HashMap, HashSet};

use huitong_protocol::card::{Card, CardNumber, CardStatus, RangeFault};
use huitong_protocol::id::{AccountId, ProductId, StoreId};
use huitong_protocol::policy::Policy;
use huitong_protocol::time::{BusinessDay, Stamp};

use super::{Column, Faults, ImportError, ImportReport, Options, Table, Written, apply};
use crate::publish;
use crate::store::engine::{Store, StoreError, Tx};
use crate::store::{card, member, organisation, root};

const COLUMNS: &[Column] = &[
    Column::required("number"),
    Column::required("product"),
    Column::optional("allocated_store"),
    Column::optional("member"),
    Column::optional("expires_on"),
    Column::optional("account_of"),
    Column::optional("account"),
];

struct Row {
    number: CardNumber,
    product: ProductId,
    allocated_store: Option<StoreId>,
    member: Option<String>,
    expires_on: Option<BusinessDay>,
    account_of: Option<CardNumber>,
    /// The number that its account had before a backup forgot the card: the store that used it names it for ever.
    account: Option<AccountId>,
}

/// Imports cards, judged by the newest policy's products.
///
/// # Errors
/// [`ImportError`], with nothing written.
pub fn import(store: &Store, csv: &[u8], options: &Options) -> Result<ImportReport, ImportError> {
    let policy =
        store.read_blocking(publish::newest_policy)?.map(|(_, policy)| policy).ok_or_else(|| ImportError::Refused {
            fault: "no policy is published, so no card product is known".to_owned(),
            hint: "huitong-hub policy publish FILE --effective-from DAY".to_owned(),
        })?;
    let table = Table::read("card", COLUMNS, csv, options.encoding)?;
    let mut seen = HashMap::new();
    let rows = table.rows(|line| {
        let (number, product): (_, Option<ProductId>) = (line.card("number"), line.parsed("product"));
        let (allocated_store, expires_on, account_of) =
            (line.maybe("allocated_store"), line.maybe("expires_on"), line.maybe_card("account_of"));
        let member = line.text("member").map(str::to_owned);
        let account = line.maybe::<i64>("account").and_then(|number| match number.map(AccountId::new).transpose() {
            Ok(account) => Some(account),
            Err(why) => {
                line.fault("account", why.to_string());
                None
            }
        });
        if matches!((account_of, account), (Some(Some(_)), Some(Some(_)))) {
            line.fault("account", "is given beside account_of; a card opens one account".to_owned());
        }
        if let Some(number) = number {
            line.unique("number", &mut seen, number, &number);
            if let Some(Err((field, why))) = product.map(|product| judge(&policy, product, &number)) {
                line.fault(field, why);
            }
            if account_of == Some(Some(number)) {
                line.fault("account_of", format!("{number} names itself; leave it empty for an account of its own"));
            }
        }
        Some(Row {
            number: number?,
            product: product?,
            allocated_store: allocated_store?,
            member,
            expires_on: expires_on?,
            account_of: account_of?,
            account: account?,
        })
    })?;
    options.progress.set_length(rows.len() as u64);
    let by_number: HashMap<CardNumber, usize> =
        rows.iter().enumerate().map(|(index, (_, row))| (row.number, index)).collect();
    apply(store, options, move |tx, progress| {
        let mut report = ImportReport::new("cards", rows.len());
        let mut faults = Faults::default();
        let mut accounts = Accounts { rows: &rows, by_number: &by_number, found: HashMap::new() };
        for (index, (line, row)) in rows.iter().enumerate() {
            if let Some(written) = write(tx, &mut accounts, index, *line, row, &mut faults)? {
                report.count(written);
            }
            progress.inc(1);
        }
        faults.refuse()?;
        Ok(report)
    })
}

fn judge(policy: &Policy, product: ProductId, number: &CardNumber) -> Result<(), (&'static str, String)> {
    let Some(found) = policy.products.iter().find(|other| other.id == product) else {
        let known: Vec<&str> = policy.products.iter().map(|product| product.id.as_str()).collect();
        return Err(("product", format!("{product} is not in the newest policy; it has {}", known.join(", "))));
    };
    match found.ranges.iter().find(|range| range.covers(number)).map(|range| range.accepts(number)) {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => Err(("number", format!("{number} of {product}: {why}"))),
        None => Err(("number", format!("{number} of {product}: {}", RangeFault::Foreign))),
    }
}

/// Finds the account of each row: its own, or that of the card it names, however many steps away.
struct Accounts<'a> {
    rows: &'a [(u64, Row)],
    by_number: &'a HashMap<CardNumber, usize>,
    found: HashMap<CardNumber, AccountId>,
}

impl Accounts<'_> {
    fn of(&mut self, tx: &mut Tx<'_>, index: usize) -> Result<Result<AccountId, String>, StoreError> {
        let (mut path, mut seen) = (Vec::new(), HashSet::new());
        let mut number = self.rows[index].1.number;
        let account = loop {
            if let Some(&account) = self.found.get(&number) {
                break account;
            }
            if !seen.insert(number) {
                return Ok(Err(format!(
                    "{number} leads back to itself; one of these cards must have an account of its own"
                )));
            }
            path.push(number);
            if let Some(card) = organisation::card(tx, &number)? {
                break card.account;
            }
            match self.by_number.get(&number).map(|&at| (self.rows[at].1.account_of, self.rows[at].1.account)) {
                Some((Some(other), _)) => number = other,
                Some((None, Some(account))) => match was_minted(tx, account)? {
                    Ok(()) => break account,
                    Err(why) => return Ok(Err(why)),
                },
                Some((None, None)) => break organisation::next_account(tx)?,
                None => return Ok(Err(format!("{number} is neither in this file nor known"))),
            }
        };
        self.found.extend(path.into_iter().map(|number| (number, account)));
        Ok(Ok(account))
    }
}

/// Whether an account can be opened under a number that it had before: no other card does, and it is not minted for another one later.
fn was_minted(tx: &mut Tx<'_>, account: AccountId) -> Result<Result<(), String>, StoreError> {
    let next = root::numbers(tx)?.next_account;
    Ok(match () {
        () if account.get() >= next => {
            Err(format!("{account} was never given; leave it empty for a new one, or give one below {next}"))
        }
        () if card::opens(tx, account)? => Err(format!(
            "{account} is opened by another card; name that one in account_of when both are one customer's"
        )),
        () => Ok(()),
    })
}

fn write(
    tx: &mut Tx<'_>,
    accounts: &mut Accounts<'_>,
    index: usize,
    line: u64,
    row: &Row,
    faults: &mut Faults,
) -> Result<Option<Written>, ImportError> {
    let before = faults.total;
    if let Some(store) = row.allocated_store
        && organisation::store(tx, store)?.is_none()
    {
        faults.add(line, "allocated_store", format!("{store} is unknown; import the stores first"));
    }
    let member = match &row.member {
        None => None,
        Some(number) => {
            let member = member::id_of(tx, number)?;
            if member.is_none() {
                faults.add(line, "member", format!("{number:?} is unknown; import the members first"));
            }
            member
        }
    };
    let old = organisation::card(tx, &row.number)?;
    let account = match accounts.of(tx, index)? {
        Ok(account) => account,
        Err(why) => {
            faults.add(line, if row.account.is_some() { "account" } else { "account_of" }, why);
            return Ok(None);
        }
    };
    let card = match &old {
        None => Card {
            number: row.number,
            product: row.product,
            account,
            status: CardStatus::Blank,
            // Whatever a store says of the card comes after its making.
            status_stamp: Stamp::ZERO,
            allocated_store: row.allocated_store,
            member,
            expires_on: row.expires_on,
        },
        Some(old) => {
            if old.product != row.product {
                faults.add(
                    line,
                    "product",
                    format!("{} is a {}; a card never changes its product", row.number, old.product),
                );
            }
            if let Some(given) = row.account.filter(|given| *given != old.account) {
                let opened = old.account;
                faults.add(line, "account", format!("is {given}; {} opens account {opened} and keeps it", row.number));
            }
            if let Some(other) = row.account_of {
                let theirs = match organisation::card(tx, &other)? {
                    Some(card) => Some(card.account),
                    None => accounts
                        .by_number
                        .get(&other)
                        .copied()
                        .map(|at| accounts.of(tx, at))
                        .transpose()?
                        .and_then(Result::ok),
                };
                if theirs != Some(old.account) {
                    faults.add(
                        line,
                        "account_of",
                        format!("{} opens another account than {other}; a card never changes its account", row.number),
                    );
                }
            }
            if old.allocated_store != row.allocated_store
                && row.allocated_store.is_some()
                && old.status != CardStatus::Blank
            {
                faults.add(
                    line,
                    "allocated_store",
                    format!("{} is {}; only a blank card can be allocated", row.number, old.status),
                );
            }
            // A column that is left out or empty takes nothing away.
            Card {
                allocated_store: row.allocated_store.or(old.allocated_store),
                member: member.or(old.member),
                expires_on: row.expires_on.or(old.expires_on),
                ..old.clone()
            }
        }
    };
    if faults.total > before {
        return Ok(None);
    }
    Ok(Some(match old {
        Some(old) if old == card => Written::Unchanged,
        before => {
            organisation::write_card(tx, &card)?;
            if before.is_some() { Written::Changed } else { Written::New }
        }
    }))
}
