//! A small chain's baskets, made up from a seed, sold line by line through the whole system: funders are charged what the columns say, a basket below zero
//! is refused, everything given back leaves nobody owing, and a cent that the columns put elsewhere is a difference.

use std::fmt::Write as _;
use std::path::Path;

use huitong_tests::replay::lines::{self, Options, Report};
use huitong_tests::town::Transport;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const BASKETS: &str =
    "basket_id,store_id,timestamp,gross_cents,retail_disc_cents,coupon_disc_cents,coupon_match_cents,net_cents\n";
const LINES: &str = "basket_id,product_id,department,qty,gross_cents,retail_disc_cents,coupon_disc_cents,coupon_match_cents,net_cents\n";

/// Two days of three stores: bare coupons, coupons above their line, goods for nothing, fuel in thousandths, and one basket below zero without lines.
fn made_up() -> (String, String) {
    let mut random = StdRng::seed_from_u64(2_026);
    let (mut baskets, mut lines) = (BASKETS.to_owned(), LINES.to_owned());
    for id in 1..=60 {
        let (day, minute) = (1 + (id - 1) / 30, ((id - 1) % 30) * 40);
        let mut sums = [0_i64; 4];
        let count = random.random_range(1..6);
        for line in 0..count {
            let gross = random.random_range(1..900);
            let retail = if random.random_range(0..2) == 0 { random.random_range(0..=gross / 2) } else { 0 };
            let coupon = if random.random_range(0..3) == 0 { random.random_range(0..=gross / 3) } else { 0 };
            let matched = if coupon > 0 { coupon.min(gross - retail - coupon) / 2 } else { 0 };
            let (department, quantity) =
                if line == 4 { ("FUEL", 12_345) } else { ("GROCERY", random.random_range(0..4)) };
            add(&mut lines, &mut sums, id, department, quantity, [gross, retail, coupon, matched]);
        }
        let left = sums[0] - sums[1] - sums[2] - sums[3];
        match id % 5 {
            0 => add(&mut lines, &mut sums, id, "", 0, [0, 0, left.min(75), 0]),
            1 => add(&mut lines, &mut sums, id, "GROCERY", 1, [10, 0, 10 + left.min(40), 0]),
            2 if id == 12 => add(&mut lines, &mut sums, id, "", 0, [0, 0, left, 0]),
            _ => {}
        }
        basket(&mut baskets, id, 1 + id % 3, day, minute, sums);
    }
    basket(&mut baskets, 61, 1, 2, 1_300, [100, 40, 61, 0]);
    basket(&mut baskets, 62, 2, 2, 1_301, [100, 40, 20, 0]);
    (baskets, lines)
}

fn add(lines: &mut String, sums: &mut [i64; 4], id: i64, department: &str, quantity: i64, money: [i64; 4]) {
    let [gross, retail, coupon, matched] = money;
    let net = gross - retail - coupon - matched;
    writeln!(lines, "{id},P{},{department},{quantity},{gross},{retail},{coupon},{matched},{net}", sums[0]).unwrap();
    sums.iter_mut().zip(money).for_each(|(sum, amount)| *sum += amount);
}

fn basket(baskets: &mut String, id: i64, store: i64, day: i64, minute: i64, sums: [i64; 4]) {
    let [gross, retail, coupon, matched] = sums;
    let at = format!("2026-03-{day:02}T{:02}:{:02}:00-05:00", minute / 60, minute % 60);
    writeln!(baskets, "{id},{store},{at},{gross},{retail},{coupon},{matched},{}", gross - retail - coupon - matched)
        .unwrap();
}

async fn play(folder: &Path, baskets: &str, lines: &str, transport: Transport) -> Report {
    let (basket_file, line_file) = (folder.join("baskets.csv"), folder.join("lines.csv"));
    std::fs::write(&basket_file, baskets).unwrap();
    std::fs::write(&line_file, lines).unwrap();
    let options = Options {
        baskets: basket_file,
        lines: line_file,
        days: None,
        every_basket: false,
        transport,
        data: None,
        progress: false,
    };
    lines::play(&options).await.unwrap_or_else(|error| panic!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn funders_are_charged_what_the_columns_say_and_nothing_once_all_came_back() {
    let folder = tempfile::tempdir().unwrap();
    let (baskets, lines) = made_up();
    let report = play(folder.path(), &baskets, &lines, Transport::Http).await;
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!((report.baskets, report.left_out, report.days, report.stores), (61, 1, 2, 3));
    assert_eq!(report.refused.into_iter().collect::<Vec<_>>(), [("basket_below_zero".to_owned(), 1)]);
    assert!(
        report.for_nothing >= 1 && report.basket_markdowns >= 20,
        "{} {}",
        report.for_nothing,
        report.basket_markdowns
    );
    assert!(report.returns > 60 && report.rerated == 60, "{} {}", report.returns, report.rerated);
    assert!(report.charged_minor["hub"] > 0 && report.charged_minor["partner:manufacturer"] > 0);
    assert_eq!(report.balances, 5, "three stores, the hub, the manufacturer");

    // A cent that the columns have at the other funder: the goods cost the same, and every sum of the day is off by one.
    let moved: String = baskets
        .lines()
        .map(|row| {
            let mut cells: Vec<String> = row.split(',').map(str::to_owned).collect();
            if cells[0] == "7" {
                let shifted = |cell: &str, by: i64| (cell.parse::<i64>().unwrap() + by).to_string();
                (cells[4], cells[5]) = (shifted(&cells[4], 1), shifted(&cells[5], -1));
            }
            cells.join(",") + "\n"
        })
        .collect();
    assert_ne!(moved, baskets);
    let report = play(folder.path(), &moved, &lines, Transport::Memory).await;
    assert_eq!(report.differences.len(), 4, "two funders, for the day and for the store: {:#?}", report.differences);
    assert!(report.differences.iter().all(|difference| difference.contains("on 2026-03-01")));
}
