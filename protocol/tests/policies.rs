//! The sample policies: each is read as a daemon reads it, judged, and priced with.

#![expect(clippy::unwrap_used, reason = "a sample that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use huitong_protocol::entry::LineFlags;
use huitong_protocol::id::{CouponCode, MemberId, StoreId};
use huitong_protocol::policy::{Policy, StoreParameters, TenderClass};
use huitong_protocol::pricing::{Basket, BasketLine, CivilMoment, PriceBook, Rule, Shopper, Verdict};

fn policies() -> Vec<(String, Policy)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/policies");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.retain(|path| !name(path).starts_with("agreement-") && !name(path).starts_with("store-"));
    files
        .iter()
        .map(|path| {
            let document = std::fs::read_to_string(path).unwrap();
            (name(path), toml::from_str(&document).unwrap_or_else(|why| panic!("{}: {why}", path.display())))
        })
        .collect()
}

fn standard() -> Policy {
    policies().into_iter().find(|(name, _)| name == "standard.toml").unwrap().1
}

#[test]
fn every_sample_is_valid_and_reads_back() {
    let policies = policies();
    assert!(policies.len() >= 2);
    for (name, policy) in policies {
        assert_eq!(policy.validate(), [], "{name}");
        let written = toml::to_string(&policy).unwrap();
        assert_eq!(toml::from_str::<Policy>(&written).unwrap(), policy, "{name}");
    }
}

#[test]
fn the_standard_policy_has_the_whole_tender_catalogue() {
    let tenders = standard().tenders;
    let codes: Vec<&str> = tenders.iter().map(|tender| tender.code.as_str()).collect();
    let expected = [
        "cash",
        "bank_card",
        "wechat",
        "alipay",
        "unionpay_qr",
        "ecny",
        "voucher",
        "on_account",
        "stored_value",
        "points",
        "coupon",
    ];
    assert_eq!(codes, expected);
    for tender in tenders {
        let external = tender.class == TenderClass::External;
        assert_eq!(tender.may_load, external, "{}: only money from outside loads a card", tender.code);
    }
}

/// The sample of a store is within the bounds of the standard policy, and says everything that a store can set.
#[test]
fn the_sample_of_a_store_is_within_the_bounds() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/policies/store-parameters.toml");
    let own: StoreParameters = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut policy = standard();
    policy.stores.insert("S1".parse().unwrap(), own);
    assert_eq!(policy.validate(), []);
    let written = toml::to_string(&policy.stores).unwrap();
    let read: BTreeMap<StoreId, StoreParameters> = toml::from_str(&written).unwrap();
    assert_eq!(read, policy.stores, "as a bundle carries them");
}

fn line(sku: &'static str, category_path: &'static str, gross_minor: i64) -> BasketLine<'static> {
    BasketLine {
        sku,
        category_path,
        brand: "",
        counter: None,
        supplier: None,
        quantity_thousandths: 1_000,
        gross_minor,
        markdowns: &[],
        member_price_minor: None,
        flags: LineFlags::default(),
        known: true,
    }
}

/// A Saturday morning at half past eight: every promotion of the standard policy is given to somebody, and for what its name says.
#[test]
fn every_standard_promotion_does_what_its_name_says() {
    let book = PriceBook::new(&standard());
    let gold = Shopper {
        member: MemberId::new(1).ok(),
        tier: Some("gold".parse().unwrap()),
        segments: Vec::new(),
        birthday_month: true,
    };
    let saturday: huitong_protocol::time::BusinessDay = "2026-11-21".parse().unwrap();
    let at = CivilMoment { business_day: saturday, date: saturday.date(), minute_of_day: 510 };
    let mut given = BTreeSet::new();
    let mut check = |coupon: Option<&str>, lines: &[BasketLine<'_>], total_minor: i64| {
        let coupons: Vec<CouponCode> = coupon.iter().map(|code| code.parse().unwrap()).collect();
        let store = "S1".parse().unwrap();
        let basket =
            Basket { store, at, shopper: Some(&gold), coupons: &coupons, budgets_spent: &[], markdowns: &[], lines };
        let priced = book.price(&basket).unwrap();
        assert_eq!(priced.total_minor, total_minor, "{priced:#?}");
        for considered in priced.trace {
            if let (Rule::Promotion { promotion }, Verdict::Applied { .. }) = (considered.rule, considered.outcome) {
                given.insert(promotion);
            }
        }
    };
    check(Some("TEA15"), &[line("1", "食品/饮料/茶", 1_000), line("2", "食品/饮料/酒", 1_000)], 850 + 1_000);
    check(None, &[line("1", "食品/零食", 1_000)], 800);
    check(None, &[line("6900000000024", "食品/蛋", 1_290)], 990);
    check(None, &[line("1", "服装/男装", 70_000)], 60_000);
    check(None, &[line("1", "家居", 15_000), line("2", "家居/灯", 5_000)], 18_000);
    check(None, &[line("1", "食品/糕点", 10_000)], 8_000);
    check(Some("WELCOME20"), &[line("1", "日用", 10_000), line("2", "烟草", 5_000)], 13_000);
    let all: BTreeSet<_> = standard().promotions.iter().map(|promotion| promotion.id).collect();
    assert_eq!(given, all);
}

#[test]
fn a_fault_names_the_promotion_by_its_place() {
    let mut policy = standard();
    let place = policy.promotions.len();
    let mut more = policy.promotions[0].clone();
    more.who.tiers = vec!["platinum".parse().unwrap()];
    policy.promotions.push(more);
    let faults: Vec<String> = policy.validate().iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            format!("promotions[{place}].id: WEEKEND-TEA is there twice; give each promotion its own code"),
            format!("promotions[{place}].who.tiers[0]: platinum is not in the chapter tiers"),
        ]
    );
}
