//! Trade: the day at the tills. What each operation must come to is part of the story: anything else ends the demo.

use anyhow::{Context, bail};
use huitong_protocol::card::CardNumber;
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::entry::TenderLine;
use huitong_protocol::id::MemberId;
use huitong_protocol::till::{Approved, LoadCard, Outcome, PostSale, TillLine};

use super::chain::{Chain, LATE, now, operation_id, text_of};
use super::command::Form;
use super::figures::{DeclineFigures, Figures};
use super::narrator::Narrator;
use crate::till::{line, tender};

/// The stores, as [`Chain::shops`] has them.
pub(super) const S1: usize = 0;
pub(super) const S2: usize = 1;
pub(super) const S3: usize = 2;

pub(super) const SALES: &str = "POST /v1/sales";
const CARD_SELL: &str = "POST /v1/cards/{card}/sell";
const CARD_RELOAD: &str = "POST /v1/cards/{card}/reload";

/// Plays the day from the morning's download to the evening's close.
pub(super) async fn day(chain: &mut Chain, figures: &mut Figures, narrator: &mut Narrator<'_>) -> anyhow::Result<()> {
    let mut floor = Floor { chain, figures, narrator };
    floor.morning().await?;
    floor.trade().await?;
    floor.prices().await?;
    floor.unknown_payments().await?;
    floor.value_follows_the_member().await?;
    floor.before_noon().await?;
    floor.noon().await?;
    floor.afternoon().await?;
    floor.edge_down().await?;
    floor.exceptions().await?;
    floor.evening().await
}

/// The three shop floors, with what is told and counted.
pub(super) struct Floor<'a, 'n> {
    pub(super) chain: &'a mut Chain,
    pub(super) figures: &'a mut Figures,
    pub(super) narrator: &'a mut Narrator<'n>,
}

/// A load of a card.
struct Load {
    amount_minor: i64,
    bonus_minor: i64,
    tender: &'static str,
}

const fn paid_by(tender: &'static str, amount_minor: i64) -> Load {
    Load { amount_minor, bonus_minor: 0, tender }
}

impl Floor<'_, '_> {
    async fn morning(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("06:00  Rules come down, days are opened")?;
        let mut day = None;
        for at in [S1, S2, S3] {
            self.download(at).await?;
            let shop = &self.chain.shops[at];
            let (opened, command) = shop.open_day(day).await?;
            self.narrator.step(shop.id.as_str(), &format!("opens {opened}"), &command)?;
            day = Some(opened);
        }
        self.figures.business_day = day;
        Ok(())
    }

    /// Cards that other stores sold are known here after the next download; until then only the hub can say that they are in use.
    async fn before_noon(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("11:30  Stores learn which cards others sold")?;
        for at in [S1, S2, S3] {
            self.download(at).await?;
        }
        Ok(())
    }

    pub(super) async fn download(&mut self, at: usize) -> anyhow::Result<()> {
        let shop = &self.chain.shops[at];
        let fetched = shop.command(Form::Json, &["schedule", "run", "download"]).await?;
        fetched.text()?;
        let outcome = text_of(&fetched.json()?, "outcome")?;
        let what = format!("asks for new policy, cards and stores: {outcome}");
        Ok(self.narrator.step(shop.id.as_str(), &what, &fetched.shown)?)
    }

    async fn trade(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("09:00  Trade, all lines up")?;
        self.sell(S1, self.card(S1, 0)?, paid_by("cash", 50_000)).await?;
        self.sell(S1, self.card(S1, 1)?, Load { amount_minor: 100_000, bonus_minor: 5_000, tender: "wechat" }).await?;
        self.sell(S2, self.card(S2, 0)?, paid_by("cash", 30_000)).await?;
        self.sell(S3, self.card(S3, 0)?, paid_by("bank_card", 80_000)).await?;
        self.sell(S3, self.card(S3, 1)?, paid_by("alipay", 20_000)).await?;
        self.mixed_sale_and_return().await?;
        self.typed_twice().await?;
        self.reload(S3, self.card(S3, 0)?, paid_by("cash", 10_000)).await?;
        let cash_only = basket(vec![goods("6902", "便当", 5_990)], vec![tender("cash", 5_990, None)], None);
        self.sale(S3, "a lunch for 59.90, cash", &cash_only).await?;
        Ok(())
    }

    /// A member pays partly with a card, and brings one of two goods back.
    async fn mixed_sale_and_return(&mut self) -> anyhow::Result<()> {
        let card = self.card(S1, 0)?;
        let sale = basket(
            vec![goods("6901", "大米 5kg", 4_980), goods("6903", "橄榄油 1L", 8_890)],
            vec![tender("stored_value", 10_000, Some(card)), tender("cash", 3_870, None)],
            Some(MemberId::FIRST),
        );
        let sold = self.sale(S1, &format!("rice and oil: 100.00 from {card}, 38.70 cash"), &sale).await?;
        self.figures.shop.points.earned += sold.price.as_ref().and_then(|price| price.earned_points).unwrap_or(0);
        let before = self.points().await?;
        let outcome = self.till(S1).give_back(operation_id()?, sold.entry, 0, 1_000).await?;
        let back = self.approve(S1, "takes the rice back against the receipt", "POST /v1/returns", outcome)?;
        if back.refunds.is_empty() {
            bail!("the return {} gave nothing back", back.entry);
        }
        self.figures.shop.points.taken_back += before - self.points().await?;
        Ok(())
    }

    async fn typed_twice(&mut self) -> anyhow::Result<()> {
        let card = self.card(S1, 0)?;
        let key = operation_id()?;
        let outcome = self.till(S1).spend(key, card, 2_500).await?;
        self.approve(S1, &format!("25.00 from {card}, typed twice"), SALES, outcome)?;
        let outcome = self.till(S1).void(operation_id()?, key).await?;
        self.approve(S1, "voids it: the value is on the card again", "POST /v1/operations/{id}/void", outcome)?;
        Ok(())
    }

    /// Value moves to where it is spent while the lines are up: the hub recalls it from the store that holds it.
    async fn value_follows_the_member(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("11:00  Value follows the member")?;
        for at in [S1, S2, S3] {
            self.chain.in_touch(at).await?;
        }
        self.refused_spend(S1, self.card(S1, 0)?, 90_000, DeclineCode::Insufficient).await?;
        self.spend(S2, self.card(S1, 0)?, 12_000, ": the hub recalls it from S1").await?;
        self.spend(S1, self.card(S3, 0)?, 30_000, ": the hub recalls it from S3").await?;
        self.spend(S3, self.card(S1, 1)?, 20_000, ": the hub recalls it from S1").await?;
        let card = self.card(S1, 0)?;
        let seen = self.till(S1).card(card, true).await?;
        let total = seen.total.context("the hub did not say the whole balance")?;
        let elsewhere: i64 = total.elsewhere.iter().map(|line| line.held_minor).sum();
        let what = format!(
            "looks {card} up: {} in all, {} of it at other stores",
            self.chain.amount(total.balance_minor),
            self.chain.amount(elsewhere)
        );
        self.narrator.step("S1", &what, "GET /v1/cards/{card}?total=true")?;
        Ok(())
    }

    async fn noon(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("12:00  The line of S2 is cut; it trades on")?;
        self.chain.shops[S2].wire.cut(true);
        self.narrator.step("S2", "loses its line to head office", "")?;
        self.policy_passes_by().await?;
        self.sell(S2, self.card(S2, 1)?, paid_by("cash", 10_000)).await?;
        self.spend(S2, self.card(S2, 1)?, 6_000, ", offline: what was loaded here is spendable here").await?;
        self.spend(S2, self.card(S2, 0)?, 8_000, ", offline").await?;
        self.refused_spend(S2, self.card(S1, 1)?, 5_000, DeclineCode::InsufficientHereOffline).await?;
        // What S2 holds it may spend without asking, so nobody else may have it meanwhile.
        self.refused_spend(S1, self.card(S1, 0)?, 15_000, DeclineCode::HeldElsewhere).await
    }

    async fn afternoon(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("15:00  The line of S2 is back")?;
        let shop = &self.chain.shops[S2];
        shop.wire.cut(false);
        let sent = shop.command(Form::Text, &["sync", "now", "--upload"]).await?;
        sent.text()?;
        self.narrator.step("S2", "reports and sends what it did meanwhile", &sent.shown)?;
        self.chain.in_touch(S2).await?;
        self.policy_arrives().await?;
        self.spend(S1, self.card(S1, 0)?, 15_000, ": the same sale as at noon").await
    }

    /// The daemon is gone for a while. The till sells on its own, at its own prices, and says so afterwards.
    async fn edge_down(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("16:00  The store server of S2 is restarted; its till sells on")?;
        self.chain.shops[S2].stop().await;
        self.narrator.step("S2", "has no store server; a lunch for 59.90 is paid in cash", "")?;
        let lunch = basket(vec![goods("6902", "便当", 5_990)], vec![tender("cash", 5_990, None)], None);
        let taken = PostSale { taken_at_ms: Some(now()), ..lunch };
        let shop = &mut self.chain.shops[S2];
        shop.start_again().await?;
        self.narrator.step("S2", "serves its tills again", "huitong-edge run")?;
        self.sale(S2, "posts the receipt as it was taken", &taken).await?;
        self.figures.shop.taken_offline += 1;
        self.chain.in_touch(S2).await
    }

    async fn evening(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("22:00  Days are closed, sealed and sent; the journal of S3 does not come through")?;
        self.chain.shops[S3].wire.hold_uploads(true);
        self.narrator.step(LATE, "has a line for short messages only", "")?;
        for shop in &self.chain.shops {
            let who = shop.id.to_string();
            let closed = shop.command(Form::Json, &["day", "close"]).await?;
            closed.text()?;
            let entry = text_of(&closed.json()?, "entry")?;
            self.narrator.step(&who, &format!("closes its day; the seal is {entry}"), &closed.shown)?;
        }
        for shop in &self.chain.shops {
            let sent = shop.command(Form::Text, &["sync", "now", "--upload"]).await?;
            let what =
                if shop.wire.is_whole() && sent.code == 0 { "sends its journal" } else { "cannot send its journal" };
            if (sent.code == 0) == (shop.id.as_str() == LATE) {
                bail!("{} ended with {} at {}: {}", sent.shown, sent.code, shop.id, sent.err.trim());
            }
            self.narrator.step(shop.id.as_str(), what, &sent.shown)?;
        }
        Ok(())
    }

    pub(super) fn till(&self, at: usize) -> &crate::till::Till {
        &self.chain.shops[at].till
    }

    pub(super) fn card(&self, at: usize, index: usize) -> anyhow::Result<CardNumber> {
        self.chain.shops[at].cards.get(index).copied().context("too few cards were made")
    }

    async fn sell(&mut self, at: usize, card: CardNumber, load: Load) -> anyhow::Result<()> {
        self.load(at, card, "sells", "sell", CARD_SELL, load).await
    }

    async fn reload(&mut self, at: usize, card: CardNumber, load: Load) -> anyhow::Result<()> {
        self.load(at, card, "reloads", "reload", CARD_RELOAD, load).await
    }

    async fn load(
        &mut self,
        at: usize,
        card: CardNumber,
        verb: &str,
        action: &str,
        command: &str,
        load: Load,
    ) -> anyhow::Result<()> {
        let mut paid = tender(load.tender, load.amount_minor, None);
        // The catalogue of the standard policy asks for the acquirer's number of a card payment, and takes each once.
        paid.reference = (load.tender == "bank_card").then(|| operation_id().map(|id| id.to_string())).transpose()?;
        let request = LoadCard {
            currency: self.chain.currency,
            amount_minor: load.amount_minor,
            bonus_minor: load.bonus_minor,
            tenders: vec![paid],
            member: if action == "sell" { self.till(at).owner(card).await } else { None },
            draft: None,
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        let bonus = if load.bonus_minor > 0 {
            format!(" and {} bonus", self.chain.amount(load.bonus_minor))
        } else {
            String::new()
        };
        let what = format!("{verb} {card} with {}{bonus}, {}", self.chain.amount(load.amount_minor), load.tender);
        let path = format!("/v1/cards/{}/{action}", card.reveal());
        let outcome = self.till(at).operate(&path, operation_id()?, &request).await?;
        self.approve(at, &what, command, outcome).map(drop)
    }

    pub(super) async fn sale(&mut self, at: usize, what: &str, sale: &PostSale) -> anyhow::Result<Approved> {
        let outcome = self.till(at).sale(operation_id()?, sale).await?;
        self.approve(at, what, SALES, outcome)
    }

    async fn spend(&mut self, at: usize, card: CardNumber, minor: i64, note: &str) -> anyhow::Result<()> {
        let outcome = self.till(at).spend(operation_id()?, card, minor).await?;
        let what = format!("{} from {card}{note}", self.chain.amount(minor));
        self.approve(at, &what, SALES, outcome).map(drop)
    }

    async fn refused_spend(
        &mut self,
        at: usize,
        card: CardNumber,
        minor: i64,
        code: DeclineCode,
    ) -> anyhow::Result<()> {
        let outcome = self.till(at).spend(operation_id()?, card, minor).await?;
        let what = format!("{} from {card}", self.chain.amount(minor));
        self.decline(at, &what, SALES, outcome, code)
    }

    /// Tells and counts an approval.
    pub(super) fn approve(
        &mut self,
        at: usize,
        what: &str,
        command: &str,
        outcome: Outcome,
    ) -> anyhow::Result<Approved> {
        let shop = &self.chain.shops[at];
        match outcome {
            Outcome::Approved(approved) => {
                self.figures.approved += 1;
                self.narrator.step(shop.id.as_str(), &format!("{what} → {}", approved.entry), command)?;
                Ok(*approved)
            }
            Outcome::Declined { message, decline, .. } => {
                bail!("{} {what}: declined with {:?}: {message}", shop.id, decline.code)
            }
        }
    }

    /// Tells and counts a refusal.
    pub(super) fn decline(
        &mut self,
        at: usize,
        what: &str,
        command: &str,
        outcome: Outcome,
        code: DeclineCode,
    ) -> anyhow::Result<()> {
        let shop = &self.chain.shops[at];
        let (message, decline) = match outcome {
            Outcome::Declined { message, decline, .. } if decline.code == code => (message, decline),
            Outcome::Declined { message, decline, .. } => {
                bail!("{} {what}: declined with {:?} ({message}), not {code:?}", shop.id, decline.code)
            }
            Outcome::Approved(approved) => bail!("{} {what}: approved as {}, not {code:?}", shop.id, approved.entry),
        };
        self.narrator.step(shop.id.as_str(), &format!("{what} → declined"), command)?;
        let stores: Vec<String> = decline
            .elsewhere
            .iter()
            .map(|held| format!("{} at {}", self.chain.amount(held.held_minor), held.store))
            .collect();
        let stores = if stores.is_empty() { String::new() } else { format!(" ({})", stores.join(", ")) };
        self.narrator.step("", &format!("“{message}”{stores}"), "")?;
        self.figures.declines.push(DeclineFigures {
            store: shop.id,
            code,
            line_cut: !shop.wire.is_whole(),
            needed_minor: decline.needed_minor,
            available_here_minor: decline.available_here_minor,
        });
        Ok(())
    }
}

/// One piece of goods.
pub(super) fn goods(sku: &str, name: &str, net_minor: i64) -> TillLine {
    TillLine { name: name.to_owned(), ..line(sku, net_minor) }
}

pub(super) fn basket(lines: Vec<TillLine>, tenders: Vec<TenderLine>, member: Option<MemberId>) -> PostSale {
    PostSale {
        currency: huitong_protocol::money::Currency::CNY,
        member,
        member_card: None,
        coupons: Vec::new(),
        markdowns: Vec::new(),
        quote: None,
        lines,
        tenders,
        payment_unknown: None,
        taken_at_ms: None,
        operator: None,
        approver: None,
        terminal_seq: None,
    }
}
