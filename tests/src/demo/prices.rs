//! Prices: what members, promotions, coupons and points make of a basket, why, and the papers that go with a receipt.

use anyhow::{Context, bail, ensure};
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::entry::Invoiceable;
use huitong_protocol::id::EntryId;
use huitong_protocol::pricing::{Considered, Rule, Verdict};
use huitong_protocol::till::{Approved, PaymentOutcome, PostSale, Quote};
use huitong_protocol::unit::Unit;

use super::chain::{MEMBER_PHONE, operation_id};
use super::trade::{Floor, S1, S3, SALES, basket, goods};
use crate::till::{QuoteAnswer, tender};

const QUOTES: &str = "POST /v1/quotes";
const PAYMENT: &str = "POST /v1/sales/{id}/payment";
/// The width of 80 mm paper.
const COLUMNS: usize = 48;
const COUPON: &str = "WELCOME20";

impl Floor<'_, '_> {
    /// A gold member is found by phone, told a price that explains itself, and pays it.
    pub(super) async fn prices(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("10:00  Prices explain themselves; points are earned and pay")?;
        let member = self.till(S1).member("phone", MEMBER_PHONE).await?;
        let tier = member.tier.context("the member has no tier")?;
        let what =
            format!("finds {} ({}) by phone: tier {tier}, {} card", member.name, member.phone, member.cards.len());
        self.narrator.step("S1", &what, "GET /v1/members?phone=…")?;

        let card = self.card(S1, 1)?;
        let chips = huitong_protocol::till::TillLine { quantity_thousandths: 2_000, ..goods("6904", "薯片", 1_780) };
        let mut sale = PostSale {
            member_card: Some(card),
            coupons: vec![COUPON.parse()?],
            markdowns: Vec::new(),
            ..basket(vec![chips, goods("6905", "羊绒衫", 39_900)], Vec::new(), None)
        };
        let told = self.quoted("quotes two bags of crisps and a jumper, coupon shown", &sale).await?;
        self.count_quote(&sale, &told);
        sale.quote = Some(told.quote);
        let mut by_bank = tender("bank_card", told.total_minor - 20_000, None);
        by_bank.reference = Some(operation_id()?.to_string());
        sale.tenders = vec![tender("stored_value", 20_000, Some(card)), by_bank];
        let sold = self.sale(S1, "sells it at that price: 200.00 from her card, the rest by bank card", &sale).await?;
        self.figures.shop.quote.paid_minor = sold.price.as_ref().map_or(0, |price| price.total_minor);
        self.count_earned(&sold);
        let slip = self.till(S1).receipt(sold.entry, COLUMNS).await?;
        let total = self.chain.amount(told.total_minor);
        ensure!(slip.contains(&total) && slip.contains("储值卡"), "the receipt does not say what was paid how: {slip}");
        self.narrator.step("S1", "prints the receipt", "GET /v1/operations/{id}/receipt?columns=48")?;
        self.narrator.page(&slip)?;

        self.points_pay().await?;
        self.invoice_and_red_letter(sold.entry).await
    }

    /// A coupon takes its part, points pay another, up to what the policy lets them.
    async fn points_pay(&mut self) -> anyhow::Result<()> {
        let card = self.card(S1, 1)?;
        let mut sale = PostSale {
            member_card: Some(card),
            coupons: vec![COUPON.parse()?],
            markdowns: Vec::new(),
            ..basket(vec![goods("6901", "大米 5kg", 4_980), goods("6903", "橄榄油 1L", 8_890)], Vec::new(), None)
        };
        let told = self.quoted("quotes rice and oil, coupon shown", &sale).await?;
        sale.quote = Some(told.quote);
        let total_minor = told.total_minor;
        let paid = |by_points_minor| {
            vec![tender("points", by_points_minor, Some(card)), tender("wechat", total_minor - by_points_minor, None)]
        };
        sale.tenders = paid(6_000);
        let outcome = self.till(S1).sale(operation_id()?, &sale).await?;
        self.decline(S1, "60.00 of it by points", SALES, outcome, DeclineCode::PointsLimit)?;
        sale.tenders = paid(200);
        let sold = self.sale(S1, "2.00 of it by points, the rest by wechat", &sale).await?;
        self.count_earned(&sold);
        self.figures.shop.points.burnt += 200;
        Ok(())
    }

    /// A receipt gets its tax invoice; goods that come back ask for a red letter, and take their points along.
    async fn invoice_and_red_letter(&mut self, receipt: EntryId) -> anyhow::Result<()> {
        let sum = |parts: &[Invoiceable]| parts.iter().map(|part| part.invoiceable_minor).sum::<i64>();
        let outcome = self.till(S1).register_invoice(operation_id()?, receipt, "26442000000000000001").await?;
        let command = "POST /v1/sales/{id}/invoice";
        let invoiced = self.approve(S1, "registers the tax invoice over what the bank card paid", command, outcome)?;
        self.figures.shop.invoice.invoiced_minor = sum(&invoiced.invoiceable);
        let before = self.points().await?;
        let outcome = self.till(S1).give_back(operation_id()?, receipt, 1, 1_000).await?;
        let back = self.approve(S1, "takes the jumper back", "POST /v1/returns", outcome)?;
        let letter = back.red_letter_required.context("the return asks for no red letter")?;
        let left = self.points().await?;
        let lowered = sum(&letter.invoiceable);
        let note = format!(
            "a red-letter invoice over {} of {} is due; {} points are taken back",
            self.chain.amount(lowered),
            letter.invoice,
            before - left
        );
        self.narrator.step("", &note, "")?;
        self.figures.shop.invoice.red_letter_minor = lowered;
        self.figures.shop.points.taken_back += before - left;
        self.figures.shop.points.left = left;
        Ok(())
    }

    /// An acquirer does not answer: two sales wait, one turns out paid, the other not.
    pub(super) async fn unknown_payments(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("10:30  The acquirer of S3 does not answer")?;
        let card = self.card(S3, 1)?;
        let parked = |lines, tenders: Vec<_>| {
            let last = u16::try_from(tenders.len().saturating_sub(1)).ok();
            PostSale { payment_unknown: last, ..basket(lines, tenders, None) }
        };
        let lunch = parked(vec![goods("6902", "便当", 5_990)], vec![tender("alipay", 5_990, None)]);
        let lunch = self.sale(S3, "a lunch by alipay: nobody knows whether it was paid", &lunch).await?;
        let tenders = vec![tender("stored_value", 2_000, Some(card)), tender("alipay", 2_980, None)];
        let rice = parked(vec![goods("6901", "大米 5kg", 4_980)], tenders);
        let rice = self.sale(S3, &format!("rice, 20.00 from {card}, 29.80 by alipay: the same"), &rice).await?;
        let waiting = self.till(S3).parked().await?.len();
        let what = format!("sees {waiting} sales wait; goods and value are held meanwhile");
        self.narrator.step("S3", &what, "GET /v1/sales/parked")?;
        self.figures.shop.payments.parked = waiting as u64;

        let paid = PaymentOutcome::Paid;
        let outcome = self.till(S3).resolve_payment(operation_id()?, lunch.entry, paid, Some("2026112200001")).await?;
        self.approve(S3, "finds the lunch in the acquirer's list: it was paid", PAYMENT, outcome)?;
        self.figures.shop.payments.paid += 1;
        let failed = PaymentOutcome::Failed;
        let outcome = self.till(S3).resolve_payment(operation_id()?, rice.entry, failed, None).await?;
        let undone = self.approve(S3, "does not find the rice: its 20.00 are on the card again", PAYMENT, outcome)?;
        if undone.refunds.iter().map(|refund| refund.amount_minor).ne([2_000]) {
            bail!("the sale that was not paid gave back {:?}", undone.refunds);
        }
        self.figures.shop.payments.failed += 1;
        self.figures.shop.payments.waiting = self.till(S3).parked().await?.len() as u64;
        Ok(())
    }

    async fn quoted(&mut self, what: &str, sale: &PostSale) -> anyhow::Result<Quote> {
        let told = match self.till(S1).quote(sale).await? {
            QuoteAnswer::Quoted(quote) => *quote,
            QuoteAnswer::Declined { message, .. } => bail!("S1 {what}: {message}"),
        };
        let shelf_minor: i64 = sale.lines.iter().map(|line| line.gross_minor).sum();
        let price = format!("{what}: {}, not {}", self.chain.amount(told.total_minor), self.chain.amount(shelf_minor));
        self.narrator.step("S1", &price, QUOTES)?;
        for considered in &told.trace {
            let said = match considered.outcome {
                Verdict::Applied { amount_minor } => format!("-{}", self.chain.amount(amount_minor)),
                Verdict::Rejected(_) => format!("not: {}", reason(considered)?),
            };
            self.narrator.page(&format!("{:<16} {said}", rule(considered.rule)))?;
        }
        Ok(told)
    }

    fn count_quote(&mut self, sale: &PostSale, told: &Quote) {
        let figures = &mut self.figures.shop.quote;
        figures.shelf_minor = sale.lines.iter().map(|line| line.gross_minor).sum();
        figures.told_minor = told.total_minor;
        for considered in &told.trace {
            let name = rule(considered.rule);
            match considered.outcome {
                Verdict::Applied { amount_minor } => *figures.applied_minor.entry(name).or_default() += amount_minor,
                Verdict::Rejected(_) => {
                    figures.rejected.entry(name).or_default().push(reason(considered).unwrap_or_default());
                }
            }
        }
    }

    fn count_earned(&mut self, sold: &Approved) {
        self.figures.shop.points.earned += sold.price.as_ref().and_then(|price| price.earned_points).unwrap_or(0);
    }

    /// What the member has in points at S1.
    pub(super) async fn points(&self) -> anyhow::Result<i64> {
        let state = self.till(S1).card(self.card(S1, 1)?, false).await?;
        let points = state.balances.iter().filter(|balance| balance.unit == Unit::Points);
        Ok(points.map(|balance| balance.available_here_minor).sum())
    }
}

fn rule(rule: Rule) -> String {
    match rule {
        Rule::MemberPrice => "member price".to_owned(),
        Rule::Promotion { promotion } => promotion.to_string(),
        Rule::Coupon { coupon } => format!("coupon {coupon}"),
    }
}

/// Why a rule gave nothing, in the words of the API.
fn reason(considered: &Considered) -> anyhow::Result<String> {
    let said = serde_json::to_value(considered.outcome)?;
    let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
    let missing = said["missing_minor"].as_i64().map(|minor| format!(" by {minor}")).unwrap_or_default();
    Ok(format!("{} {}{missing}", text("reason").replace('_', " "), text("by")).trim_end().to_owned())
}
