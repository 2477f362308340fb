//! `huitong-hub rerate`.

use super::{Failure, Output, Place, World};
use crate::rerate;

pub(crate) fn rerate(world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
    let store = place.open()?;
    let bar = world.bar();
    let looked = rerate::look_at_all(&store, &bar);
    bar.finish_and_clear();
    store.close();
    let report = looked?;
    out.show(&report, |text| {
        writeln!(text, "{}", report.counts)?;
        for found in &report.found {
            writeln!(text, "    {} {}: {}", found.class, found.subject, found.evidence)?;
        }
        if report.found_more > 0 {
            writeln!(text, "    and {} more", report.found_more)?;
        }
        Ok(())
    })?;
    if report.ok { Ok(()) } else { Err(Failure::Found) }
}
