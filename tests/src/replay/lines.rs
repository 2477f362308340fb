//! Lines: a replay of real baskets, line by line, through quote and sale at each store's till, and of everything given back.
//!
//! Every reduction is a markdown with its real funder: the retailer's own price and what it adds to a coupon are head office's, a coupon is its
//! manufacturer's. A coupon without goods, and what of a coupon is more than its line, comes off the basket as a whole. The items are the real ones, as tills
//! send them; no item master stands behind. A basket below zero is refused. A basket of which the files have no lines is one line of its sums.
//!
//! Checked is what funders are charged, on statements, against the columns; that nobody owes anything once everything came back; and that a cent moved
//! between two funders is found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant as Stopwatch;

use anyhow::{Context, bail, ensure};
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::entry::Markdown;
use huitong_protocol::id::EntryId;
use huitong_protocol::money::Currency;
use huitong_protocol::party::Party;
use huitong_protocol::statement::Statement;
use huitong_protocol::till::{PostReturn, PostSale, ReturnItem, TillLine};
use huitong_protocol::time::{BusinessDay, Instant};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::basket::{self, Basket, Columns, Line};
use super::charged::{self, MANUFACTURER};
use super::drive::{self, WINDOW, day_operation, each_store, operation_of, store_code};
use super::planted;
use crate::till::{QuoteAnswer, approved, declined, line as till_line, tender};
use crate::town::{Plan, Shop, Town, Transport};
use crate::wire::Wire;
use crate::{documents, memory};

/// Thousandths of one piece.
const PIECE: i64 = 1_000;
/// The department whose quantities are thousandths already.
const FUEL: &str = "FUEL";
/// How far apart in time baskets are that tills may sell side by side: less than a quote lives.
const TOGETHER_MS: i64 = 15 * 60_000;
/// Where the steps of a basket's operations begin.
const SALE: u16 = 0;
const FIRST_RETURN: u16 = 1;
const SECOND_RETURN: u16 = 2;

/// What to play.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file of baskets.
    pub baskets: PathBuf,
    /// The file of lines.
    pub lines: PathBuf,
    /// How many days that have lines.
    pub days: Option<usize>,
    /// Whether baskets without lines are played too, as one line each. Those below zero always are: they must be refused.
    pub every_basket: bool,
    /// How messages travel.
    pub transport: Transport,
    /// Where the databases stay.
    pub data: Option<PathBuf>,
    /// Whether progress is shown on standard error.
    pub progress: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Days played, the one of the returns not counted.
    pub days: usize,
    /// Stores that traded.
    pub stores: usize,
    /// Baskets offered.
    pub baskets: usize,
    /// Baskets of the file that have no lines and were left out.
    pub left_out: usize,
    /// Lines sold.
    pub lines: u64,
    /// Markdowns on lines.
    pub markdowns: u64,
    /// What came off baskets as a whole.
    pub basket_markdowns: u64,
    /// Baskets sold for nothing.
    pub for_nothing: u64,
    /// Baskets refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Returns that gave everything back.
    pub returns: u64,
    /// Runs.
    pub runs: usize,
    /// Figures of funder, day and store that were compared.
    pub compared: usize,
    /// What the columns say, by funder.
    pub charged_minor: BTreeMap<String, i64>,
    /// Parties whose balance was looked at after the returns.
    pub balances: usize,
    /// Sales that head office priced again.
    pub rerated: u64,
    /// Every difference, and everything that could not be proved.
    pub differences: Vec<String>,
    /// Setting up, in milliseconds.
    pub setup_ms: u128,
    /// Trading, uploading and settling.
    pub trade_ms: u128,
    /// Giving everything back.
    pub returns_ms: u128,
    /// Comparing and proving.
    pub finish_ms: u128,
    /// The most memory that the process had, in bytes.
    pub peak_memory_bytes: Option<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "played      {} baskets of {} lines on {} days in {} stores; {} baskets without lines left out",
            self.baskets, self.lines, self.days, self.stores, self.left_out
        )?;
        writeln!(
            f,
            "off         {} markdowns on lines, {} on baskets as a whole; {} baskets for nothing",
            self.markdowns, self.basket_markdowns, self.for_nothing
        )?;
        writeln!(f, "refused     {:?}", self.refused)?;
        for (funder, minor) in &self.charged_minor {
            writeln!(f, "charged     {funder} {minor}")?;
        }
        writeln!(f, "statements  {} figures of funder, day and store compared, {} runs", self.compared, self.runs)?;
        writeln!(f, "given back  {} returns, then {} balances looked at", self.returns, self.balances)?;
        writeln!(f, "re-rated    {} sales", self.rerated)?;
        writeln!(
            f,
            "time        set-up {} ms, trade {} ms, returns {} ms, finish {} ms",
            self.setup_ms, self.trade_ms, self.returns_ms, self.finish_ms
        )?;
        if let Some(bytes) = self.peak_memory_bytes {
            writeln!(f, "memory      {} MiB at most", bytes >> 20)?;
        }
        for difference in &self.differences {
            writeln!(f, "DIFFERS     {difference}")?;
        }
        writeln!(f, "result      {} differences", self.differences.len())
    }
}

#[expect(clippy::disallowed_methods, reason = "a replay measures real time")]
fn now() -> Stopwatch {
    Stopwatch::now()
}

/// A receipt that is to come back.
#[derive(Clone, Debug)]
struct Sold {
    seq: u64,
    store: u32,
    receipt: EntryId,
    /// The quantity of each line.
    quantities: Vec<i64>,
}

/// What tills did.
#[derive(Default)]
struct Traded {
    sold: Vec<Sold>,
    lines: u64,
    markdowns: u64,
    basket_markdowns: u64,
    for_nothing: u64,
    refused: Vec<(usize, DeclineCode)>,
    differences: Vec<String>,
}

/// Plays a whole replay.
///
/// # Errors
/// What could not be read, set up, played or settled. What came out wrong is in the report.
pub async fn play(options: &Options) -> anyhow::Result<Report> {
    let all = basket::read(&options.baskets, &options.lines)?;
    let (baskets, left_out) = chosen(&all, options);
    ensure!(!baskets.is_empty(), "there is no basket to play");
    let temporary =
        if options.data.is_none() { Some(tempfile::tempdir().context("no temporary folder")?) } else { None };
    let data = match (&options.data, &temporary) {
        (Some(data), _) => {
            ensure!(!data.join("hub").exists(), "{} holds a replay already; name a new folder", data.display());
            data.clone()
        }
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => unreachable!("one of both is there"),
    };
    let started = now();
    let stores: BTreeSet<u32> = baskets.iter().map(|basket| basket.store).collect();
    let town = Town::build(&plan(options, &data, &baskets, &stores)).await?;
    let mut report = Report {
        stores: stores.len(),
        baskets: baskets.len(),
        left_out,
        setup_ms: started.elapsed().as_millis(),
        ..Report::default()
    };

    let trading = now();
    let bar = progress(options.progress, baskets.len() as u64);
    let baskets = Arc::new(baskets);
    let (mut traded, mut runs) = (Traded::default(), Vec::new());
    let mut first = 0;
    while first < baskets.len() {
        let day = baskets[first].day;
        let count = baskets[first..].iter().take_while(|basket| basket.day == day).count();
        trade_day(&town, day, &baskets, first..first + count, &mut traded)
            .await
            .with_context(|| format!("day {day}"))?;
        runs.push(settle(&town, day).await?);
        (first, report.days) = (first + count, report.days + 1);
        bar.inc(count as u64);
        bar.set_message(day.to_string());
    }
    bar.finish_and_clear();
    report.trade_ms = trading.elapsed().as_millis();

    let checking = now();
    let refused: BTreeSet<usize> = traded.refused.iter().map(|(at, _)| *at).collect();
    for (at, code) in &traded.refused {
        let code = serde_json::to_value(code)?.as_str().unwrap_or_default().to_owned();
        if *code != *"basket_below_zero" || baskets[*at].columns.net_cents >= 0 {
            report.differences.push(format!("basket {} was refused with {code}", baskets[*at].id));
        }
        *report.refused.entry(code).or_default() += 1;
    }
    let taken = baskets.iter().enumerate().filter(|(at, _)| !refused.contains(at)).map(|(_, basket)| basket);
    let expected = charged::expected(taken);
    let stated = charged::stated(&charged::statements(&town, &runs).await?)?;
    report.compared = expected.keys().chain(stated.keys()).collect::<BTreeSet<_>>().len();
    for ((funder, _, _), cents) in &expected {
        *report.charged_minor.entry(funder.to_string()).or_default() += cents;
    }
    report.differences.extend(charged::differences(&expected, &stated));
    let mut finishing = checking.elapsed();

    let giving_back = now();
    let last = baskets[baskets.len() - 1].clone();
    report.returns = give_all_back(&town, &last, &traded.sold).await?;
    runs.push(settle(&town, last.day.tomorrow()).await?);
    report.returns_ms = giving_back.elapsed().as_millis();

    let proving = now();
    let after = charged::statements(&town, &runs[runs.len() - 1..]).await?;
    report.balances = after.len();
    report.differences.extend(unsettled(&after, &expected));
    report.differences.extend(town.verify().await?.into_iter().map(|finding| format!("verify: {finding}")));
    let (rerated, priced_otherwise) = town.rerate().await?;
    report.differences.extend(priced_otherwise);
    report.differences.extend(planted::unfound(&town.hub_data, &data.join("planted"), &town.clock).await?);
    finishing += proving.elapsed();

    let Traded { sold: _, lines, markdowns, basket_markdowns, for_nothing, refused: _, differences } = traded;
    (report.lines, report.markdowns, report.basket_markdowns) = (lines, markdowns, basket_markdowns);
    (report.for_nothing, report.rerated, report.runs) = (for_nothing, rerated, runs.len());
    report.differences.extend(differences);
    report.finish_ms = finishing.as_millis();
    report.peak_memory_bytes = memory::peak_bytes();
    town.close().await?;
    Ok(report)
}

fn progress(shown: bool, baskets: u64) -> ProgressBar {
    if !shown {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} baskets, {eta} left");
    ProgressBar::new(baskets).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The baskets to play, and how many without lines are left out.
fn chosen(all: &[Basket], options: &Options) -> (Vec<Basket>, usize) {
    let with_lines: BTreeSet<BusinessDay> =
        all.iter().filter(|basket| !basket.lines.is_empty()).map(|basket| basket.day).collect();
    let days: BTreeSet<BusinessDay> = with_lines.into_iter().take(options.days.unwrap_or(usize::MAX)).collect();
    let is_chosen = |basket: &&Basket| match basket.lines.is_empty() {
        false => days.contains(&basket.day),
        true => basket.columns.net_cents < 0 || (options.every_basket && options.days.is_none()),
    };
    let chosen: Vec<Basket> = all.iter().filter(is_chosen).cloned().collect();
    let left_out = all.iter().filter(|basket| basket.lines.is_empty() && !is_chosen(basket)).count();
    (chosen, left_out)
}

fn plan(options: &Options, data: &std::path::Path, baskets: &[Basket], stores: &BTreeSet<u32>) -> Plan {
    let first = &baskets[0];
    Plan {
        data: data.to_owned(),
        transport: options.transport,
        // Set up the evening before.
        start: first.at.plus_ms(-12 * 3_600_000),
        currency: Currency::USD,
        time_zone: "America/New_York".to_owned(),
        stores: stores.iter().map(|&store| store_code(store)).collect(),
        cards: Vec::new(),
        product: "SV".to_owned(),
        policy: documents::policy("USD", ""),
        agreement: documents::agreement("USD", "pool", &first.day.to_string(), 0, 0, "restore"),
        effective_from: first.day,
        tune: Arc::new(|_| ()),
        wire: Arc::new(|_, line| Wire::new(line)),
    }
}

/// A basket as a till sends it: what stands on lines, what comes off the whole.
fn request(basket: &Basket) -> anyhow::Result<PostSale> {
    let mut markdowns = Vec::new();
    let mut lines = Vec::new();
    let whole = [Line {
        product: format!("basket-{}", basket.id),
        department: String::new(),
        quantity: 1,
        money: basket.columns,
    }];
    let sent = if basket.lines.is_empty() { &whole[..] } else { &basket.lines };
    for line in sent {
        let (on_line, off_basket) = reductions(&line.money)?;
        markdowns.extend(off_basket);
        // A coupon that names no goods is no line, unless the basket has no other.
        if line.money.gross_cents > 0
            || line.money.coupon_disc_cents == 0
            || !basket.lines.iter().any(|line| line.money.gross_cents > 0)
        {
            lines.push(sale_line(line, on_line));
        }
    }
    Ok(PostSale {
        currency: Currency::USD,
        member: None,
        member_card: None,
        coupons: Vec::new(),
        markdowns,
        quote: None,
        lines,
        tenders: Vec::new(),
        payment_unknown: None,
        taken_at_ms: None,
        operator: None,
        approver: None,
        terminal_seq: None,
    })
}

/// What comes off a line, each with its funder: as far as the line goes from the line, the rest from the basket.
fn reductions(money: &Columns) -> anyhow::Result<(Vec<Markdown>, Vec<Markdown>)> {
    let mut left = money.gross_cents;
    let (mut on_line, mut off_basket) = (Vec::new(), Vec::new());
    for (cents, reason, funder) in [
        (money.retail_disc_cents, "loyalty price", Party::Hub),
        (money.coupon_match_cents, "coupon match", Party::Hub),
        (money.coupon_disc_cents, "coupon", MANUFACTURER.parse()?),
    ] {
        let here = cents.min(left);
        left -= here;
        for (list, amount_minor) in [(&mut on_line, here), (&mut off_basket, cents - here)] {
            if amount_minor > 0 {
                list.push(Markdown { amount_minor, reason: reason.to_owned(), funder: Some(funder) });
            }
        }
    }
    Ok((on_line, off_basket))
}

fn sale_line(line: &Line, markdowns: Vec<Markdown>) -> TillLine {
    let off: i64 = markdowns.iter().map(|markdown| markdown.amount_minor).sum();
    let pieces = if line.department == FUEL { line.quantity } else { line.quantity * PIECE };
    TillLine {
        category_path: line.department.clone(),
        // What was not counted is one piece.
        quantity_thousandths: if pieces > 0 { pieces } else { PIECE },
        gross_minor: line.money.gross_cents,
        markdowns,
        ..till_line(&line.product, line.money.gross_cents - off)
    }
}

async fn trade_day(
    town: &Arc<Town>,
    day: BusinessDay,
    baskets: &Arc<Vec<Basket>>,
    range: std::ops::Range<usize>,
    traded: &mut Traded,
) -> anyhow::Result<()> {
    let stores: BTreeMap<u32, ()> = baskets[range.clone()].iter().map(|basket| (basket.store, ())).collect();
    town.clock.wind_to(baskets[range.start].at);
    open(town, &stores, day).await?;
    let mut first = range.start;
    while first < range.end {
        let until = baskets[first].at.plus_ms(TOGETHER_MS);
        let count = baskets[first..range.end].iter().take_while(|basket| basket.at < until).count();
        town.clock.wind_to(baskets[first].at);
        sell_together(town, baskets, first..first + count, traded).await?;
        first += count;
    }
    close(town, &stores, day).await
}

fn day_no(day: BusinessDay) -> u64 {
    let hours = day.date().duration_since(jiff::civil::Date::constant(1970, 1, 1)).as_hours();
    u64::try_from(hours / 24).unwrap_or(0)
}

async fn open(town: &Arc<Town>, stores: &BTreeMap<u32, ()>, day: BusinessDay) -> anyhow::Result<()> {
    each_store(town, stores, move |shop| {
        let key = day_operation(shop.id, day_no(day), 1);
        async move {
            shop.download().await?;
            let opened = approved(shop.till.open_day(key, Some(day)).await?);
            opened.map(drop).with_context(|| format!("store {} did not open {day}", shop.id))
        }
    })
    .await
}

async fn close(town: &Arc<Town>, stores: &BTreeMap<u32, ()>, day: BusinessDay) -> anyhow::Result<()> {
    each_store(town, stores, move |shop| {
        let key = day_operation(shop.id, day_no(day), 2);
        async move {
            let closed = approved(shop.till.close_day(key).await?);
            closed.map(drop).with_context(|| format!("store {} did not close {day}", shop.id))
        }
    })
    .await?;
    drive::upload(town, stores.keys().copied()).await
}

/// Sells baskets of a few minutes: each store's in order, stores side by side.
async fn sell_together(
    town: &Arc<Town>,
    baskets: &Arc<Vec<Basket>>,
    range: std::ops::Range<usize>,
    traded: &mut Traded,
) -> anyhow::Result<()> {
    let mut by_store: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for at in range {
        by_store.entry(baskets[at].store).or_default().push(at);
    }
    let gate = Arc::new(Semaphore::new(WINDOW));
    let mut tasks = Vec::with_capacity(by_store.len());
    for (store, places) in by_store {
        let permit = Arc::clone(&gate).acquire_owned().await?;
        let (shop, baskets) = (town.shop(store_code(store))?, Arc::clone(baskets));
        tasks.push(tokio::spawn(async move {
            let _permit = permit;
            let mut traded = Traded::default();
            for at in places {
                let basket = &baskets[at];
                sell(&shop, at, basket, &mut traded).await.with_context(|| format!("basket {}", basket.id))?;
            }
            anyhow::Ok(traded)
        }));
    }
    for task in tasks {
        let mut one = task.await??;
        traded.sold.append(&mut one.sold);
        traded.refused.append(&mut one.refused);
        traded.differences.append(&mut one.differences);
        traded.lines += one.lines;
        traded.markdowns += one.markdowns;
        traded.basket_markdowns += one.basket_markdowns;
        traded.for_nothing += one.for_nothing;
    }
    Ok(())
}

/// One basket: quoted, and sold at what was quoted.
async fn sell(shop: &Shop, at: usize, basket: &Basket, traded: &mut Traded) -> anyhow::Result<()> {
    let mut sale = request(basket)?;
    let key = operation_of(at as u64, SALE);
    let quoted = match shop.till.quote(&sale).await? {
        QuoteAnswer::Quoted(quote) => quote,
        QuoteAnswer::Declined { decline, .. } => {
            // A till that sells it all the same is told the same.
            let again = declined(shop.till.sale(key, &sale).await?)?;
            ensure!(again.code == decline.code, "the quote says {:?}, the sale {:?}", decline.code, again.code);
            traded.refused.push((at, decline.code));
            return Ok(());
        }
    };
    if quoted.total_minor != basket.columns.net_cents {
        let (says, costs) = (basket.columns.net_cents, quoted.total_minor);
        traded.differences.push(format!("basket {}: net_cents is {says}, it costs {costs}", basket.id));
    }
    sale.quote = Some(quoted.quote);
    if quoted.total_minor > 0 {
        sale.tenders = vec![tender("cash", quoted.total_minor, None)];
    }
    let receipt = approved(shop.till.sale(key, &sale).await?)?.entry;
    traded.lines += sale.lines.len() as u64;
    traded.markdowns += sale.lines.iter().map(|line| line.markdowns.len() as u64).sum::<u64>();
    traded.basket_markdowns += sale.markdowns.len() as u64;
    traded.for_nothing += u64::from(quoted.total_minor == 0);
    let quantities = sale.lines.iter().map(|line| line.quantity_thousandths).collect();
    traded.sold.push(Sold { seq: at as u64, store: basket.store, receipt, quantities });
    Ok(())
}

async fn settle(town: &Town, day: BusinessDay) -> anyhow::Result<u64> {
    let run = town.head_office(&["settle", "run", "--scheme", "pool", "--to", &day.to_string()]).await?;
    run["id"].as_u64().with_context(|| format!("the run of {day} has no number: {run}"))
}

/// Gives every receipt back on the day after the last, every second one in two parts of each line.
async fn give_all_back(town: &Arc<Town>, last: &Basket, sold: &[Sold]) -> anyhow::Result<u64> {
    let day = last.day.tomorrow();
    town.clock.wind_to(Instant(last.at.0.max(0)).plus_ms(24 * 3_600_000));
    let stores: BTreeMap<u32, ()> = sold.iter().map(|sold| (sold.store, ())).collect();
    open(town, &stores, day).await?;
    let mut by_store: BTreeMap<u32, Vec<Sold>> = BTreeMap::new();
    for sold in sold {
        by_store.entry(sold.store).or_default().push(sold.clone());
    }
    let gate = Arc::new(Semaphore::new(WINDOW));
    let mut tasks = Vec::with_capacity(by_store.len());
    for (store, receipts) in by_store {
        let permit = Arc::clone(&gate).acquire_owned().await?;
        let shop = town.shop(store_code(store))?;
        tasks.push(tokio::spawn(async move {
            let _permit = permit;
            let mut returns = 0;
            for sold in receipts {
                returns += give_back(&shop, &sold).await.with_context(|| format!("receipt {}", sold.receipt))?;
            }
            anyhow::Ok(returns)
        }));
    }
    let mut returns = 0;
    for task in tasks {
        returns += task.await??;
    }
    close(town, &stores, day).await?;
    Ok(returns)
}

async fn give_back(shop: &Shop, sold: &Sold) -> anyhow::Result<u64> {
    let first = |whole: i64| if sold.seq.is_multiple_of(2) { whole / 2 } else { 0 };
    let mut returns = 0;
    for (step, second) in [(FIRST_RETURN, false), (SECOND_RETURN, true)] {
        let part = |whole: i64| if second { whole - first(whole) } else { first(whole) };
        let items: Vec<ReturnItem> = (0_u16..)
            .zip(&sold.quantities)
            .map(|(line, &whole)| ReturnItem { line, quantity_thousandths: part(whole) })
            .filter(|item| item.quantity_thousandths > 0)
            .collect();
        if items.is_empty() {
            continue;
        }
        let reason = "replayed".to_owned();
        let request =
            PostReturn { receipt: sold.receipt, items, reason, operator: None, approver: None, terminal_seq: None };
        match approved(shop.till.operate("/v1/returns", operation_of(sold.seq, step), &request).await?) {
            Ok(_) => returns += 1,
            Err(refusal) => bail!("was not taken back: {refusal}"),
        }
    }
    Ok(returns)
}

/// Who still owes or is owed once everything came back, and who is not heard of any more.
fn unsettled(after: &[Statement], expected: &charged::Charges) -> Vec<String> {
    let open = after.iter().filter(|page| page.closing_minor != 0);
    let mut found: Vec<String> = open
        .map(|page| format!("{}: everything came back, and its balance is {}", page.party, page.closing_minor))
        .collect();
    let stated: BTreeSet<Party> = after.iter().map(|page| page.party).collect();
    let parties: BTreeSet<Party> = expected.keys().flat_map(|&(funder, _, store)| [funder, store]).collect();
    found.extend(parties.difference(&stated).map(|party| format!("{party} has no statement of the last run")));
    found
}
