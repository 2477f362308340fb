//! What can be checked of a request without looking anything up.

use super::{AMOUNT_MINOR_MAX, Fault, TENDERS_MAX, TEXT_BYTES_MAX};
use crate::entry::TenderLine;

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
