//! Faults of a policy document: all at once, each with its path.

use super::*;
use crate::card::{CheckDigit, NumberRange};
use crate::money::Ppm;

fn range(prefix: &str) -> NumberRange {
    NumberRange { prefix: prefix.to_owned(), length: 16, check: CheckDigit::Damm }
}

fn paths(policy: &Policy) -> Vec<String> {
    policy.validate().into_iter().map(|fault| fault.path).collect()
}

fn document(json: serde_json::Value) -> Policy {
    serde_json::from_value(json).unwrap()
}

/// A good policy with one tier and the promotions given.
fn with_promotions(promotions: serde_json::Value) -> Policy {
    document(serde_json::json!({
        "name": "test", "currency": "CNY",
        "tenders": [{ "code": "cash", "class": "external" }],
        "tiers": [{ "code": "gold", "name": "金卡", "rank": 2 }],
        "promotions": promotions,
    }))
}

#[test]
fn every_fault_is_reported_at_once_with_its_path() {
    let product = |id: &str, ranges| Product {
        id: id.parse().unwrap(),
        name: String::new(),
        issuer: "E1".parse().unwrap(),
        ranges,
        load_minor_max: 0,
        balance_minor_max: i64::MAX,
        spend_minor_max: i64::MAX,
        spend_day_minor_max: i64::MAX,
        scope: Scope::default(),
        invoice_tax_code: None,
    };
    let policy = Policy {
        products: vec![product("SV", vec![range("6601")]), product("SV", vec![range("66017"), range("x")])],
        tenders: vec![Tender {
            may_load: true,
            ..Tender::new("stored_value".parse().unwrap(), TenderClass::StoredValue)
        }],
        allotment: AllotmentRules { park_minor: -1, ..AllotmentRules::default() },
        returns: ReturnRules { without_receipt: true, without_receipt_minor_max: -1 },
        ..Policy::empty(" ", Currency::CNY)
    };
    assert_eq!(
        paths(&policy),
        [
            "name",
            "products[0].load_minor_max",
            "products[1].id",
            "products[1].load_minor_max",
            "products[1].ranges[0]",
            "products[1].ranges[1]",
            "tenders[0].may_load",
            "tenders",
            "allotment.park_minor",
            "returns.without_receipt_minor_max",
        ]
    );
}

#[test]
fn a_document_from_before_the_new_chapters_keeps_its_meaning() {
    let policy = document(serde_json::json!({
        "name": "old", "currency": "CNY",
        "tenders": [{ "code": "cash", "class": "external", "may_load": true, "invoiceable": true }],
    }));
    assert_eq!(policy.validate(), []);
    assert_eq!(
        policy.tenders,
        [Tender { may_load: true, invoiceable: true, ..Tender::new("cash".parse().unwrap(), TenderClass::External) }]
    );
    let cash = &policy.tenders[0];
    assert!(cash.earns_points && cash.counts_as == CountsAs::Sale && cash.refund == RefundRoute::SameTender);
    assert_eq!((policy.pricing.across_priorities, policy.pricing.member_price), (AcrossPriorities::Never, true));
}

#[test]
fn an_overdraft_without_bounds_or_against_itself_is_refused() {
    let with = |overdraft: serde_json::Value, class: &str| {
        document(serde_json::json!({
            "name": "test", "currency": "CNY", "overdraft": overdraft,
            "tenders": [{ "code": "cash", "class": "external", "may_load": true }, { "code": "pays", "class": class }],
        }))
    };
    let good = serde_json::json!({
        "store_line_minor": 1_000, "receipt_minor_max": 1_000, "account_minor_max": 1_000, "store_day_minor_max": 1_000,
        "cards_age_minutes_max": 60,
    });
    assert_eq!(paths(&with(good.clone(), "stored_value")), Vec::<String>::new());
    assert_eq!(paths(&with(good, "external")), ["overdraft"]);
    let bad = serde_json::json!({
        "store_line_minor": 99, "receipt_minor_max": 100, "account_minor_max": 0, "store_day_minor_max": -1,
        "cards_age_minutes_max": 0,
    });
    let of = |field: &str| format!("overdraft.{field}");
    let fields = ["store_line_minor", "account_minor_max", "store_day_minor_max", "cards_age_minutes_max"].map(of);
    assert_eq!(paths(&with(bad, "stored_value")), fields);
    let unbounded = serde_json::json!({
        "name": "test", "currency": "CNY", "overdraft": { "store_line_minor": 1_000 }, "tenders": [],
    });
    assert!(serde_json::from_value::<Policy>(unbounded).is_err(), "every limit has to be named");
}

#[test]
fn a_tender_that_contradicts_itself_is_refused() {
    let policy = document(serde_json::json!({
        "name": "test", "currency": "CNY",
        "tenders": [
            { "code": "cash", "class": "external", "gives_change": true, "reference": "none", "refund": "cash" },
            { "code": "cash", "class": "coupon", "counts_as": "discount", "invoiceable": true, "refund": "cash" },
            { "code": "points", "class": "points", "gives_change": true, "refund": "cash" },
            { "code": "voucher", "class": "voucher", "may_load": true, "reference": "none", "reference_unique": true },
            { "code": "stored_value", "class": "stored_value", "refund": "nothing" },
        ],
    }));
    assert_eq!(
        paths(&policy),
        [
            "tenders[1].code",
            "tenders[1].invoiceable",
            "tenders[1].refund",
            "tenders[2].gives_change",
            "tenders[2].refund",
            "tenders[3].may_load",
            "tenders[3].reference_unique",
            "tenders[4].refund",
            "points.burn",
        ]
    );
}

#[test]
fn tiers_have_their_own_codes_and_ranks() {
    let tier = |code: &str, name: &str, rank, multiplier| Tier {
        code: code.parse().unwrap(),
        name: name.to_owned(),
        rank,
        earn_multiplier_ppm: Ppm(multiplier),
    };
    let mut policy = with_promotions(serde_json::json!([]));
    policy.tiers = vec![tier("a", "A", 1, 0), tier("a", "", 1, -1), tier("c", "C", 3, 100_000_001)];
    assert_eq!(
        paths(&policy),
        [
            "tiers[1].code",
            "tiers[1].name",
            "tiers[1].rank",
            "tiers[1].earn_multiplier_ppm",
            "tiers[2].earn_multiplier_ppm"
        ]
    );
}

#[test]
fn what_a_promotion_gives_is_bounded() {
    let policy = with_promotions(serde_json::json!([
        { "id": "P0", "name": "all of it", "give": { "kind": "percent_off", "percent_ppm": 1_000_000 } },
        { "id": "P1", "name": "more than all", "give": { "kind": "percent_off", "percent_ppm": 1_000_001 } },
        { "id": "P2", "name": "nothing", "give": { "kind": "percent_off", "percent_ppm": 0 } },
        { "id": "P3", "name": "adds", "give": { "kind": "amount_off", "amount_minor": -1 } },
        { "id": "P4", "name": "free", "give": { "kind": "fixed_price", "price_minor": 0 } },
        { "id": "P5", "name": "pays", "give": { "kind": "threshold", "spend_minor": 100, "off_minor": 101 } },
        { "id": "P6", "name": "never", "give": { "kind": "threshold", "spend_minor": 100, "off_minor": 100, "repeat_max": 0 } },
        { "id": "P7", "name": "both", "give": { "kind": "threshold_percent", "spend_minor": 0, "percent_ppm": 2_000_000 } },
        { "id": "P0", "name": " ", "give": { "kind": "amount_off", "amount_minor": 1 } },
    ]));
    assert_eq!(
        paths(&policy),
        [
            "promotions[1].give.percent_ppm",
            "promotions[2].give.percent_ppm",
            "promotions[3].give.amount_minor",
            "promotions[4].give.price_minor",
            "promotions[5].give.off_minor",
            "promotions[6].give.repeat_max",
            "promotions[7].give.spend_minor",
            "promotions[7].give.percent_ppm",
            "promotions[8].id",
            "promotions[8].name",
        ]
    );
    let fault = &policy.validate()[4];
    assert_eq!(
        fault.to_string(),
        "promotions[5].give.off_minor: is 101, more than spend_minor, 100: it would give money away"
    );
}

#[test]
fn a_promotion_that_can_never_be_given_is_refused() {
    let give = serde_json::json!({ "kind": "amount_off", "amount_minor": 1 });
    let policy = with_promotions(serde_json::json!([
        { "id": "W0", "name": "the last day", "give": give,
          "when": { "from": "2026-11-22", "to": "2026-11-23", "weekdays": [1], "times": [["22:00", "02:00"], ["00:00", "24:00"]] } },
        { "id": "W1", "name": "backwards", "give": give, "when": { "from": "2026-11-23", "to": "2026-11-22" } },
        { "id": "W2", "name": "no Saturday", "give": give,
          "when": { "from": "2026-11-23", "to": "2026-11-27", "weekdays": [6, 7] } },
        { "id": "W3", "name": "no hour", "give": give, "when": { "times": [["09:00", "09:00"], ["24:00", "02:00"]] } },
        { "id": "W4", "name": "no weekday", "give": give, "when": { "weekdays": [0, 8, 3, 3] } },
        { "id": "G0", "name": "nothing", "give": give, "goods": { "include": {} } },
        { "id": "G1", "name": "in and out", "give": give, "goods": {
            "include": { "skus": ["1", "2"], "brands": ["B"], "counters": ["C1"], "suppliers": ["S"], "categories": ["食品/饮料"] },
            "exclude": { "skus": ["2", "3"], "brands": ["B"], "counters": ["C1"], "suppliers": ["S"], "categories": ["食品"] } } },
        { "id": "G2", "name": "all but a part", "give": give, "goods": {
            "include": { "categories": ["食品"] }, "exclude": { "categories": ["食品/饮料"], "skus": ["7"] } } },
        { "id": "G3", "name": "bad names", "give": give, "goods": {
            "include": { "skus": ["", "a", "a"], "categories": ["/食品", ""], "brands": [" "] } } },
        { "id": "C0", "name": "no counter", "give": give, "counters": { "take_part": "only" } },
        { "id": "C1", "name": "other counter", "give": give,
          "goods": { "include": { "counters": ["A"] } }, "counters": { "take_part": "only", "counters": ["B", "B"] } },
        { "id": "C2", "name": "own goods", "give": give, "counters": { "take_part": "only", "own_goods": true } },
        { "id": "C3", "name": "but none", "give": give, "counters": { "take_part": "except", "counters": [] } },
    ]));
    assert_eq!(
        paths(&policy),
        [
            "promotions[1].when.to",
            "promotions[2].when.weekdays",
            "promotions[3].when.times[0]",
            "promotions[3].when.times[1]",
            "promotions[4].when.weekdays[0]",
            "promotions[4].when.weekdays[1]",
            "promotions[4].when.weekdays[3]",
            "promotions[5].goods.include",
            "promotions[6].goods.include.skus[1]",
            "promotions[6].goods.include.brands[0]",
            "promotions[6].goods.include.counters[0]",
            "promotions[6].goods.include.suppliers[0]",
            "promotions[6].goods.include.categories[0]",
            "promotions[8].goods.include.skus[0]",
            "promotions[8].goods.include.skus[2]",
            "promotions[8].goods.include.brands[0]",
            "promotions[8].goods.include.categories[0]",
            "promotions[8].goods.include.categories[1]",
            "promotions[9].counters",
            "promotions[10].counters.counters[1]",
            "promotions[10].counters",
            "promotions[12].counters",
        ]
    );
}

#[test]
fn a_promotion_names_only_what_exists_and_is_borne_whole() {
    let give = serde_json::json!({ "kind": "amount_off", "amount_minor": 1 });
    let policy = with_promotions(serde_json::json!([
        { "id": "F0", "name": "shared", "give": give, "who": { "tiers": ["gold"] },
          "funding": [{ "party": "hub", "share_ppm": 600_000 }, { "party": "supplier:S88", "share_ppm": 400_000 }] },
        { "id": "F1", "name": "unknown tier", "give": give, "who": { "tiers": ["gold", "platinum"] } },
        { "id": "F2", "name": "too little", "give": give, "funding": [{ "party": "hub", "share_ppm": 999_999 }] },
        { "id": "F3", "name": "too much", "give": give,
          "funding": [{ "party": "hub", "share_ppm": 1_000_001 }, { "party": "risk", "share_ppm": -1 }] },
        { "id": "F4", "name": "twice", "give": give, "where": { "stores": ["S1", "S1"] },
          "funding": [{ "party": "hub", "share_ppm": 500_000 }, { "party": "hub", "share_ppm": 500_000 }] },
    ]));
    assert_eq!(
        paths(&policy),
        [
            "promotions[1].who.tiers[1]",
            "promotions[2].funding",
            "promotions[3].funding[0].share_ppm",
            "promotions[3].funding[1].share_ppm",
            "promotions[3].funding[1].party",
            "promotions[4].where.stores[1]",
            "promotions[4].funding[1].party",
        ]
    );
}

#[test]
fn a_promotion_with_a_word_that_nobody_knows_is_refused() {
    let refused = |promotion: &str, says: &str| {
        let error = serde_json::from_str::<Promotion>(promotion).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(r#"{"id":"P","name":"n","give":{"kind":"percent_off","percent_ppm":1,"amount_minor":1}}"#, "amount_minor");
    refused(r#"{"id":"P","name":"n","give":{"kind":"gift"}}"#, "gift");
    refused(r#"{"id":"P","name":"n","give":{"kind":"amount_off","amount_minor":1},"day":1}"#, "day");
    refused(
        r#"{"id":"P","name":"n","give":{"kind":"amount_off","amount_minor":1},"when":{"times":[["9","10:00"]]}}"#,
        "time of day",
    );
    refused(
        r#"{"id":"P","name":"n","give":{"kind":"amount_off","amount_minor":1},"counters":{"take_part":"all","counters":[]}}"#,
        "counters",
    );
}

#[test]
fn chapters_do_not_contradict_each_other() {
    let policy = document(serde_json::json!({
        "name": "test", "currency": "CNY",
        "tenders": [{ "code": "cash", "class": "external" }],
        "returns": { "without_receipt": true },
        "ladder": { "rungs": [{ "after_minutes": 60, "points_max": 5 }] },
    }));
    assert_eq!(paths(&policy), ["returns.without_receipt", "ladder.rungs[0].points_max"]);
}

#[test]
fn a_product_names_stores_goods_and_tenders_that_make_sense() {
    let policy = document(serde_json::json!({
        "name": "test", "currency": "CNY",
        "products": [{
            "id": "SV", "name": "储值卡", "issuer": "E1", "ranges": [{ "prefix": "66010", "length": 16 }],
            "load_minor_max": 200, "balance_minor_max": 100, "spend_minor_max": 60, "spend_day_minor_max": 50,
            "scope": {
                "stores": ["S1", "S1"],
                "goods": { "include": { "categories": ["食品/茶"] }, "exclude": { "categories": ["食品"] } },
                "load_tenders": ["cash", "voucher", "gold"],
            },
        }],
        "tenders": [
            { "code": "cash", "class": "external", "may_load": true },
            { "code": "voucher", "class": "voucher" },
            { "code": "stored_value", "class": "stored_value" },
        ],
    }));
    assert_eq!(
        paths(&policy),
        [
            "products[0].load_minor_max",
            "products[0].spend_minor_max",
            "products[0].scope.stores[1]",
            "products[0].scope.goods.include.categories[0]",
            "products[0].scope.load_tenders[1]",
            "products[0].scope.load_tenders[2]",
        ]
    );
}
