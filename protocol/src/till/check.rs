//! What can be checked of a request without looking anything up.

use super::{AMOUNT_MINOR_MAX, Fault, MARKDOWNS_MAX, TENDERS_MAX, TEXT_BYTES_MAX};
use crate::entry::{Markdown, TenderLine};
use crate::party::Party;

pub(super) fn amount(field: &str, amount_minor: i64, least: i64) -> Result<(), Fault> {
    if (least..=AMOUNT_MINOR_MAX).contains(&amount_minor) {
        return Ok(());
    }
    Err(Fault::new(field, format!("is {amount_minor}; it must be from {least} to {AMOUNT_MINOR_MAX} minor units")))
}

pub(super) fn text(field: &str, text: &str, least: usize) -> Result<(), Fault> {
    if text.trim().len() < least {
        return Err(Fault::new(field, "is empty; say it in a few words"));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Fault::new(field, format!("has {} bytes; at most {TEXT_BYTES_MAX} are allowed", text.len())));
    }
    Ok(())
}

/// A reference is compared as it is written: nothing around it, and something in it.
pub(super) fn reference_text(field: &str, reference: &str) -> Result<(), Fault> {
    text(field, reference, 1)?;
    if reference.trim() != reference {
        return Err(Fault::new(field, "has spaces around it; send it without"));
    }
    Ok(())
}

pub(super) fn tenders(lines: &[TenderLine]) -> Result<(), Fault> {
    if lines.len() > TENDERS_MAX {
        return Err(Fault::new("tenders", format!("has {} lines; at most {TENDERS_MAX} are allowed", lines.len())));
    }
    for (index, line) in lines.iter().enumerate() {
        amount(&format!("tenders[{index}].amount_minor"), line.amount_minor, 1)?;
        if let Some(reference) = &line.reference {
            reference_text(&format!("tenders[{index}].reference"), reference)?;
        }
    }
    Ok(())
}

pub(super) fn markdown(path: &str, markdown: &Markdown) -> Result<(), Fault> {
    amount(&format!("{path}.amount_minor"), markdown.amount_minor, 1)?;
    text(&format!("{path}.reason"), &markdown.reason, 1)?;
    markdown.funder.map_or(Ok(()), |funder| bearer(&format!("{path}.funder"), funder))
}

/// Nobody collects from the books that stand in for a party.
pub(super) fn bearer(path: &str, funder: Party) -> Result<(), Fault> {
    match funder {
        Party::Hub | Party::Store(_) | Party::LegalEntity(_) | Party::Supplier(_) | Party::Partner(_) => Ok(()),
        Party::Risk | Party::Unattributed => Err(Fault::new(
            path,
            format!("is {funder}, which bears no discounts; name hub, a store, entity, supplier or partner"),
        )),
    }
}

/// Checks what comes off a basket as a whole.
pub(super) fn markdowns(markdowns: &[Markdown]) -> Result<(), Fault> {
    if markdowns.len() > MARKDOWNS_MAX {
        let fault = format!("has {} entries; at most {MARKDOWNS_MAX} are allowed", markdowns.len());
        return Err(Fault::new("markdowns", fault));
    }
    markdowns.iter().enumerate().try_for_each(|(at, said)| markdown(&format!("markdowns[{at}]"), said))
}
