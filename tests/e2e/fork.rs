//! A fork that nothing but the journal proves: a database that was put back, and whose reports, ratchet and tills give no sign of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::id::OperationId;
use huitong_protocol::till::PostSale;
use huitong_tests::process::command;
use huitong_tests::replay::cards;
use huitong_tests::till::{Till, approved, declined, tender};

use crate::crash::Shop;

/// Nothing but tills and head office proves a start.
const UNMARKED: [&str; 1] = ["store.marker_dir=off"];
const PATIENCE: Duration = Duration::from_secs(120);

fn key(number: u128) -> OperationId {
    OperationId(uuid::Uuid::from_u128(0x0193_6000_0000_7000_8000_0000_0000_0000 + number))
}

/// The database as an image of the machine keeps it.
struct Image([(PathBuf, Option<Vec<u8>>); 2]);

impl Image {
    fn of(folder: &Path) -> Self {
        let files = [folder.join("edge.db"), folder.join("edge.db-wal")];
        Self(files.map(|path| (path.clone(), std::fs::read(path).ok())))
    }

    fn put_back(self, folder: &Path) -> anyhow::Result<()> {
        drop(std::fs::remove_file(folder.join("edge.db-shm")));
        for (path, bytes) in self.0 {
            drop(std::fs::remove_file(&path));
            if let Some(bytes) = bytes {
                std::fs::write(path, bytes)?;
            }
        }
        Ok(())
    }
}

async fn sells_for_cash(till: &Till, number: u128) {
    let sale = till.one_line_sale(cards::of_household(1), 100);
    let sale = PostSale { tenders: vec![tender("cash", 100, None)], ..sale };
    approved(till.sale(key(number), &sale).await.unwrap()).unwrap();
}

async fn journal_is_held(till: &Till) -> anyhow::Result<()> {
    let arrived = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            look.tick().await;
            let status = till.status().await?;
            if status.hub_online && status.acknowledged_seq == status.head.seq {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, arrived).await.context("the journal did not arrive")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_journal_is_not_the_one_that_head_office_holds_sells_for_cash_alone() {
    let (shop, hub) = Shop::set_up().await.unwrap();
    let card = cards::of_household(1);
    let paired = command("huitong-edge", &shop.edge_data, &["till", "pair", "--terminal", "T2"]).unwrap();
    let second = paired["token"].as_str().unwrap().to_owned();
    let tills = || (shop.till_with(&shop.token).unwrap(), shop.till_with(&second).unwrap());
    let edge = shop.start_edge_with(&UNMARKED).await.unwrap();
    let (one, two) = tills();
    approved(one.open_day(key(1), None).await.unwrap()).unwrap();
    sells_for_cash(&two, 2).await;
    let sold = async {
        let mut no = 100;
        // Until head office has answered, no value moves.
        while declined(one.sell(key(no), card, 5_000).await.unwrap()).is_ok() {
            no += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, sold).await.unwrap();
    journal_is_held(&one).await.unwrap();
    edge.kill().await.unwrap();
    // One till is switched off after this start: value waits for it, so the store reports nothing, and its journal goes up all the same.
    let edge = shop.start_edge_with(&UNMARKED).await.unwrap();
    sells_for_cash(&two, 3).await;
    journal_is_held(&two).await.unwrap();
    let image = Image::of(&shop.edge_data);
    sells_for_cash(&two, 4).await;
    sells_for_cash(&two, 5).await;
    journal_is_held(&two).await.unwrap();
    edge.kill().await.unwrap();
    hub.kill().await.unwrap();
    // The machine and both its tills are put back to the image, and trade on another way, further than head office has come.
    image.put_back(&shop.edge_data).unwrap();
    let _edge = shop.start_edge_with(&UNMARKED).await.unwrap();
    let (one, two) = tills();
    for number in 6..10 {
        sells_for_cash(&one, number).await;
    }
    sells_for_cash(&two, 10).await;
    let code = async |no| declined(one.spend(key(no), card, 100).await.unwrap()).unwrap().code;
    assert_eq!(code(200).await, DeclineCode::ValueUnproved, "head office is awaited");
    let _hub = shop.start_hub().await.unwrap();
    let stopped = async {
        let mut no = 201;
        while code(no).await == DeclineCode::ValueUnproved {
            no += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stopped).await.unwrap();
    assert_eq!(code(300).await, DeclineCode::ValueQuarantined);
    sells_for_cash(&one, 11).await;
}
