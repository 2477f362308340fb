//! A small shop for tests of prices: promotions as JSON, carts of a few lines, verdicts by promotion.

use serde_json::{Value, json};

use super::{Basket, BasketLine, CivilMoment, PriceBook, Priced, PricingRefusal, Rule, Shopper, Verdict};
use crate::entry::{LineFlags, Markdown};
use crate::id::{CouponCode, MemberId, PromotionId, StoreId};
use crate::policy::Policy;
use crate::time::BusinessDay;

/// A policy that passed its validation, with tiers `silver` and `gold`.
pub(crate) fn policy(promotions: Value) -> Policy {
    let policy: Policy = serde_json::from_value(json!({
        "name": "test", "currency": "CNY",
        "tenders": [{ "code": "cash", "class": "external" }],
        "tiers": [{ "code": "silver", "name": "银卡", "rank": 1 }, { "code": "gold", "name": "金卡", "rank": 2 }],
        "promotions": promotions,
    }))
    .unwrap();
    assert_eq!(policy.validate(), []);
    policy
}

/// A promotion; `more` has its other fields.
pub(crate) fn promotion(id: &str, give: Value, more: Value) -> Value {
    let mut promotion = json!({ "id": id, "name": id, "give": give });
    promotion.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    promotion
}

pub(crate) fn percent(percent: i64) -> Value {
    json!({ "kind": "percent_off", "percent_ppm": percent * 10_000 })
}

pub(crate) fn amount(amount_minor: i64) -> Value {
    json!({ "kind": "amount_off", "amount_minor": amount_minor })
}

pub(crate) fn fixed(price_minor: i64) -> Value {
    json!({ "kind": "fixed_price", "price_minor": price_minor })
}

pub(crate) fn threshold(spend_minor: i64, off_minor: i64) -> Value {
    json!({ "kind": "threshold", "spend_minor": spend_minor, "off_minor": off_minor })
}

pub(crate) fn threshold_percent(spend_minor: i64, percent: i64) -> Value {
    json!({ "kind": "threshold_percent", "spend_minor": spend_minor, "percent_ppm": percent * 10_000 })
}

/// One piece without attributes, known to the item master.
pub(crate) fn piece(sku: &'static str, gross_minor: i64) -> BasketLine<'static> {
    BasketLine {
        sku,
        category_path: "",
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

pub(crate) fn markdown(amount_minor: i64, funder: Option<&str>) -> &'static [Markdown] {
    let funder = funder.map(|party| party.parse().unwrap());
    vec![Markdown { amount_minor, reason: "破损".to_owned(), funder }].leak()
}

pub(crate) fn member(tier: Option<&str>) -> Shopper {
    Shopper {
        member: MemberId::new(7).ok(),
        tier: tier.map(|tier| tier.parse().unwrap()),
        segments: vec!["mums".parse().unwrap()],
        birthday_month: false,
    }
}

/// `at("2026-11-22", "2026-11-23", 90)`: the business day, the date on the wall, minutes after midnight.
pub(crate) fn at(business_day: &str, date: &str, minute_of_day: u16) -> CivilMoment {
    let date: BusinessDay = date.parse().unwrap();
    CivilMoment { business_day: business_day.parse().unwrap(), date: date.date(), minute_of_day }
}

/// A cart in store S1, on Sunday 2026-11-22 at noon.
#[derive(Clone, Debug)]
pub(crate) struct Cart {
    pub(crate) store: StoreId,
    pub(crate) at: CivilMoment,
    pub(crate) shopper: Option<Shopper>,
    pub(crate) coupons: Vec<CouponCode>,
    pub(crate) budgets_spent: Vec<PromotionId>,
    pub(crate) markdowns: Vec<Markdown>,
    pub(crate) lines: Vec<BasketLine<'static>>,
}

impl Cart {
    pub(crate) fn of(lines: impl IntoIterator<Item = BasketLine<'static>>) -> Self {
        Self {
            store: "S1".parse().unwrap(),
            at: at("2026-11-22", "2026-11-22", 720),
            shopper: None,
            coupons: Vec::new(),
            budgets_spent: Vec::new(),
            markdowns: Vec::new(),
            lines: lines.into_iter().collect(),
        }
    }

    pub(crate) fn basket(&self) -> Basket<'_> {
        Basket {
            store: self.store,
            at: self.at,
            shopper: self.shopper.as_ref(),
            coupons: &self.coupons,
            budgets_spent: &self.budgets_spent,
            markdowns: &self.markdowns,
            lines: &self.lines,
        }
    }

    pub(crate) fn try_price(&self, policy: &Policy) -> Result<Priced, PricingRefusal> {
        PriceBook::new(policy).price(&self.basket())
    }

    pub(crate) fn price(&self, promotions: Value) -> Priced {
        self.try_price(&policy(promotions)).unwrap()
    }
}

pub(crate) fn nets(priced: &Priced) -> Vec<i64> {
    priced.lines.iter().map(|line| line.net_minor).collect()
}

/// The verdicts on a promotion with their lines, `applied 150 [0, 2]` or `beaten by X [1]`.
pub(crate) fn why(priced: &Priced, id: &str) -> Vec<String> {
    let rule = Rule::Promotion { promotion: id.parse().unwrap() };
    verdicts(priced, rule)
}

pub(crate) fn verdicts(priced: &Priced, rule: Rule) -> Vec<String> {
    let found = priced.trace.iter().filter(|considered| considered.rule == rule);
    found
        .map(|considered| {
            let json = serde_json::to_value(considered.outcome).unwrap();
            let text = |field: &str| json[field].as_str().unwrap().to_owned();
            let mut said = match considered.outcome {
                Verdict::Applied { amount_minor } => format!("applied {amount_minor}"),
                Verdict::Rejected(_) => text("reason"),
            };
            if json["by"].is_string() {
                said = format!("{said} {}", text("by"));
            }
            if json["missing_minor"].is_i64() {
                said = format!("{said} {}", json["missing_minor"]);
            }
            format!("{said} {:?}", considered.lines)
        })
        .collect()
}
