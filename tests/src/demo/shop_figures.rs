//! Figures of the shop floor: what prices, points, payments, invoices and policies came to, and what must be true of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::chain::CUT;

/// The shop floor in figures. Amounts are in minor units of CNY.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ShopFigures {
    /// The basket that was quoted and then sold.
    pub quote: QuoteFigures,
    /// The points of one member.
    pub points: PointsFigures,
    /// Payments that nobody knew of.
    pub payments: PaymentFigures,
    /// A receipt with a tax invoice, of which something came back.
    pub invoice: InvoiceFigures,
    /// Receipts that a till took on its own, while its edge was down.
    pub taken_offline: u64,
    /// How far each store was with the newest policy: while one was cut off, and after.
    pub adoption: AdoptionFigures,
}

/// A basket that was quoted and sold.
#[derive(Debug, Clone, Default, Serialize)]
pub struct QuoteFigures {
    /// At the shelf prices.
    pub shelf_minor: i64,
    /// What the customer was told.
    pub told_minor: i64,
    /// What the customer paid.
    pub paid_minor: i64,
    /// What came off, by rule.
    pub applied_minor: BTreeMap<String, i64>,
    /// Rules that gave nothing on some lines, with the reasons.
    pub rejected: BTreeMap<String, Vec<String>>,
}

/// The points of one member.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PointsFigures {
    /// Earned by purchases.
    pub earned: i64,
    /// Paid with.
    pub burnt: i64,
    /// Taken back with goods that came back.
    pub taken_back: i64,
    /// What is left.
    pub left: i64,
}

/// Payments that nobody knew of.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PaymentFigures {
    /// Sales that waited.
    pub parked: u64,
    /// Those that were paid.
    pub paid: u64,
    /// Those that were not.
    pub failed: u64,
    /// Those that still wait.
    pub waiting: u64,
}

/// A receipt with a tax invoice.
#[derive(Debug, Clone, Default, Serialize)]
pub struct InvoiceFigures {
    /// What stands on the invoice.
    pub invoiced_minor: i64,
    /// What a red-letter invoice must lower it by.
    pub red_letter_minor: i64,
}

/// How far each store was with the newest policy.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AdoptionFigures {
    /// While one was cut off.
    pub while_cut: BTreeMap<String, String>,
    /// When its line was back.
    pub after: BTreeMap<String, String>,
}

impl ShopFigures {
    /// What is not as the story says; empty when all is well.
    pub(super) fn faults(&self) -> Vec<&'static str> {
        let Self { quote, points, payments, invoice, taken_offline, adoption } = self;
        let off_minor: i64 = quote.applied_minor.values().sum();
        let of = |seen: &BTreeMap<String, String>, store: &str| seen.get(store).cloned().unwrap_or_default();
        let others_current = adoption.while_cut.iter().all(|(store, standing)| store == CUT || standing == "current");
        let facts = [
            (quote.told_minor > 0 && quote.told_minor == quote.paid_minor, "the sale did not cost what was told"),
            (quote.shelf_minor - off_minor == quote.told_minor, "the quote does not explain its price"),
            (!quote.rejected.is_empty(), "the quote does not say which rules gave nothing"),
            (
                points.earned > 0 && points.burnt > 0 && points.taken_back > 0,
                "points were not earned, burnt and taken back",
            ),
            (points.earned - points.burnt - points.taken_back == points.left, "points do not add up"),
            (payments.paid > 0 && payments.failed > 0, "no payment was resolved paid, or none failed"),
            (
                payments.parked == payments.paid + payments.failed && payments.waiting == 0,
                "a sale still waits for its payment",
            ),
            (
                invoice.red_letter_minor > 0 && invoice.red_letter_minor < invoice.invoiced_minor,
                "the return asks for no red letter, or for one over more than came back",
            ),
            (*taken_offline > 0, "no receipt was taken while the edge was down"),
            (
                of(&adoption.while_cut, CUT) == "behind" && others_current,
                "the store that was cut off is not the one behind",
            ),
            (
                adoption.after.len() == 3 && adoption.after.values().all(|standing| standing == "current"),
                "a store does not have the newest policy",
            ),
        ];
        facts.into_iter().filter(|(holds, _)| !holds).map(|(_, fault)| fault).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn good() -> ShopFigures {
        let standing = |cut: &str| {
            ["S1", "S2", "S3"]
                .map(|store| (store.to_owned(), if store == CUT { cut } else { "current" }.to_owned()))
                .into()
        };
        ShopFigures {
            quote: QuoteFigures {
                shelf_minor: 100,
                told_minor: 90,
                paid_minor: 90,
                applied_minor: [("A".to_owned(), 10)].into(),
                rejected: [("B".to_owned(), vec!["beaten".to_owned()])].into(),
            },
            points: PointsFigures { earned: 10, burnt: 3, taken_back: 2, left: 5 },
            payments: PaymentFigures { parked: 2, paid: 1, failed: 1, waiting: 0 },
            invoice: InvoiceFigures { invoiced_minor: 100, red_letter_minor: 40 },
            taken_offline: 1,
            adoption: AdoptionFigures { while_cut: standing("behind"), after: standing("current") },
        }
    }

    #[track_caller]
    fn check(spoil: impl FnOnce(&mut ShopFigures), fault: &str) {
        let mut figures = good();
        spoil(&mut figures);
        assert_eq!(figures.faults(), [fault]);
    }

    #[test]
    fn each_thing_that_must_hold_is_looked_at() {
        assert_eq!(good().faults(), Vec::<&str>::new());
        check(|shop| shop.quote.paid_minor = 91, "the sale did not cost what was told");
        check(|shop| _ = shop.quote.applied_minor.insert("C".to_owned(), 1), "the quote does not explain its price");
        check(|shop| shop.quote.rejected.clear(), "the quote does not say which rules gave nothing");
        check(|shop| shop.points.left = 6, "points do not add up");
        check(|shop| shop.payments.waiting = 1, "a sale still waits for its payment");
        check(|shop| shop.taken_offline = 0, "no receipt was taken while the edge was down");
        let no_red_letter = "the return asks for no red letter, or for one over more than came back";
        check(|shop| shop.invoice.red_letter_minor = 0, no_red_letter);
        let wrong_one = "the store that was cut off is not the one behind";
        check(|shop| _ = shop.adoption.while_cut.insert("S1".to_owned(), "behind".to_owned()), wrong_one);
        check(|shop| drop(shop.adoption.after.remove("S1")), "a store does not have the newest policy");
    }
}
