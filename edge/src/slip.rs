//! Slip: a receipt as text, for till printers of 32 to 64 columns and for the eye.
//!
//! Everything on it comes from the entry, so that a reprint years later says the same. Text that came from outside (names, reasons, references)
//! is made inert: a printer or terminal that gets this slip obeys none of it. Figures are never computed here, only written.

use std::fmt::Write as _;

use huitong_config::Language;
use huitong_protocol::entry::{Body, CardSale, Entry, Invoiceable, RedLetter, Return, Sale, SaleLine, TenderLine};
use huitong_protocol::id::{PromotionId, TenderCode};
use huitong_protocol::ledger::ReceiptState;
use huitong_protocol::money::{Currency, Money};
use huitong_protocol::pricing::DiscountSource;
use huitong_protocol::time::BusinessDay;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The narrowest paper: 58 mm.
pub const COLUMNS_MIN: usize = 32;
/// The widest paper: a sheet beside the till.
pub const COLUMNS_MAX: usize = 64;

/// How the slip is to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Columns of the paper; a Chinese character takes two.
    pub columns: usize,
    /// The language of its words; names and reasons stay as they were written.
    pub language: Language,
}

/// What the slip says beside the entry.
pub struct Context<'a> {
    /// The store's name.
    pub store_name: &'a str,
    /// What became of the receipt since.
    pub state: &'a ReceiptState,
    /// What a tender is called.
    pub tender_name: &'a dyn Fn(TenderCode) -> String,
    /// When the points of the receipt are confirmed, where they wait.
    pub points_confirmed_on: Option<BusinessDay>,
    /// What a promotion is called.
    pub promotion_name: &'a dyn Fn(PromotionId) -> String,
}

macro_rules! words {
    ($($name:ident = $zh:literal, $en:literal;)+) => {
        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "one name for the constant and its words")]
        enum Word { $($name),+ }

        impl Word {
            const fn text(self, language: Language) -> &'static str {
                match (self, language) { $((Self::$name, Language::Chinese) => $zh, (Self::$name, Language::English) => $en),+ }
            }
        }
    };
}

words! {
    total = "合计", "TOTAL";
    goods_before_discount = "原价", "Before discounts";
    discounts = "优惠", "Discounts";
    sale = "销售", "SALE";
    card_sale = "售卡", "CARD SALE";
    card_reload = "充值", "CARD RELOAD";
    void = "作废", "VOID";
    returned = "退货", "RETURN";
    return_without_receipt = "无小票退货", "RETURN WITHOUT RECEIPT";
    payment = "付款确认", "PAYMENT CONFIRMED";
    invoice = "发票登记", "INVOICE REGISTERED";
    card = "卡号", "Card";
    principal = "充值金额", "Paid in";
    bonus = "赠送", "Bonus";
    of_receipt = "原小票", "Of receipt";
    reason = "原因", "Reason";
    refunded = "退还", "Refunded";
    invoiceable = "可开票金额", "May stand on an invoice";
    invoice_number = "发票号", "Invoice";
    red_letter = "需开红字发票", "RED-LETTER INVOICE REQUIRED";
    payment_unknown = "付款未确认 请勿交货", "PAYMENT NOT CONFIRMED";
    voided = "已作废", "VOIDED";
    taken_offline = "脱机补录", "TAKEN OFFLINE";
    terminal = "收银机", "Till";
    operator = "收银员", "Cashier";
    day = "营业日", "Business day";
    tax = "税率", "Tax";
    member_price = "会员价", "Member price";
    coupon = "券", "Coupon";
    points_earned = "本次积分", "Points earned";
    points_confirmed_on = "积分确认日", "Points confirmed on";
    points_deferred = "积分稍后入账", "Points to come";
}

/// Writes the slip of an entry; `None` for kinds that no customer takes home.
#[must_use]
pub fn print(entry: &Entry, context: &Context<'_>, style: Style) -> Option<String> {
    let mut slip = Slip { out: String::new(), style };
    let kind = match &entry.body {
        Body::Sale(_) => Word::sale,
        Body::CardSale(_) => Word::card_sale,
        Body::CardReload(_) => Word::card_reload,
        Body::Void(_) => Word::void,
        Body::Return(_) => Word::returned,
        Body::UnreferencedReturn(_) => Word::return_without_receipt,
        Body::Payment(_) => Word::payment,
        Body::Invoice(_) => Word::invoice,
        Body::CardStatus(_)
        | Body::Hold(_)
        | Body::HoldEnd(_)
        | Body::MemberEnrolled(_)
        | Body::MemberChangeRequested(_)
        | Body::Allotment(_)
        | Body::DayOpen(_)
        | Body::Seal(_)
        | Body::HubPosting(_) => {
            return None;
        }
    };
    slip.centred(context.store_name);
    slip.centred(slip.word(kind));
    slip.head(entry);
    slip.rule();
    match &entry.body {
        Body::Sale(sale) => slip.sale(sale, context),
        Body::CardSale(load) | Body::CardReload(load) => slip.load(load, context),
        Body::Void(void) => {
            slip.pair(slip.word(Word::of_receipt), &void.of.to_string());
            slip.words(Word::reason, &void.reason);
            slip.tenders(Word::refunded, &void.refunds, void.currency, context);
            slip.red_letter(void.red_letter.as_ref(), void.currency);
        }
        Body::Return(back) => slip.returned(back, context),
        Body::UnreferencedReturn(back) => {
            slip.words(Word::reason, &back.reason);
            slip.pair(slip.word(Word::card), &back.card.to_string());
            slip.amount(slip.word(Word::refunded), back.amount_minor, back.currency);
        }
        Body::Payment(payment) => {
            slip.pair(slip.word(Word::of_receipt), &payment.of.to_string());
            slip.tenders(Word::total, std::slice::from_ref(&payment.tender), payment.currency, context);
        }
        Body::Invoice(invoice) => {
            slip.pair(slip.word(Word::of_receipt), &invoice.of.to_string());
            slip.words(Word::invoice_number, &invoice.number);
            slip.rates(&invoice.invoiceable, invoice.currency);
        }
        Body::CardStatus(_)
        | Body::Hold(_)
        | Body::HoldEnd(_)
        | Body::MemberEnrolled(_)
        | Body::MemberChangeRequested(_)
        | Body::Allotment(_)
        | Body::DayOpen(_)
        | Body::Seal(_)
        | Body::HubPosting(_) => {}
    }
    slip.after(context);
    Some(slip.out)
}

struct Slip {
    out: String,
    style: Style,
}

impl Slip {
    fn word(&self, word: Word) -> &'static str {
        word.text(self.style.language)
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn rule(&mut self) {
        self.line(&"-".repeat(self.style.columns));
    }

    /// Text over as many lines as it needs.
    fn text(&mut self, indent: usize, text: &str) {
        let text = inert(text);
        let room = self.style.columns.saturating_sub(indent).max(2);
        for part in wrapped(&text, room) {
            let line = format!("{:indent$}{part}", "");
            self.line(&line);
        }
    }

    fn centred(&mut self, text: &str) {
        let text = inert(text);
        for part in wrapped(&text, self.style.columns) {
            let indent = (self.style.columns - part.width_cjk()) / 2;
            let line = format!("{:indent$}{part}", "");
            self.line(&line);
        }
    }

    /// Words at the left, a figure at the right; on two lines when they do not fit on one.
    fn pair(&mut self, left: &str, right: &str) {
        let (left, right) = (inert(left), inert(right));
        let used = left.width_cjk() + right.width_cjk();
        if used < self.style.columns {
            let gap = self.style.columns - used;
            let line = format!("{left}{:gap$}{right}", "");
            self.line(&line);
            return;
        }
        self.text(0, &left);
        for part in wrapped(&right, self.style.columns) {
            let gap = self.style.columns - part.width_cjk();
            let line = format!("{:gap$}{part}", "");
            self.line(&line);
        }
    }

    fn words(&mut self, word: Word, text: &str) {
        let line = format!("{}: {text}", self.word(word));
        self.text(0, &line);
    }

    fn amount(&mut self, left: &str, minor: i64, currency: Currency) {
        self.pair(left, &Money { minor, currency }.decimal());
    }

    fn head(&mut self, entry: &Entry) {
        let header = &entry.header;
        let offset = Offset::from_seconds(i32::from(header.offset_minutes.minutes()) * 60).unwrap_or(Offset::UTC);
        let at = Timestamp::from_millisecond(header.at_ms.0)
            .map(|at| at.to_zoned(TimeZone::fixed(offset)).strftime("%Y-%m-%d %H:%M").to_string())
            .unwrap_or_default();
        self.pair(&header.id().to_string(), &at);
        if let Some(day) = header.business_day {
            self.pair(self.word(Word::day), &day.to_string());
        }
        let mut who = String::new();
        if let Some(terminal) = header.terminal {
            let _ = write!(who, "{} {terminal}", self.word(Word::terminal));
        }
        let operator = header.operator.map(|operator| format!("{} {operator}", self.word(Word::operator)));
        if !who.is_empty() || operator.is_some() {
            self.pair(&who, &operator.unwrap_or_default());
        }
    }

    fn sale(&mut self, sale: &Sale, context: &Context<'_>) {
        let mut gross_minor = 0_i64;
        for line in &sale.lines {
            self.sold(sale, line, context);
            gross_minor = gross_minor.saturating_add(line.gross_minor);
        }
        self.rule();
        if gross_minor != sale.total_minor {
            self.amount(self.word(Word::goods_before_discount), gross_minor, sale.currency);
            self.amount(self.word(Word::discounts), sale.total_minor - gross_minor, sale.currency);
        }
        self.amount(self.word(Word::total), sale.total_minor, sale.currency);
        for tender in &sale.tenders {
            self.tender(tender, sale.currency, context);
        }
        if let Some(earned) = &sale.earned {
            self.pair(self.word(Word::points_earned), &earned.points.to_string());
            if let Some(day) = context.points_confirmed_on {
                self.pair(self.word(Word::points_confirmed_on), &day.to_string());
            }
        }
        if let Some(deferred) = &sale.deferred {
            self.pair(self.word(Word::points_deferred), &deferred.points.to_string());
        }
        if !sale.invoiceable.is_empty() {
            self.rule();
            self.rates(&sale.invoiceable, sale.currency);
        }
        if sale.taken_at_ms.is_some() {
            self.centred(self.word(Word::taken_offline));
        }
    }

    fn sold(&mut self, sale: &Sale, line: &SaleLine, context: &Context<'_>) {
        let currency = sale.currency;
        self.text(0, if line.name.is_empty() { &line.sku } else { &line.name });
        let decimal = |minor| Money { minor, currency }.decimal();
        let quantity = thousandths(line.quantity_thousandths);
        let price = line.list_price_minor.map(|price_minor| format!(" x {}", decimal(price_minor)));
        self.pair(&format!("  {quantity}{}", price.unwrap_or_default()), &decimal(line.gross_minor));
        for markdown in &line.markdowns {
            self.pair(&format!("  {}", inert(&markdown.reason)), &decimal(-markdown.amount_minor));
        }
        for discount in &line.discounts {
            let mut what = match discount.source {
                DiscountSource::Promotion { promotion } => (context.promotion_name)(promotion),
                DiscountSource::MemberPrice => self.word(Word::member_price).to_owned(),
                DiscountSource::BasketMarkdown { index } => match sale.markdowns.get(usize::from(index)) {
                    Some(markdown) => inert(&markdown.reason),
                    None => self.word(Word::discounts).to_owned(),
                },
                DiscountSource::Markdown { .. } => self.word(Word::discounts).to_owned(),
            };
            if let Some(coupon) = discount.coupon {
                let _ = write!(what, " ({} {coupon})", self.word(Word::coupon));
            }
            self.pair(&format!("  {what}"), &decimal(-discount.amount_minor));
        }
    }

    fn load(&mut self, load: &CardSale, context: &Context<'_>) {
        self.pair(self.word(Word::card), &load.card.to_string());
        self.amount(self.word(Word::principal), load.principal_minor, load.currency);
        if load.bonus_minor != 0 {
            self.amount(self.word(Word::bonus), load.bonus_minor, load.currency);
        }
        self.rule();
        for tender in &load.tenders {
            self.tender(tender, load.currency, context);
        }
    }

    fn returned(&mut self, back: &Return, context: &Context<'_>) {
        self.pair(self.word(Word::of_receipt), &back.of.to_string());
        for line in &back.lines {
            let what = format!("#{} x {}", line.line, thousandths(line.quantity_thousandths));
            self.amount(&what, line.amount_minor, back.currency);
        }
        self.words(Word::reason, &back.reason);
        self.rule();
        self.amount(self.word(Word::total), back.total_minor, back.currency);
        self.tenders(Word::refunded, &back.refunds, back.currency, context);
        self.red_letter(back.red_letter.as_ref(), back.currency);
    }

    fn red_letter(&mut self, red_letter: Option<&RedLetter>, currency: Currency) {
        if let Some(red_letter) = red_letter {
            self.rule();
            self.centred(self.word(Word::red_letter));
            self.words(Word::invoice_number, &red_letter.invoice);
            self.rates(&red_letter.invoiceable, currency);
        }
    }

    fn tenders(&mut self, word: Word, tenders: &[TenderLine], currency: Currency, context: &Context<'_>) {
        if !tenders.is_empty() {
            self.text(0, self.word(word));
        }
        for tender in tenders {
            self.tender(tender, currency, context);
        }
    }

    fn tender(&mut self, tender: &TenderLine, currency: Currency, context: &Context<'_>) {
        let mut name = (context.tender_name)(tender.tender);
        if let Some(card) = &tender.card {
            let _ = write!(name, " {card}");
        }
        self.amount(&name, tender.amount_minor, currency);
        if let Some(reference) = &tender.reference {
            self.text(2, reference);
        }
    }

    fn rates(&mut self, rates: &[Invoiceable], currency: Currency) {
        self.text(0, self.word(Word::invoiceable));
        for rate in rates {
            let percent = Money { minor: i64::from(rate.tax_ppm) / 100, currency: Currency::CNY }.decimal();
            let percent = percent.trim_end_matches('0').trim_end_matches('.');
            self.amount(&format!("  {} {percent} %", self.word(Word::tax)), rate.invoiceable_minor, currency);
        }
    }

    fn after(&mut self, context: &Context<'_>) {
        if context.state.parked {
            self.rule();
            self.centred(self.word(Word::payment_unknown));
        }
        if context.state.voided_by.is_some() {
            self.rule();
            self.centred(self.word(Word::voided));
        }
        if let Some(invoice) = &context.state.invoice {
            self.words(Word::invoice_number, invoice);
        }
    }
}

/// A quantity without needless noughts: `1`, `0.25`.
fn thousandths(quantity: i64) -> String {
    let (whole, rest) = (quantity / 1_000, (quantity % 1_000).unsigned_abs());
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:03}").trim_end_matches('0').to_owned()
}

/// Text that no printer or terminal obeys: controls and escapes become spaces, marks that turn or hide text are left out.
fn inert(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\u{2028}' | '\u{2029}' => Some(' '),
            c if c.is_control() => Some(' '),
            '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' => None,
            '\u{061C}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}' => None,
            c => Some(c),
        })
        .collect()
}

/// Cuts text into lines of at most `room` columns.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for c in text.chars() {
        let width = c.width_cjk().unwrap_or(0);
        if used + width > room {
            lines.push(String::new());
            used = 0;
        }
        used += width;
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::*;
    use huitong_protocol::id::Seq;
    use serde_json::json;

    const NARROW: Style = Style { columns: 32, language: Language::Chinese };

    fn printed(entry: &Entry, style: Style) -> String {
        let state = ReceiptState::default();
        let name = |code: TenderCode| if code.as_str() == "cash" { "现金".to_owned() } else { code.to_string() };
        let promotion = |_: PromotionId| "春券".to_owned();
        let context = Context {
            store_name: "汇通百货·东门店",
            state: &state,
            tender_name: &name,
            promotion_name: &promotion,
            points_confirmed_on: None,
        };
        print(entry, &context, style).unwrap()
    }

    async fn sold() -> Entry {
        let shop = Shop::opened().await;
        shop.granted(1, 10_000).await;
        let goods = json!({
            "sku": "6901", "name": "乌龙茶\u{1b}[31m 礼盒装 二百五十克 秋季\u{202e}", "quantity_thousandths": 1_500, "list_price_minor": 8_500,
            "gross_minor": 12_750, "net_minor": 12_345, "tax_ppm": 130_000,
            "markdowns": [{"amount_minor": 405, "reason": "near its date"}]
        });
        let mut tender = cash(2_345);
        tender["reference"] = json!("drawer\u{7}7");
        let basket = sale(&[goods], &[by_card(1, 10_000), tender]);
        shop.post(T1, "/v1/sales", &basket).await.approved();
        let bytes = shop.store.read(|tx| crate::store::journal::entries_after(tx, Seq::ZERO, 10, usize::MAX)).unwrap();
        Entry::decode(&bytes.last().unwrap().bytes).unwrap()
    }

    #[tokio::test]
    async fn a_sale_reads_as_a_customer_expects() {
        let slip = printed(&sold().await, NARROW);
        let expected = "
        汇通百货·东门店
              销售
S1-1-3          2026-11-22 10:00
营业日                2026-11-22
收银机 T1
--------------------------------
乌龙茶 [31m 礼盒装 二百五十克 秋
季
  1.5 x 85.00             127.50
  near its date            -4.05
--------------------------------
原价                      127.50
优惠                       -4.05
合计                      123.45
stored_value ****0001     100.00
现金                       23.45
  drawer 7
--------------------------------
可开票金额
  税率 13 %                23.45
";
        assert_eq!(format!("\n{slip}"), expected, "\n{slip}");
    }

    #[tokio::test]
    async fn no_line_is_wider_than_the_paper_and_nothing_on_it_is_a_command() {
        let entry = sold().await;
        for language in [Language::Chinese, Language::English] {
            for columns in [COLUMNS_MIN, 42, 48, COLUMNS_MAX] {
                let slip = printed(&entry, Style { columns, language });
                for line in slip.lines() {
                    assert!(line.width_cjk() <= columns, "{columns}: {line:?}");
                }
                assert!(slip.chars().all(|c| c == '\n' || !c.is_control()), "{slip:?}");
                assert!(!slip.contains('\u{202e}'));
            }
        }
    }

    #[tokio::test]
    async fn every_discount_stands_under_its_line_with_its_name() {
        let mut entry = sold().await;
        let Body::Sale(sale) = &mut entry.body else { panic!("a sale") };
        sale.lines[0].discounts = serde_json::from_value(json!([
            {"source": {"kind": "member_price"}, "amount_minor": 200, "funders": [{"party": "store:S1", "amount_minor": 200}]},
            {"source": {"kind": "promotion", "promotion": "SPRING"}, "amount_minor": 300, "coupon": "SPRING26",
             "funders": [{"party": "hub", "amount_minor": 300}]}
        ]))
        .unwrap();
        let slip = printed(&entry, NARROW);
        for line in ["  会员价                   -2.00", "  春券 (券 SPRING26)       -3.00"] {
            assert!(slip.lines().any(|printed| printed == line), "{line:?} in\n{slip}");
        }
    }

    #[test]
    fn quantities_have_no_needless_noughts() {
        let texts = [1_000, 250, 1_500, 31_360].map(thousandths);
        assert_eq!(texts, ["1", "0.25", "1.5", "31.36"]);
    }
}
