//! Quotes (P4): what the engine takes to price a basket of a gold member with coupons, in this process, without store or HTTP.
//!
//! Baskets are drawn from goods of a chain whose promotions are of every kind, all live today. Two shapes of policy are measured. *Spread*: a handful of
//! promotions is for all goods, the others are for SKUs, categories and brands, and a chain with more promotions has more goods, as chains do; a line
//! meets some ten of them. *Everywhere*: each promotion is for all goods, so that every line meets every one; no shop is like that, and it is the
//! worst that a policy of that size can do. The promise is a time, so its bar is a part of that time; growth is compared with what linear growth
//! from the middle size would be, so a ratio below one is less than linear. A policy is loaded as stores and head office do: parsed, validated, indexed.

use std::fmt::Write as _;
use std::hint::black_box;

use anyhow::{Context, ensure};
use huitong_protocol::entry::LineFlags;
use huitong_protocol::id::{CouponCode, MemberId, StoreId};
use huitong_protocol::policy::Policy;
use huitong_protocol::pricing::{Basket, BasketLine, CivilMoment, PriceBook, Shopper};
use huitong_protocol::time::BusinessDay;

use super::{Bar, Measured, Sizes, median, now, place};

/// What is promised: the median quote of [`LINES`] lines under [`PROMOTIONS`] promotions.
const QUOTE_US: f64 = 200.0;
/// What is promised: the load of the largest policy.
const LOAD_S: f64 = 1.0;
const LINES: usize = 30;
const PROMOTIONS: usize = 200;
/// The sizes that growth is seen on.
const LINES_SEEN: [usize; 3] = [1, 10, 100];
const PROMOTIONS_SEEN: [usize; 2] = [20, 2_000];
/// Promotions on all goods in a spread policy, however large it is.
const EVERYWHERE: usize = 5;
/// Different baskets, so that no branch is learned by heart.
const BASKETS: usize = 16;
const SEED: u64 = 4;

const PROMISE: &str = "what is promised of the engine";
const LINEAR_LINES: &str = "linear growth in lines, from the middle size";
const LINEAR_PROMOTIONS: &str = "linear growth in promotions, from the middle size";

/// On what goods a policy's promotions are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Spread,
    Everywhere,
}

/// Measures quotes of several sizes, and the load of the largest policy.
///
/// # Errors
/// When a policy is not valid or a basket cannot be priced.
pub fn run(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let shop = Shop::new(PROMOTIONS, Reach::Spread)?;
    let base = shop.measure(LINES, sizes)?;
    let mut measured = vec![promised(format!("P4 quote, {LINES} lines × {PROMOTIONS} promotions"), &base)];
    let crowded = Shop::new(PROMOTIONS, Reach::Everywhere)?.measure(LINES, sizes)?;
    measured.push(promised("P4 quote, the same, each promotion on every line".to_owned(), &crowded));
    for lines in LINES_SEEN {
        let seen = shop.measure(lines, sizes)?;
        measured.push(grown(format!("   {lines} lines × {PROMOTIONS}"), &seen, &base, (lines, LINES), LINEAR_LINES));
    }
    for promotions in PROMOTIONS_SEEN.into_iter().chain([sizes.promotions]) {
        let seen = Shop::new(promotions, Reach::Spread)?.measure(LINES, sizes)?;
        let name = format!("   {LINES} lines × {promotions}");
        measured.push(grown(name, &seen, &base, (promotions, PROMOTIONS), LINEAR_PROMOTIONS));
    }
    measured.push(load(sizes)?);
    Ok(measured)
}

/// What was seen of one size, in microseconds.
struct Seen {
    p50_us: f64,
    p99_us: f64,
    discounts: usize,
    considered: usize,
}

impl Seen {
    fn note(&self) -> String {
        let Self { p99_us, discounts, considered, .. } = self;
        format!("p99 {p99_us:.0} µs; a basket has {discounts} discounts and a trace of {considered} verdicts")
    }
}

#[expect(clippy::float_arithmetic, reason = "a measurement")]
fn promised(name: String, seen: &Seen) -> Measured {
    Measured {
        name,
        limit: PROMISE,
        ours: seen.p50_us,
        theirs: QUOTE_US,
        unit: "µs p50",
        ratio: seen.p50_us / QUOTE_US,
        bar: Bar::AtMost(1.0),
        notes: vec![seen.note()],
    }
}

#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a measurement of small sizes")]
fn grown(name: String, seen: &Seen, base: &Seen, (size, middle): (usize, usize), limit: &'static str) -> Measured {
    let linear_us = base.p50_us * size as f64 / middle as f64;
    Measured {
        name,
        limit,
        ours: seen.p50_us,
        theirs: linear_us,
        unit: "µs p50",
        ratio: seen.p50_us / linear_us,
        bar: Bar::None,
        notes: vec![seen.note()],
    }
}

/// Loads the largest policy.
#[expect(clippy::float_arithmetic, reason = "a measurement")]
fn load(sizes: &Sizes) -> anyhow::Result<Measured> {
    let document = document(sizes.promotions, Reach::Spread);
    let mut rounds = Vec::new();
    for _ in 0..sizes.rounds.max(1) {
        let start = now();
        let policy = read(&document)?;
        let read_s = start.elapsed().as_secs_f64();
        let book = PriceBook::new(&policy);
        let all_s = start.elapsed().as_secs_f64();
        black_box(book);
        rounds.push((all_s, all_s - read_s));
    }
    let of = |pick: fn(&(f64, f64)) -> f64| median(rounds.iter().map(pick).collect());
    let (all_s, index_s) = (of(|round| round.0), of(|round| round.1));
    Ok(Measured {
        name: format!("P4 load of a policy of {} promotions", sizes.promotions),
        limit: PROMISE,
        ours: all_s,
        theirs: LOAD_S,
        unit: "s",
        ratio: all_s / LOAD_S,
        bar: Bar::AtMost(1.0),
        notes: vec![format!("{} B of TOML; {:.3} s of it to index", document.len(), index_s)],
    })
}

/// A chain's goods and prices.
struct Shop {
    book: PriceBook,
    goods: Vec<Goods>,
    shopper: Shopper,
    coupons: Vec<CouponCode>,
    store: StoreId,
    at: CivilMoment,
}

struct Goods {
    sku: String,
    category_path: String,
    brand: String,
}

impl Shop {
    fn new(promotions: usize, reach: Reach) -> anyhow::Result<Self> {
        let book = PriceBook::new(&read(&document(promotions, reach))?);
        // Ten articles to a promotion, but no fewer than a corner shop has.
        let count = promotions.saturating_mul(10).max(200);
        let goods = (0..count)
            .map(|no| Goods {
                sku: sku(no),
                category_path: format!("{}/{}", category(no, promotions), no % 3),
                brand: brand(no, promotions),
            })
            .collect();
        let business_day: BusinessDay = "2026-11-22".parse()?;
        let shopper = Shopper {
            member: Some(MemberId::FIRST),
            tier: Some("gold".parse()?),
            segments: vec!["mums".parse()?],
            birthday_month: true,
        };
        let at = CivilMoment { business_day, date: business_day.date(), minute_of_day: 720 };
        let coupons = ["C19", "C39", "LOST"].into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { book, goods, shopper, coupons, store: "S1".parse()?, at })
    }

    fn measure(&self, lines: usize, sizes: &Sizes) -> anyhow::Result<Seen> {
        let baskets: Vec<Vec<BasketLine<'_>>> = (0..BASKETS as u64).map(|no| self.basket(no, lines)).collect();
        let price = |lines: &[BasketLine<'_>]| {
            let Self { store, at, coupons, shopper, .. } = self;
            self.book.price(&Basket {
                store: *store,
                at: *at,
                shopper: Some(shopper),
                coupons,
                budgets_spent: &[],
                markdowns: &[],
                lines,
            })
        };
        let first = price(&baskets[0]).context("a basket of the bench has no price")?;
        let discounts = first.lines.iter().map(|line| line.discounts.len()).sum();
        let considered = first.trace.len();
        ensure!(considered > 0, "no promotion was considered: nothing would be measured");
        let (mut p50_us, mut p99_us) = (Vec::new(), Vec::new());
        for _ in 0..sizes.rounds.max(1) {
            let mut ns: Vec<u128> = Vec::with_capacity(sizes.quotes);
            for lines in baskets.iter().cycle().take(sizes.quotes.max(BASKETS)) {
                let start = now();
                let priced = price(black_box(lines));
                ns.push(start.elapsed().as_nanos());
                drop(black_box(priced).context("a basket of the bench has no price")?);
            }
            ns.sort_unstable();
            p50_us.push(us(ns[ns.len() / 2]));
            p99_us.push(us(ns[ns.len() * 99 / 100]));
        }
        Ok(Seen { p50_us: median(p50_us), p99_us: median(p99_us), discounts, considered })
    }

    /// A basket of scattered goods, a piece to three pieces each, some with a member price.
    fn basket(&self, no: u64, lines: usize) -> Vec<BasketLine<'_>> {
        let line = |at: u64| {
            let goods = &self.goods[place(SEED.wrapping_add(no), at, self.goods.len())];
            let pieces = 1 + i64::try_from(at % 3).unwrap_or(0);
            BasketLine {
                sku: &goods.sku,
                category_path: &goods.category_path,
                brand: &goods.brand,
                counter: None,
                supplier: None,
                quantity_thousandths: pieces * 1_000,
                gross_minor: pieces * 1_990,
                markdowns: &[],
                member_price_minor: at.is_multiple_of(4).then_some(1_890),
                flags: LineFlags::default(),
                known: true,
            }
        };
        (0..lines as u64).map(line).collect()
    }
}

#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a measurement far below 2^53 ns")]
fn us(ns: u128) -> f64 {
    ns as f64 / 1_000.0
}

fn read(document: &str) -> anyhow::Result<Policy> {
    huitong_hub::publish::read_policy(document).context("the bench's policy is not valid")
}

fn sku(no: usize) -> String {
    format!("69{no:08}")
}

/// Four promotions to a category, and as many to a brand.
fn category(no: usize, promotions: usize) -> String {
    format!("百货/{}", no % (promotions / 4).max(1))
}

fn brand(no: usize, promotions: usize) -> String {
    format!("品牌{}", no % (promotions / 4).max(1))
}

/// A policy with promotions of every kind, all of which hold at noon on any day.
fn document(promotions: usize, reach: Reach) -> String {
    let mut toml = String::from(
        "name = \"Bench\"\ncurrency = \"CNY\"\n[[tenders]]\ncode = \"cash\"\nclass = \"external\"\n\
         [[tiers]]\ncode = \"silver\"\nname = \"银卡\"\nrank = 1\n[[tiers]]\ncode = \"gold\"\nname = \"金卡\"\nrank = 2\n",
    );
    for no in 0..promotions {
        let give = match no % 5 {
            0 => format!("kind = \"percent_off\", percent_ppm = {}", 50_000 + no % 20 * 1_000),
            1 => format!("kind = \"amount_off\", amount_minor = {}", 50 + no % 50),
            2 => "kind = \"fixed_price\", price_minor = 1750".to_owned(),
            3 => format!(
                "kind = \"threshold\", spend_minor = {}, off_minor = 300, repeat_max = 2",
                5_000 + no % 7 * 2_000
            ),
            _ => "kind = \"threshold_percent\", spend_minor = 20000, percent_ppm = 30000".to_owned(),
        };
        let combine = ["compound", "compound", "compound", "best_price", "compound", "best_price", "exclusive"][no % 7];
        // Writing into a string does not fail.
        let _ = write!(
            toml,
            "[[promotions]]\nid = \"P{no}\"\nname = \"促销{no}\"\ngive = {{ {give} }}\ncombine = \"{combine}\"\npriority = {}\n",
            no % 3
        );
        let _ = match no % 4 {
            0 => writeln!(toml, "who = {{ tiers = [\"gold\", \"silver\"] }}"),
            1 => writeln!(toml, "who = {{ members = true }}"),
            2 => writeln!(toml, "when = {{ weekdays = [1, 2, 3, 4, 5, 6, 7], times = [[\"08:00\", \"22:00\"]] }}"),
            _ => writeln!(
                toml,
                "funding = [{{ party = \"hub\", share_ppm = 600000 }}, {{ party = \"store\", share_ppm = 400000 }}]"
            ),
        };
        if no % 20 == 19 {
            let _ = writeln!(toml, "coupon = \"C{no}\"");
        }
        if reach == Reach::Everywhere || no < EVERYWHERE {
            continue;
        }
        let include = match no % 3 {
            0 => {
                let skus: Vec<String> = (0..5).map(|at| format!("\"{}\"", sku(no * 10 + at))).collect();
                format!("skus = [{}]", skus.join(", "))
            }
            1 => format!("categories = [\"{}\"]", category(no, promotions)),
            _ => format!("brands = [\"{}\"]", brand(no, promotions)),
        };
        let exclude = sku(no * 10 + 9);
        let _ = writeln!(toml, "goods = {{ include = {{ {include} }}, exclude = {{ skus = [\"{exclude}\"] }} }}");
    }
    toml
}
