//! The baskets of a replay of lines: what customers bought, from two CSV files, plain or gzipped: a row per basket with its sums, a row per line.
//!
//! What tills do with them is in [`super::lines`]; the sums of the baskets are left to the checker, [`super::charged`], so that the two
//! files are compared with each other by way of the whole system. Money is in cents.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use huitong_protocol::time::{BusinessDay, Instant};
use serde::Deserialize;

/// The sums of a basket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub struct Columns {
    /// At the shelf price.
    pub gross_cents: i64,
    /// Off by the retailer's own price.
    pub retail_disc_cents: i64,
    /// Off by coupons of manufacturers.
    pub coupon_disc_cents: i64,
    /// What the retailer adds to a coupon.
    pub coupon_match_cents: i64,
    /// To be paid.
    pub net_cents: i64,
}

impl Columns {
    fn add(&mut self, line: &Self) {
        self.gross_cents += line.gross_cents;
        self.retail_disc_cents += line.retail_disc_cents;
        self.coupon_disc_cents += line.coupon_disc_cents;
        self.coupon_match_cents += line.coupon_match_cents;
        self.net_cents += line.net_cents;
    }

    fn check(&self) -> anyhow::Result<()> {
        let Self { gross_cents, retail_disc_cents, coupon_disc_cents, coupon_match_cents, net_cents } = *self;
        let parts = [gross_cents, retail_disc_cents, coupon_disc_cents, coupon_match_cents];
        ensure!(parts.iter().all(|cents| *cents >= 0), "an amount is below zero");
        let net = gross_cents - retail_disc_cents - coupon_disc_cents - coupon_match_cents;
        ensure!(net == net_cents, "net_cents is {net_cents}; gross less all discounts is {net}");
        Ok(())
    }
}

/// A line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The item.
    pub product: String,
    /// Its department; empty for what is no goods.
    pub department: String,
    /// As written: pieces, of fuel thousandths of a gallon, 0 for what was not counted.
    pub quantity: i64,
    /// What it costs and what comes off.
    pub money: Columns,
}

/// A basket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Basket {
    /// Its number.
    pub id: u64,
    /// Where.
    pub store: u32,
    /// When.
    pub at: Instant,
    /// The local date.
    pub day: BusinessDay,
    /// Its sums, from its own row.
    pub columns: Columns,
    /// Its lines; none where the files have none of it.
    pub lines: Vec<Line>,
}

#[derive(Deserialize)]
struct BasketRow {
    basket_id: u64,
    store_id: u32,
    timestamp: String,
    gross_cents: i64,
    retail_disc_cents: i64,
    coupon_disc_cents: i64,
    coupon_match_cents: i64,
    net_cents: i64,
}

#[derive(Deserialize)]
struct LineRow {
    basket_id: u64,
    product_id: String,
    department: String,
    qty: i64,
    gross_cents: i64,
    retail_disc_cents: i64,
    coupon_disc_cents: i64,
    coupon_match_cents: i64,
    net_cents: i64,
}

/// Reads all baskets with their lines, in the order of time.
///
/// # Errors
/// Names file, line and what is wrong: amounts that do not add up, lines of no basket, lines that are not their basket.
pub fn read(baskets: &Path, lines: &Path) -> anyhow::Result<Vec<Basket>> {
    let mut found: Vec<Basket> = Vec::new();
    rows(baskets, |row: BasketRow| {
        found.push(basket(&row)?);
        Ok(())
    })?;
    found.sort_by_key(|basket| (basket.at, basket.id));
    let places: HashMap<u64, usize> = found.iter().enumerate().map(|(at, basket)| (basket.id, at)).collect();
    ensure!(places.len() == found.len(), "{}: a basket_id is there twice", baskets.display());
    rows(lines, |row: LineRow| {
        let &at = places.get(&row.basket_id).with_context(|| format!("basket {} has no row", row.basket_id))?;
        let LineRow { gross_cents, retail_disc_cents, coupon_disc_cents, coupon_match_cents, net_cents, .. } = row;
        let money = Columns { gross_cents, retail_disc_cents, coupon_disc_cents, coupon_match_cents, net_cents };
        money.check()?;
        ensure!(row.qty >= 0, "qty is {}", row.qty);
        let LineRow { product_id: product, department, qty: quantity, .. } = row;
        found[at].lines.push(Line { product, department, quantity, money });
        Ok(())
    })?;
    for basket in found.iter().filter(|basket| !basket.lines.is_empty()) {
        let zero =
            Columns { gross_cents: 0, retail_disc_cents: 0, coupon_disc_cents: 0, coupon_match_cents: 0, net_cents: 0 };
        let sum = basket.lines.iter().fold(zero, |mut sum, line| {
            sum.add(&line.money);
            sum
        });
        // Who bears what is for the checker to compare; that the goods are the same is needed to play at all.
        ensure!(
            (sum.gross_cents, sum.net_cents) == (basket.columns.gross_cents, basket.columns.net_cents),
            "basket {}: its lines come to {} of {}, its row says {} of {}",
            basket.id,
            sum.net_cents,
            sum.gross_cents,
            basket.columns.net_cents,
            basket.columns.gross_cents
        );
    }
    Ok(found)
}

fn basket(row: &BasketRow) -> anyhow::Result<Basket> {
    let text = &row.timestamp;
    let at: jiff::Timestamp =
        text.parse().with_context(|| format!("timestamp {text:?} is not a time with its offset"))?;
    let day = text.get(..10).unwrap_or(text).parse().with_context(|| format!("timestamp {text:?} has no date"))?;
    let &BasketRow { gross_cents, retail_disc_cents, coupon_disc_cents, coupon_match_cents, net_cents, .. } = row;
    let columns = Columns { gross_cents, retail_disc_cents, coupon_disc_cents, coupon_match_cents, net_cents };
    columns.check()?;
    let at = Instant(at.as_millisecond());
    Ok(Basket { id: row.basket_id, store: row.store_id, at, day, columns, lines: Vec::new() })
}

fn rows<T: serde::de::DeserializeOwned>(
    path: &Path,
    mut each: impl FnMut(T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = std::fs::File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    let plain: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(flate2::read::GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut reader = csv::Reader::from_reader(std::io::BufReader::new(plain));
    for (index, row) in reader.deserialize::<T>().enumerate() {
        let place = || format!("{}, line {}", path.display(), index + 2);
        row.map_err(anyhow::Error::from).and_then(&mut each).with_context(place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASKETS: &str =
        "basket_id,store_id,timestamp,gross_cents,retail_disc_cents,coupon_disc_cents,coupon_match_cents,net_cents\n";
    const LINES: &str = "basket_id,product_id,department,qty,gross_cents,retail_disc_cents,coupon_disc_cents,coupon_match_cents,net_cents\n";

    fn read_text(baskets: &str, lines: &str) -> anyhow::Result<Vec<Basket>> {
        let folder = tempfile::tempdir().unwrap();
        let (basket_file, line_file) = (folder.path().join("baskets.csv"), folder.path().join("lines.csv"));
        std::fs::write(&basket_file, format!("{BASKETS}{baskets}")).unwrap();
        std::fs::write(&line_file, format!("{LINES}{lines}")).unwrap();
        read(&basket_file, &line_file)
    }

    #[test]
    fn a_basket_has_its_lines_in_their_order() {
        let baskets = "7,330,2017-05-01T23:59:59-04:00,500,40,10,5,445\n6,330,2017-05-01T08:00:00-04:00,1,0,0,0,1\n";
        let lines = "7,A,GROCERY,2,300,40,0,0,260\n7,B,FUEL,1500,200,0,10,5,185\n";
        let found = read_text(baskets, lines).unwrap();
        assert_eq!(found.iter().map(|basket| (basket.id, basket.lines.len())).collect::<Vec<_>>(), [(6, 0), (7, 2)]);
        assert_eq!((found[1].day.to_string(), found[1].lines[1].quantity), ("2017-05-01".to_owned(), 1_500));
    }

    #[test]
    fn what_does_not_add_up_is_named() {
        let check = |baskets: &str, lines: &str, says: &str| {
            let error = format!("{:#}", read_text(baskets, lines).unwrap_err());
            assert!(error.contains(says), "{error}");
        };
        let basket = "7,330,2017-05-01T23:59:59-04:00,500,40,0,0,460\n";
        check(
            "7,330,2017-05-01T23:59:59-04:00,500,40,0,0,461\n",
            "",
            "line 2: net_cents is 461; gross less all discounts is 460",
        );
        check(basket, "8,A,GROCERY,1,1,0,0,0,1\n", "line 2: basket 8 has no row");
        check(
            basket,
            "7,A,GROCERY,1,500,0,0,0,500\n",
            "basket 7: its lines come to 500 of 500, its row says 460 of 500",
        );
        check("7,330,yesterday,1,0,0,0,1\n", "", "timestamp \"yesterday\"");
    }
}
