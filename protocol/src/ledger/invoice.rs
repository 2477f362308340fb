//! The tax invoice over a receipt: registered once, for what may stand on it.
//!
//! Writing invoices is the tax system's work; the store only remembers that a receipt has one, so that nobody writes a second and goods that come
//! back are known to need a red-letter invoice (红字发票).

use super::{Decision, Holdings, ReceiptChange, ReceiptState, Situation, Work, faulty, refuse, settle};
use crate::decline::DeclineCode;
use crate::entry::{Body, Entry, Invoice, Invoiceable, Sale};
use crate::till::RegisterInvoice;

/// Registers the tax invoice over a sale or a load, for what is left of it.
#[must_use]
pub fn register_invoice(
    situation: &Situation<'_>,
    original: &Entry,
    state: &ReceiptState,
    request: &RegisterInvoice,
) -> Decision {
    settle((|| {
        request.check().map_err(Decision::Faulty)?;
        let work = Work::new(situation, &[], &Holdings::default())?;
        if state.voided_by.is_some() {
            return refuse(DeclineCode::AlreadyVoided);
        }
        if state.parked {
            return refuse(DeclineCode::PaymentUnknown);
        }
        let replaces = request.replaces.as_deref().map(str::trim);
        if state.invoice.is_some() && state.invoice.as_deref() != replaces {
            return refuse(DeclineCode::AlreadyInvoiced);
        }
        if let (None, Some(number)) = (&state.invoice, replaces) {
            return faulty("replaces", format!("is {number}, but the receipt has no invoice; leave it out"));
        }
        let back = |tender: usize, line: usize| {
            state.refunded_minor.get(tender).and_then(|row| row.get(line)).copied().unwrap_or(0)
        };
        let (currency, left) = match &original.body {
            Body::Sale(sale) => {
                let left = |tender: usize, line: usize| sale.allocation[tender][line] - back(tender, line);
                (sale.currency, by_rate(sale, left))
            }
            Body::CardSale(load) | Body::CardReload(load) => (load.currency, load.invoiceable.clone()),
            _ => return refuse(DeclineCode::NothingInvoiceable),
        };
        if left.is_empty() {
            return refuse(DeclineCode::NothingInvoiceable);
        }
        let of = original.header.id();
        let number = request.number.trim().to_owned();
        let body = Invoice { of, number: number.clone(), currency, invoiceable: left };
        let mut plan = work.plan(Body::Invoice(body));
        let state = ReceiptState { invoice: Some(number), ..state.clone() };
        plan.receipt = Some(ReceiptChange::Changed { of, state });
        Ok(plan)
    })())
}

/// What of a sale's parts may stand on an invoice, per tax rate: the parts that tenders paid which were invoiceable when it was sold, whatever the
/// catalogue says since. `part_minor` gives the part of (tender, line).
pub(super) fn by_rate(sale: &Sale, part_minor: impl Fn(usize, usize) -> i64) -> Vec<Invoiceable> {
    let mut rates: Vec<Invoiceable> = Vec::new();
    for at in sale.invoiceable_tenders.iter().copied().map(usize::from) {
        for (index, line) in sale.lines.iter().enumerate() {
            let part_minor = part_minor(at, index);
            match rates.iter_mut().find(|rate| rate.tax_ppm == line.tax_ppm) {
                Some(rate) => rate.invoiceable_minor += part_minor,
                None => {
                    rates.push(Invoiceable { tax_code: None, tax_ppm: line.tax_ppm, invoiceable_minor: part_minor })
                }
            }
        }
    }
    rates.retain(|rate| rate.invoiceable_minor != 0);
    rates.sort_by_key(|rate| rate.tax_ppm);
    rates
}
