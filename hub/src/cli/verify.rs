//! `huitong-hub verify`.

use super::{Failure, Output, Place};
use crate::verify;

pub(crate) fn verify(place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
    let report = place.open()?.read_blocking(verify::run)?;
    out.show(&report, |text| {
        for check in &report.checks {
            let state = if check.ok { "ok".to_owned() } else { format!("{} FOUND", check.found) };
            writeln!(text, "{:<12} {:>9}  {:<9} {}", check.name, check.looked_at, state, check.proves)?;
            for finding in &check.findings {
                writeln!(text, "    {} {}: {}", finding.table, finding.row, finding.fault)?;
            }
        }
        writeln!(
            text,
            "{}",
            if report.ok {
                "Everything follows from the journals."
            } else {
                "Some things do not follow from the journals."
            }
        )
    })?;
    if report.ok { Ok(()) } else { Err(Failure::Found) }
}
