//! The results of a replay as files, and their comparison with independent ones.
//!
//! The figures come from the hub as finance reads them: cumulative legs, lots and movement totals. The files have the names, columns and order that
//! `golden.py`, which shares no code with this project, gives to the same results.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use huitong_protocol::time::BusinessDay;
use serde::Serialize;

/// A store's number.
pub type StoreNo = u32;

/// What finance reads from the hub: everything the files are made of.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Per store, day and kind of event: how many, how much.
    pub flows: BTreeMap<(BusinessDay, StoreNo, Flow), (u64, i64)>,
    /// FIFO: who loaded, who accepted, on which day; the diagonal included.
    pub fifo: BTreeMap<(StoreNo, StoreNo, BusinessDay), i64>,
    /// Home: the home store, the other store, the day, and which column.
    pub home: BTreeMap<(StoreNo, StoreNo, BusinessDay, Column), i64>,
    /// Pool: store, day and column, as the hub's legs have it.
    pub pool: BTreeMap<(BusinessDay, StoreNo, Column), i64>,
    /// Every card.
    pub cards: Vec<CardBook>,
}

/// The kinds of event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Flow {
    /// A card sold.
    Sell,
    /// A card loaded again.
    Reload,
    /// A card paid.
    Spend,
    /// Value back onto a card.
    Refund,
}

/// The columns of an attribution.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Column {
    /// Spends.
    Spend,
    /// Loads.
    Load,
    /// Refunds.
    Refund,
}

/// One card's account.
#[derive(Clone, Debug)]
pub struct CardBook {
    /// The household.
    pub household: u32,
    /// Where it was sold.
    pub home: StoreNo,
    /// Per kind: how many, how much.
    pub flows: BTreeMap<Flow, (u64, i64)>,
    /// The balance.
    pub balance_minor: i64,
    /// Every lot, in order.
    pub lots: Vec<LotBook>,
}

/// One lot.
#[derive(Clone, Debug)]
pub struct LotBook {
    /// From 1.
    pub no: u64,
    /// What made it.
    pub origin: Flow,
    /// Whose it is.
    pub owner: StoreNo,
    /// How much it was.
    pub amount_minor: i64,
    /// How much is left.
    pub remaining_minor: i64,
}

/// The files, by name without prefix.
pub type Files = BTreeMap<&'static str, Vec<u8>>;

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    writer.write_record(head)?;
    for row in rows {
        writer.write_record(&row)?;
    }
    writer.into_inner().context("could not finish a table")
}

macro_rules! row {
    ($($cell:expr),+ $(,)?) => { vec![$($cell.to_string()),+] };
}

#[derive(Serialize)]
struct Netting {
    obligations: usize,
    gross_cents: i64,
    bilateral_net_cents: i64,
    multilateral_net_cents: i64,
    stores_paying: usize,
    stores_receiving: usize,
    largest_receiver: (StoreNo, i64),
    largest_payer: (StoreNo, i64),
}

/// Figures of netting over (debtor, creditor) pairs.
fn netting(pairs: &BTreeMap<(StoreNo, StoreNo), i64>) -> Netting {
    let mut net: BTreeMap<StoreNo, i64> = BTreeMap::new();
    let (mut gross_cents, mut bilateral_net_cents) = (0, 0);
    for (&(debtor, creditor), &amount) in pairs {
        gross_cents += amount;
        *net.entry(debtor).or_default() -= amount;
        *net.entry(creditor).or_default() += amount;
        let back = pairs.get(&(creditor, debtor));
        if debtor < creditor || back.is_none() {
            bilateral_net_cents += (amount - back.copied().unwrap_or(0)).abs();
        }
    }
    let extreme = |sign: i64| {
        net.iter()
            .map(|(&store, &amount)| (store, amount))
            .max_by_key(|&(store, amount)| (sign * amount, std::cmp::Reverse(store)))
    };
    Netting {
        obligations: pairs.values().filter(|&&amount| amount != 0).count(),
        gross_cents,
        bilateral_net_cents,
        multilateral_net_cents: net.values().filter(|&&amount| amount > 0).sum(),
        stores_paying: net.values().filter(|&&amount| amount < 0).count(),
        stores_receiving: net.values().filter(|&&amount| amount > 0).count(),
        largest_receiver: extreme(1).unwrap_or_default(),
        largest_payer: extreme(-1).unwrap_or_default(),
    }
}

#[derive(Serialize)]
struct PerKind<T> {
    sell: T,
    spend: T,
    reload: T,
    refund: T,
}

#[derive(Serialize)]
struct DailySums {
    fifo: i64,
    home_full: i64,
}

#[derive(Serialize)]
struct Summary {
    events: u64,
    business_days: usize,
    first_day: String,
    last_day: String,
    cards: usize,
    stores_with_events: usize,
    n: PerKind<u64>,
    cents: PerKind<i64>,
    opening_float_cents: i64,
    loads_cents: i64,
    float_end_cents: i64,
    cross_store_spend_cents_fifo: i64,
    spend_away_from_home_cents: i64,
    fifo: Netting,
    home_spend_only: Netting,
    home_full: Netting,
    daily_multilateral_sum_cents: DailySums,
}

#[derive(Default)]
struct StoreTotals {
    flows: BTreeMap<Flow, (u64, i64)>,
    owed: i64,
    owes: i64,
    float: i64,
    home: [i64; 3],
    pool_net: i64,
}

/// Makes every file.
///
/// # Errors
/// When a table cannot be written, or the books contradict themselves.
pub fn files(books: &Books) -> anyhow::Result<Files> {
    let mut stores: BTreeMap<StoreNo, StoreTotals> = BTreeMap::new();
    let mut totals: BTreeMap<Flow, (u64, i64)> = BTreeMap::new();
    let mut days: std::collections::BTreeSet<BusinessDay> = std::collections::BTreeSet::new();
    for (&(day, store, flow), &(count, amount)) in &books.flows {
        days.insert(day);
        for (n, sum) in
            [stores.entry(store).or_default().flows.entry(flow).or_default(), totals.entry(flow).or_default()]
        {
            *n += count;
            *sum += amount;
        }
    }
    let stores_with_events = stores.len();

    let mut matrix: BTreeMap<(StoreNo, StoreNo), i64> = BTreeMap::new();
    let mut fifo_daily: BTreeMap<(BusinessDay, StoreNo), [i64; 2]> = BTreeMap::new();
    for (&(owner, acceptor, day), &amount) in &books.fifo {
        *matrix.entry((owner, acceptor)).or_default() += amount;
        if owner != acceptor {
            fifo_daily.entry((day, acceptor)).or_default()[0] += amount;
            fifo_daily.entry((day, owner)).or_default()[1] += amount;
            stores.entry(acceptor).or_default().owed += amount;
            stores.entry(owner).or_default().owes += amount;
        }
    }
    matrix.retain(|_, amount| *amount != 0);

    let column = |column: Column| match column {
        Column::Spend => 0_usize,
        Column::Load => 1,
        Column::Refund => 2,
    };
    let mut pairs: BTreeMap<(StoreNo, StoreNo), [i64; 3]> = BTreeMap::new();
    let mut home_daily: BTreeMap<(BusinessDay, StoreNo), [i64; 3]> = BTreeMap::new();
    for (&(home, other, day, kind), &amount) in books.home.iter().filter(|((home, other, ..), _)| home != other) {
        let at = column(kind);
        pairs.entry((home, other)).or_default()[at] += amount;
        // A spend is owed to the other store; a load or refund is owed by it.
        let to_other = if kind == Column::Spend { amount } else { -amount };
        for (store, effect) in [(other, to_other), (home, -to_other)] {
            home_daily.entry((day, store)).or_default()[at] += effect;
            stores.entry(store).or_default().home[at] += effect;
        }
    }
    let mut pool_daily: BTreeMap<(BusinessDay, StoreNo), [i64; 3]> = BTreeMap::new();
    for (&(day, store, kind), &amount) in &books.pool {
        pool_daily.entry((day, store)).or_default()[column(kind)] += amount;
        stores.entry(store).or_default().pool_net += if kind == Column::Spend { amount } else { -amount };
    }
    for lot in books.cards.iter().flat_map(|card| &card.lots) {
        stores.entry(lot.owner).or_default().float += lot.remaining_minor;
    }

    let mut files = Files::new();
    files.insert("store_totals.csv", store_totals(&stores)?);
    files.insert(
        "fifo_matrix.csv",
        table(
            &["load_store", "spend_store", "amount_cents"],
            matrix.iter().map(|((a, b), amount)| row![a, b, amount]),
        )?,
    );
    files.insert(
        "home_pairs.csv",
        table(
            &["home_store", "other_store", "spend_cents", "load_cents", "refund_cents", "home_owes_other_net_cents"],
            pairs.iter().map(|((home, other), [spend, load, refund])| {
                row![home, other, spend, load, refund, spend - load - refund]
            }),
        )?,
    );
    files.insert(
        "fifo_daily.csv",
        table(
            &["business_date", "store_id", "owed_by_others_cents", "owes_others_cents", "net_cents"],
            fifo_daily.iter().map(|((day, store), [owed, owes])| row![day, store, owed, owes, owed - owes]),
        )?,
    );
    files.insert(
        "home_daily.csv",
        table(
            &["business_date", "store_id", "spend_net_cents", "load_net_cents", "refund_net_cents", "full_net_cents"],
            home_daily.iter().map(|((day, store), [spend, load, refund])| {
                row![day, store, spend, load, refund, spend + load + refund]
            }),
        )?,
    );
    files.insert(
        "pool_daily.csv",
        table(
            &["business_date", "store_id", "loads_cents", "refunds_cents", "spends_cents", "net_cents"],
            pool_daily.iter().map(|((day, store), [spend, load, refund])| {
                row![day, store, load, refund, spend, spend - load - refund]
            }),
        )?,
    );
    files.insert("cards.csv", cards(books)?);
    files.insert("lots.csv", lots(books)?);
    files.insert(
        "summary.json",
        summary(books, &days, stores_with_events, &totals, &matrix, &pairs, &fifo_daily, &home_daily)?,
    );
    Ok(files)
}

fn get(flows: &BTreeMap<Flow, (u64, i64)>, flow: Flow) -> (u64, i64) {
    flows.get(&flow).copied().unwrap_or_default()
}

fn store_totals(stores: &BTreeMap<StoreNo, StoreTotals>) -> anyhow::Result<Vec<u8>> {
    let head = [
        "store_id",
        "n_sell",
        "sell_cents",
        "n_reload",
        "reload_cents",
        "loads_cents",
        "n_spend",
        "spend_cents",
        "n_refund",
        "refund_cents",
        "fifo_owed_by_others_cents",
        "fifo_owes_others_cents",
        "fifo_net_cents",
        "fifo_float_outstanding_cents",
        "home_spend_net_cents",
        "home_load_net_cents",
        "home_refund_net_cents",
        "home_full_net_cents",
        "pool_net_cents",
    ];
    table(
        &head,
        stores.iter().map(|(store, t)| {
            let [sell, reload, spend, refund] =
                [Flow::Sell, Flow::Reload, Flow::Spend, Flow::Refund].map(|flow| get(&t.flows, flow));
            let [home_spend, home_load, home_refund] = t.home;
            row![
                store,
                sell.0,
                sell.1,
                reload.0,
                reload.1,
                sell.1 + reload.1,
                spend.0,
                spend.1,
                refund.0,
                refund.1,
                t.owed,
                t.owes,
                t.owed - t.owes,
                t.float,
                home_spend,
                home_load,
                home_refund,
                home_spend + home_load + home_refund,
                t.pool_net,
            ]
        }),
    )
}

fn cards(books: &Books) -> anyhow::Result<Vec<u8>> {
    let head = [
        "household_id",
        "home_store",
        "n_reload",
        "n_spend",
        "n_refund",
        "loads_cents",
        "spends_cents",
        "refunds_cents",
        "end_balance_cents",
        "lots_issued",
        "lots_open",
    ];
    table(
        &head,
        books.cards.iter().map(|card| {
            let [sell, reload, spend, refund] =
                [Flow::Sell, Flow::Reload, Flow::Spend, Flow::Refund].map(|flow| get(&card.flows, flow));
            let open = card.lots.iter().filter(|lot| lot.remaining_minor > 0).count();
            row![
                card.household,
                card.home,
                reload.0,
                spend.0,
                refund.0,
                sell.1 + reload.1,
                spend.1,
                refund.1,
                card.balance_minor,
                card.lots.len(),
                open,
            ]
        }),
    )
}

fn lots(books: &Books) -> anyhow::Result<Vec<u8>> {
    let origin = |flow| match flow {
        Flow::Sell => "sell",
        Flow::Reload => "reload",
        Flow::Spend => "spend",
        Flow::Refund => "refund",
    };
    table(
        &["household_id", "lot_no", "origin", "load_store", "amount_cents", "remaining_cents"],
        books.cards.iter().flat_map(|card| {
            card.lots.iter().filter(|lot| lot.remaining_minor > 0).map(|lot| {
                row![card.household, lot.no, origin(lot.origin), lot.owner, lot.amount_minor, lot.remaining_minor]
            })
        }),
    )
}

#[expect(clippy::too_many_arguments, reason = "the summary is over every table at once")]
fn summary(
    books: &Books,
    days: &std::collections::BTreeSet<BusinessDay>,
    stores_with_events: usize,
    totals: &BTreeMap<Flow, (u64, i64)>,
    matrix: &BTreeMap<(StoreNo, StoreNo), i64>,
    pairs: &BTreeMap<(StoreNo, StoreNo), [i64; 3]>,
    fifo_daily: &BTreeMap<(BusinessDay, StoreNo), [i64; 2]>,
    home_daily: &BTreeMap<(BusinessDay, StoreNo), [i64; 3]>,
) -> anyhow::Result<Vec<u8>> {
    let (first_day, last_day) = (days.first().context("no days")?, days.last().context("no days")?);
    let fifo: BTreeMap<_, _> =
        matrix.iter().filter(|((a, b), _)| a != b).map(|(pair, amount)| (*pair, *amount)).collect();
    let spend_only: BTreeMap<_, _> = pairs.iter().filter(|(_, v)| v[0] != 0).map(|(pair, v)| (*pair, v[0])).collect();
    let mut full: BTreeMap<(StoreNo, StoreNo), i64> = BTreeMap::new();
    for (&(home, other), [spend, load, refund]) in pairs {
        *full.entry((home, other)).or_default() += spend;
        *full.entry((other, home)).or_default() += load + refund;
    }
    full.retain(|_, amount| *amount != 0);
    let per_kind_n = |flow| get(totals, flow).0;
    let per_kind = |flow| get(totals, flow).1;
    let loads_cents = per_kind(Flow::Sell) + per_kind(Flow::Reload);
    let float_end_cents = books.cards.iter().map(|card| card.balance_minor).sum();
    let opening_float_cents = 0;
    ensure!(
        opening_float_cents + loads_cents + per_kind(Flow::Refund) - per_kind(Flow::Spend) == float_end_cents,
        "loads {loads_cents} and refunds less spends do not leave the float of {float_end_cents}"
    );
    let daily_sum = |nets: &mut dyn Iterator<Item = i64>| nets.map(|net| net.max(0)).sum::<i64>();
    let summary = Summary {
        events: totals.values().map(|(count, _)| count).sum(),
        business_days: days.len(),
        first_day: first_day.to_string(),
        last_day: last_day.to_string(),
        cards: books.cards.len(),
        stores_with_events,
        n: PerKind {
            sell: per_kind_n(Flow::Sell),
            spend: per_kind_n(Flow::Spend),
            reload: per_kind_n(Flow::Reload),
            refund: per_kind_n(Flow::Refund),
        },
        cents: PerKind {
            sell: per_kind(Flow::Sell),
            spend: per_kind(Flow::Spend),
            reload: per_kind(Flow::Reload),
            refund: per_kind(Flow::Refund),
        },
        opening_float_cents,
        loads_cents,
        float_end_cents,
        cross_store_spend_cents_fifo: fifo.values().sum(),
        spend_away_from_home_cents: spend_only.values().sum(),
        fifo: netting(&fifo),
        home_spend_only: netting(&spend_only),
        home_full: netting(&full),
        daily_multilateral_sum_cents: DailySums {
            fifo: daily_sum(&mut fifo_daily.values().map(|[owed, owes]| owed - owes)),
            home_full: daily_sum(&mut home_daily.values().map(|v| v.iter().sum())),
        },
    };
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    summary.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes the files.
///
/// # Errors
/// Names the file that could not be written.
pub fn write(files: &Files, folder: &Path, prefix: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("could not make the folder {}", folder.display()))?;
    for (name, bytes) in files {
        let path = folder.join(format!("{prefix}{name}"));
        std::fs::write(&path, bytes).with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

/// Where a result differs from the golden one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}, line {line}:\n  golden {golden}\n  ours   {ours}", path.display())]
pub struct Difference {
    /// The golden file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What it says there.
    pub golden: String,
    /// What we have.
    pub ours: String,
}

/// How a comparison ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Comparison {
    /// Golden rows compared.
    pub rows: usize,
    /// Every line that differs, first ones first.
    pub differences: Vec<Difference>,
}

/// Compares with golden files, byte by byte, line by line; a file that is missing on either side is an error.
///
/// # Errors
/// Names a golden file that cannot be read.
pub fn compare(files: &Files, folder: &Path, prefix: &str) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison::default();
    for (name, bytes) in files {
        let path = folder.join(format!("{prefix}{name}"));
        let golden = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let ours = String::from_utf8_lossy(bytes);
        let (mut golden, mut ours) = (golden.split('\n'), ours.split('\n'));
        for line in 1.. {
            let (left, right) = (golden.next(), ours.next());
            if left.is_none() && right.is_none() {
                break;
            }
            comparison.rows += 1;
            if left.map(|text| text.trim_end_matches('\r')) != right {
                let text = |side: Option<&str>| side.unwrap_or("(the file ends)").to_owned();
                comparison.differences.push(Difference {
                    path: path.clone(),
                    line,
                    golden: text(left),
                    ours: text(right),
                });
            }
        }
    }
    Ok(comparison)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> BusinessDay {
        text.parse().unwrap()
    }

    /// Store 1 sells a card with 10.00; 4.00 are spent at store 2 and 1.00 at store 1.
    fn books() -> Books {
        let today = day("2026-11-22");
        Books {
            flows: [
                ((today, 1, Flow::Sell), (1, 1_000)),
                ((today, 1, Flow::Spend), (1, 100)),
                ((today, 2, Flow::Spend), (1, 400)),
            ]
            .into(),
            fifo: [((1, 1, today), 100), ((1, 2, today), 400)].into(),
            home: [((1, 2, today, Column::Spend), 400)].into(),
            pool: [
                ((today, 1, Column::Load), 1_000),
                ((today, 1, Column::Spend), 100),
                ((today, 2, Column::Spend), 400),
            ]
            .into(),
            cards: vec![CardBook {
                household: 7,
                home: 1,
                flows: [(Flow::Sell, (1, 1_000)), (Flow::Spend, (2, 500))].into(),
                balance_minor: 500,
                lots: vec![LotBook { no: 1, origin: Flow::Sell, owner: 1, amount_minor: 1_000, remaining_minor: 500 }],
            }],
        }
    }

    #[test]
    fn the_tables_say_who_owes_whom() {
        let files = files(&books()).unwrap();
        let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
        assert_eq!(text("fifo_matrix.csv"), "load_store,spend_store,amount_cents\n1,1,100\n1,2,400\n");
        assert_eq!(
            text("lots.csv"),
            "household_id,lot_no,origin,load_store,amount_cents,remaining_cents\n7,1,sell,1,1000,500\n"
        );
        assert!(text("pool_daily.csv").ends_with("2026-11-22,1,1000,0,100,-900\n2026-11-22,2,0,0,400,400\n"));
        assert!(text("home_daily.csv").ends_with("2026-11-22,1,-400,0,0,-400\n2026-11-22,2,400,0,0,400\n"));
    }

    #[test]
    fn a_changed_cent_is_found_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        write(&files(&books()).unwrap(), folder.path(), "golden_").unwrap();
        assert_eq!(compare(&files(&books()).unwrap(), folder.path(), "golden_").unwrap().differences, []);
        let mut changed = books();
        changed.fifo.insert((1, 2, day("2026-11-22")), 401);
        let differences = compare(&files(&changed).unwrap(), folder.path(), "golden_").unwrap().differences;
        let matrix = differences.iter().find(|found| found.path.ends_with("golden_fifo_matrix.csv")).unwrap();
        assert_eq!((matrix.line, matrix.ours.as_str()), (3, "1,2,401"));
    }

    #[test]
    fn books_that_do_not_balance_are_refused() {
        let mut books = books();
        books.cards[0].balance_minor += 1;
        assert!(files(&books).is_err());
    }
}
