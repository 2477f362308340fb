//! Park: brings the value here that head office wants kept here overnight, for members who come while the line is down.
//!
//! In the order that keeps value in sight: the targets first, then what is above them goes back to the pool, and only then this store asks for what it
//! lacks. Other stores may not have released yet, so that it asks again later, while it is closed; by day value goes where its member is. The line of the risk
//! account is the store's own: it is asked for by day too.

use huitong_protocol::wire::{AskParked, DatasetKind, Nothing, PARKED_MAX, path};

use super::{Link, SyncError, download, report, tend_once};
use crate::store::{StoreError, allotment, parking};

/// Fetches the targets, releases and reports, and asks for what is lacking. Gives how many purses still lack something.
///
/// # Errors
/// The hub did not answer; what it granted before is here.
pub async fn run(link: &Link) -> Result<usize, SyncError> {
    download::one(link, DatasetKind::Parking).await?;
    tend_once(link).await?;
    fill(link).await
}

/// Asks for what is lacking, while nobody shops here: by day value goes where its member is, and only the line for overdrafts is asked for. A store that has not shown that its database is the one
/// that answered (`crate::continuity`) stays silent: what it is granted would wait with it. Gives how many purses that it asked for still lack something.
///
/// # Errors
/// The hub did not answer; what it granted before is here.
pub async fn fill(link: &Link) -> Result<usize, SyncError> {
    let _one = link.parking.lock().await;
    let (mut after, mut lacking, mut has_asked) = (None, 0, false);
    // A till may open the day, and somebody may find the database wanting, between two pages.
    while link.store.continuity().is_open() {
        let is_closed = link.store.committed().open_day.is_none();
        let purses = link.store.read(|tx| match after {
            _ if is_closed => parking::lacking(tx, after, PARKED_MAX),
            None => parking::lacking_lines(tx),
            // The till opened the day between two pages, or the lines were asked for.
            Some(_) => Ok(Vec::new()),
        })?;
        let Some(last) = purses.last().copied() else { break };
        let asked = purses.clone();
        let Nothing {} = link.call(path::PARKED, AskParked { purses }).await?;
        has_asked = true;
        lacking += link.store.read(|tx| {
            let mut still = 0;
            for purse in asked {
                let kept_minor = parking::kept_minor(tx, purse, 0)?;
                still += usize::from(allotment::get(tx, purse)?.available_minor() < kept_minor);
            }
            Ok::<_, StoreError>(still)
        })?;
        after = Some(last);
    }
    if has_asked {
        // What was adopted is told at once: until then the hub cannot know that it arrived.
        report::send(link).await?;
    }
    Ok(lacking)
}
