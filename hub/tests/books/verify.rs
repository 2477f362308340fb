//! Verification: an honest hub has no findings, and one changed byte or cent anywhere has one that names the row.

use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::run::{Finality, Standing};

use crate::shop::Town;

/// Two settled days of three stores with an opening balance, everything uploaded.
fn settled() -> Town {
    let mut town = Town::new(Scheme::Pool);
    let cards = [town.card(), town.card()];
    let opening = format!("card,amount,business_day,store\n{},80.00,2026-08-31,S2\n", cards[1].number.reveal());
    let now = huitong_protocol::time::Instant(1_789_999_000_000);
    huitong_hub::import::opening::import(&town.store, opening.as_bytes(), "opening.csv", now, &Default::default())
        .unwrap();
    let mut shops = [town.shop("S1"), town.shop("S2"), town.shop("S3")];
    for date in ["2026-09-01", "2026-09-02"] {
        let [one, two, three] = &mut shops;
        for shop in [&mut *one, &mut *two, &mut *three] {
            town.open(shop, date);
        }
        if date == "2026-09-01" {
            town.sell(one, &cards[0], 10_000);
        }
        town.reload(one, &cards[0], 1_000);
        town.carry(one, two, &cards[0], 900);
        town.spend(two, &cards[0], 450);
        town.carry(two, three, &cards[0], 200);
        town.spend(three, &cards[0], 150);
        // Two funders and the store itself bear a discount; what comes back on the second day had been sold by another store.
        let sold = town.sell_goods(two, &[("supplier:X", 500), ("partner:P", 200), ("", 30)]);
        if date == "2026-09-02" {
            town.take_back(three, sold, &[("supplier:X", 250), ("partner:P", 100)]);
        }
        town.hold_and_release(two, &cards[0], 50);
        shops.iter_mut().for_each(|shop| town.close(shop));
        town.settle(Scheme::Pool, Standing::Booked, Finality::Final, None).unwrap();
        town.settle(Scheme::Fifo, Standing::Memo, Finality::Final, None).unwrap();
    }
    town
}

#[test]
fn an_honest_hub_has_no_findings() {
    let town = settled();
    let report = town.verify();
    assert!(report.ok, "{:?}", town.findings());
    for check in &report.checks {
        assert!(check.looked_at > 0, "{} looked at nothing", check.name);
    }
}

#[test]
fn every_planted_change_is_found_and_named() {
    let plants: &[(&str, &str, &str)] = &[
        (
            "a byte of an entry",
            "UPDATE entry SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || x'00' AS BLOB) WHERE store_id = 'S2' AND seq = 3",
            "entry S2-1-3",
        ),
        (
            "a byte of the last entry",
            "UPDATE entry SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || x'00' AS BLOB) WHERE store_id = 'S3' AND seq = (SELECT MAX(seq) FROM entry WHERE store_id = 'S3')",
            "entry S3-1-",
        ),
        (
            "a byte of head office's entry",
            "UPDATE entry SET bytes = CAST(x'00' || substr(bytes, 2) AS BLOB) WHERE store_id = 'HUB'",
            "entry HUB-1-1",
        ),
        (
            "a hash",
            "UPDATE entry SET hash = CAST(substr(hash, 1, 31) || x'00' AS BLOB) WHERE store_id = 'S1' AND seq = 2",
            "entry S1-1-2",
        ),
        ("an entry taken out", "DELETE FROM entry WHERE store_id = 'S1' AND seq = 4", "entry S1-1-5"),
        (
            "an entry's operation",
            "UPDATE entry SET operation = x'00112233445566778899aabbccddeeff' WHERE store_id = 'S1' AND seq = 2",
            "entry S1-1-2",
        ),
        (
            "an entry's day",
            "UPDATE entry SET business_day = '2026-09-03' WHERE store_id = 'S1' AND seq = 2",
            "entry S1-1-2",
        ),
        (
            "an entry's number",
            "UPDATE entry SET ingested_no = 9999 WHERE store_id = 'S1' AND seq = 2",
            "movement S1-1-2 index 0",
        ),
        ("a cent of a hold", "UPDATE hold SET amount_minor = amount_minor + 1", "hold S2-1 hold "),
        ("a hold that is open again", "UPDATE hold SET ended_seq = NULL", "hold S2-1 hold "),
        ("a hold taken out", "DELETE FROM hold", "hold S2-1 hold "),
        ("a hold of another journal", "UPDATE hold SET epoch = 7", "hold S2-7-"),
        ("a head", "UPDATE journal SET seq = seq + 1 WHERE store_id = 'S2'", "journal S2-1"),
        ("a head's seal", "UPDATE journal SET sealed_seq = sealed_seq - 1 WHERE store_id = 'S2'", "journal S2-1"),
        (
            "a cent of a movement",
            "UPDATE movement SET amount_minor = amount_minor + 1 WHERE store_id = 'S2' AND kind = 'spend' AND business_day = '2026-09-01'",
            "movement S2-1-",
        ),
        (
            "a movement's day",
            "UPDATE movement SET business_day = '2026-09-02' WHERE store_id = 'S3' AND business_day = '2026-09-01'",
            "movement S3-1-",
        ),
        (
            "a movement's lot owner",
            "UPDATE movement SET origin_store = 'S1' WHERE store_id = 'HUB'",
            "movement HUB-1-1 index 0",
        ),
        (
            "a movement taken out",
            "DELETE FROM movement WHERE store_id = 'S2' AND business_day = '2026-09-02'",
            "movement S2-1-",
        ),
        (
            "a cent of a journal counter",
            "UPDATE journal_counter SET spent_minor = spent_minor + 1 WHERE store_id = 'S2'",
            "journal_counter account 1 CNY at S2-1",
        ),
        (
            "a day's totals",
            "UPDATE day SET totals = CAST(substr(totals, 1, length(totals) - 1) || x'01' AS BLOB) WHERE store_id = 'S1' AND business_day = '2026-09-01'",
            "day S1 2026-09-01",
        ),
        (
            "a day's state",
            "UPDATE day SET state = 'open' WHERE store_id = 'S3' AND business_day = '2026-09-02'",
            "day S3 2026-09-02",
        ),
        (
            "a byte of a policy",
            "UPDATE policy SET bundle = CAST(substr(bundle, 1, length(bundle) - 1) || x'20' AS BLOB)",
            "policy 1",
        ),
        ("a policy's first day", "UPDATE policy SET effective_from = '2026-01-02'", "policy 1"),
        ("the policy of a sale", "UPDATE policy_used SET version = 7 WHERE store_id = 'S2'", "policy_used S2"),
        ("the policy of a sale taken out", "DELETE FROM policy_used WHERE store_id = 'S3'", "policy_used S3"),
        (
            "a cent of the pool's grants",
            "UPDATE pool SET granted_minor = granted_minor + 1 WHERE account_id = 1",
            "pool account 1 CNY",
        ),
        (
            "a cent of the pool's loads",
            "UPDATE pool SET loaded_minor = loaded_minor + 1 WHERE account_id = 2",
            "pool account 2 CNY",
        ),
        (
            "a cent of the pool's releases",
            "UPDATE pool SET released_minor = released_minor - 1 WHERE account_id = 1",
            "pool account 1 CNY",
        ),
        (
            "a cent granted",
            "UPDATE allotment SET granted_minor = granted_minor + 1 WHERE store_id = 'S2'",
            "pool account 1 CNY",
        ),
        (
            "a cent adopted",
            "UPDATE allotment SET adopted_minor = adopted_minor - 1 WHERE store_id = 'S2'",
            "allotment account 1 CNY at S2-1",
        ),
        (
            "a cent loaded",
            "UPDATE allotment SET loaded_minor = loaded_minor + 1 WHERE store_id = 'S1'",
            "allotment account 1 CNY at S1-1",
        ),
        (
            "a cent spent",
            "UPDATE allotment SET spent_minor = spent_minor - 1 WHERE store_id = 'S3'",
            "allotment account 1 CNY at S3-1",
        ),
        (
            "a cent released",
            "UPDATE allotment SET released_minor = released_minor + 1 WHERE store_id = 'S1'",
            "pool account 1 CNY",
        ),
        (
            "a cent of a line",
            "UPDATE settlement_line SET amount_minor = amount_minor + 1 WHERE run_no = 1 AND creditor = 'store:S2'",
            "settlement_line pool account 1 2026-09-01 spend hub → store:S2",
        ),
        (
            "a line taken out",
            "DELETE FROM settlement_line WHERE run_no = 3 AND creditor = 'store:S3'",
            "settlement_line pool account 1",
        ),
        (
            "the first line of an account taken out",
            "DELETE FROM settlement_line WHERE run_no = 1 AND account_id = 1 AND line_no = 0",
            "settlement_line pool account 1",
        ),
        (
            "a line of an account that never moved",
            "INSERT INTO settlement_line VALUES (1, 77, 0, 'hub', 'store:S1', 'spend', '2026-09-01', 'CNY', 5)",
            "settlement_line pool",
        ),
        (
            "a line of a run that never was",
            "PRAGMA foreign_keys = OFF; INSERT INTO settlement_line VALUES (99, 1, 0, 'hub', 'store:S1', 'spend', '2026-09-01', 'CNY', 5)",
            "settlement_line run 99",
        ),
        (
            "a cent more in one closed run and a cent less in another, of one leg",
            "INSERT INTO settlement_line SELECT 3, 1, 99, debtor, creditor, kind, business_day, currency, -1 FROM settlement_line
             WHERE run_no = 1 AND account_id = 1 AND creditor = 'store:S2';
             UPDATE settlement_line SET amount_minor = amount_minor + 1 WHERE run_no = 1 AND account_id = 1 AND creditor = 'store:S2'",
            "settlement_run run 1",
        ),
        (
            "a line moved to a later run",
            "UPDATE settlement_line SET run_no = 3, line_no = 99 WHERE run_no = 1 AND account_id = 1 AND creditor = 'store:S2'",
            "settlement_run run 3",
        ),
        (
            "a run's first day",
            "UPDATE settlement_run SET day_from = '2026-08-01' WHERE run_no = 3",
            "settlement_run run 3",
        ),
        (
            "a fingerprint",
            "UPDATE settlement_run SET fingerprint = (SELECT fingerprint FROM settlement_run WHERE run_no = 1) WHERE run_no = 2",
            "settlement_run run 2",
        ),
        (
            "a cent moved between two funders",
            "UPDATE funding SET amount_minor = amount_minor + CASE funder WHEN 'supplier:X' THEN 1 ELSE -1 END
             WHERE funder <> 'store:S2' AND kind = 'sale' AND business_day = '2026-09-01'",
            "funding S2-1-",
        ),
        (
            "a discount of another funder",
            "UPDATE funding SET funder = 'hub' WHERE funder = 'supplier:X' AND kind = 'return'",
            "funding S3-1-",
        ),
        ("a return at the store that took it", "UPDATE funding SET seller = 'S3' WHERE kind = 'return'", "funding S3-1-"),
        ("a funder's row taken out", "DELETE FROM funding WHERE funder = 'partner:P' AND kind = 'sale'", "funding S2-1-"),
        (
            "a funder's row that no entry says",
            "INSERT INTO funding VALUES ('S1', 1, 2, 9, 9999, '2026-09-01', 'S1', 'hub', 'sale', 'CNY', 5)",
            "funding S1-1-2 index 9",
        ),
        (
            "a cent of a run moved between two funders",
            "UPDATE settlement_line SET amount_minor = amount_minor + CASE debtor WHEN 'supplier:X' THEN 1 ELSE -1 END
             WHERE run_no = 1 AND kind = 'discount_funding' AND debtor <> creditor",
            "settlement_line pool no account 2026-09-01 discount_funding partner:P → store:S2",
        ),
        (
            "a funder's line taken out",
            "DELETE FROM settlement_line WHERE run_no = 3 AND kind = 'discount_funding_back' AND creditor = 'partner:P'",
            "settlement_line pool no account",
        ),
    ];
    let town = settled();
    town.store.close();
    for (what, sql, row) in plants {
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("hub.db");
        std::fs::copy(town.database(), &path).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(sql).unwrap();
        assert!(connection.changes() > 0, "{what} changed nothing");
        drop(connection);
        let store = huitong_hub::store::Store::open(&path, 1).unwrap();
        let report = store.read_blocking(huitong_hub::verify::run).unwrap();
        let found: Vec<String> = report
            .checks
            .iter()
            .flat_map(|check| &check.findings)
            .map(|finding| format!("{} {}", finding.table, finding.row))
            .collect();
        assert!(
            !report.ok && found.iter().any(|found| found.starts_with(row)),
            "{what}: {row} is not among {found:#?}"
        );
        store.close();
    }
}
