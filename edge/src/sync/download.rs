//! Download: fetches what head office published, page by page, each applied with its cursor in one transaction.
//!
//! A till sees the page before or the page after, never half of one. What a row means is `store::replica`'s. A policy that cannot be trusted or read
//! does not stop the download; the one before stays in force, `status` names the fault, and the hub is told with the next call. One that may have been
//! spoilt on the way is asked for again before anything that follows it is, and with each download until something that follows it is believed.

use std::fmt;
use std::sync::Arc;

use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRequest, DatasetVersion, path};

use super::{Link, SyncError, park, report, tend_once};
use crate::store::{StoreError, WriteTx, replica};

/// How often a page that may have been spoilt on the way is asked for again: noise does not strike three times, and what is bad must not hold up what
/// follows.
const REPEATS_MAX: u32 = 2;

/// What a download brought.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, schemars::JsonSchema)]
pub struct Downloaded {
    /// Rows applied.
    pub rows: u64,
    /// The same, per dataset that anything came of.
    pub rows_by_dataset: Vec<(DatasetKind, u64)>,
    /// What the store has now, per dataset.
    pub versions: Vec<DatasetVersion>,
    /// Published policies that cannot be used.
    pub policy_faults: Vec<String>,
}

impl fmt::Display for Downloaded {
    /// Says what came: `3 rows of cards, 1 row of policies`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows_by_dataset.is_empty() {
            return f.write_str("nothing new");
        }
        for (index, (dataset, rows)) in self.rows_by_dataset.iter().enumerate() {
            let (comma, plural) = (if index > 0 { ", " } else { "" }, if *rows == 1 { "" } else { "s" });
            write!(f, "{comma}{rows} row{plural} of {}", dataset.as_str())?;
        }
        Ok(())
    }
}

/// Whether the hub has more than this store.
pub(super) fn is_behind(link: &Link, datasets: &[DatasetVersion]) -> Result<bool, StoreError> {
    link.store.read(|tx| {
        for newest in datasets {
            if newest.version > replica::version(tx, newest.dataset)? {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

/// Whether the hub says of a dataset that this store has all of it.
pub(super) fn is_newest(link: &Link, dataset: DatasetKind, datasets: &[DatasetVersion]) -> Result<bool, StoreError> {
    match datasets.iter().find(|newest| newest.dataset == dataset) {
        Some(newest) => Ok(!is_behind(link, std::slice::from_ref(newest))?),
        None => Ok(false),
    }
}

/// Whether the hub has exactly what this store has of a dataset. One that has less is behind what was fetched since it answered; or it was put back from a
/// backup, nobody has told it, and what it has says nothing.
pub(super) fn is_same(link: &Link, dataset: DatasetKind, datasets: &[DatasetVersion]) -> Result<bool, StoreError> {
    let newest = datasets.iter().find(|newest| newest.dataset == dataset);
    newest.map_or(Ok(false), |newest| Ok(newest.version == link.store.read(|tx| replica::version(tx, dataset))?))
}

/// Fetches everything that is new, in the order in which datasets build on each other. None builds on the policies: what is wrong with them keeps
/// neither prices nor cards from coming.
///
/// # Errors
/// The hub did not answer, or what came cannot be applied; pages before it, and datasets that could be fetched all the same, stay applied.
pub async fn run(link: &Link) -> Result<Downloaded, SyncError> {
    let _one = link.downloading.lock().await;
    let known = link.store.committed().policy_refused.clone();
    let mut rows_by_dataset = Vec::new();
    let mut failed = None;
    for dataset in DatasetKind::ALL.iter().copied() {
        match fetch(link, dataset).await {
            Ok(0) => {}
            Ok(applied) => rows_by_dataset.push((dataset, applied)),
            Err(error) if dataset == DatasetKind::Policies => failed = Some(error),
            Err(error) => return Err(failed.unwrap_or(error)),
        }
    }
    let versions = link.store.read(replica::versions)?;
    let refused = link.store.committed().policy_refused.clone();
    for refused in refused.iter().filter(|refused| !known.contains(refused)) {
        tracing::error!(
            policy.version = refused.version,
            policy.fault = refused.fault.as_str(),
            "Refused what was published, the policy before stays in force: {refused}"
        );
    }
    let policy_faults = refused.iter().map(ToString::to_string).collect();
    if link.has_untold_policy().await {
        // Head office watches who has what; a failure is told with the next call.
        if let Err(error) = report::send_alive(link).await {
            tracing::debug!(error = %error, "Could not tell the hub which policies are here: {error}");
        }
    }
    if rows_by_dataset.iter().any(|(dataset, _)| *dataset == DatasetKind::Parking) {
        // What is above the targets goes back first, so that other stores can have it; what is below is asked for only while the store is closed. That
        // value is not here yet spoils no download.
        let parked = async {
            tend_once(link).await?;
            park::fill(link).await
        };
        if let Err(error) = parked.await {
            tracing::debug!(error = %error, "Could not ask for the value that is to be parked here: {error}");
        }
    }
    let rows = rows_by_dataset.iter().map(|(_, rows)| rows).sum();
    let done = Downloaded { rows, rows_by_dataset, versions, policy_faults };
    if rows > 0 {
        tracing::info!(rows, "Downloaded {done}");
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(done),
    }
}

/// Fetches what is new of one dataset, and gives how many rows came.
///
/// # Errors
/// As [`run`].
pub(super) async fn one(link: &Link, dataset: DatasetKind) -> Result<u64, SyncError> {
    let _one = link.downloading.lock().await;
    fetch(link, dataset).await
}

/// Fetches what is new of a dataset, and gives how many rows came.
async fn fetch(link: &Link, dataset: DatasetKind) -> Result<u64, SyncError> {
    let mut after_version = link.store.read(|tx| replica::version(tx, dataset))?;
    let (mut rows, mut is_waiting, mut repeats) = (0, false, 0);
    let (mut asked_at, mut recovers);
    // By what is asked for next head office knows what is here. Of cards that is worth a last question: until then whoever found a lost one counts as able
    // to pay with it here.
    let tells = dataset == DatasetKind::Cards;
    loop {
        let request = DatasetRequest { dataset, after_version, limit: link.config.download_rows_max };
        let life = link.store.committed().hub_turn.life;
        asked_at = link.clock.now();
        let page: DatasetPage = link.call(path::DATASET, request).await?;
        let (more, through_version, count) = (page.more, page.through_version, page.rows.len() as u64);
        recovers = page.recovers;
        if page.dataset != dataset || through_version < after_version {
            return Err(SyncError::Unusable(format!(
                "the page after version {after_version} of {} is of {} through {through_version}",
                dataset.as_str(),
                page.dataset.as_str(),
            )));
        }
        if more && through_version == after_version {
            let stays = format!("{} stays at version {after_version} and says that more follows", dataset.as_str());
            return Err(SyncError::Unusable(stays));
        }
        let is_news = through_version > after_version;
        if is_news {
            let apply = move |tx: &mut WriteTx<'_>| {
                // A call that met another life of the hub on its way has asked after a version that counts for nothing there.
                let is_same = tx.chain().hub_turn.life == life;
                is_same.then(|| replica::apply_page(tx, &page)).transpose()
            };
            let Some(applied) = link.store.write(apply).await? else {
                if repeats == REPEATS_MAX {
                    let why = format!("the hub began one life after another while {} was fetched", dataset.as_str());
                    return Err(SyncError::Unusable(why));
                }
                repeats += 1;
                after_version = link.store.read(|tx| replica::version(tx, dataset))?;
                continue;
            };
            is_waiting = applied.waits;
            if is_waiting && repeats < REPEATS_MAX {
                repeats += 1;
                continue;
            }
            rows += count;
            (after_version, repeats) = (through_version, 0);
        }
        let asks_on = more || (tells && is_news);
        if !asks_on {
            break;
        }
    }
    match dataset {
        DatasetKind::Policies if !is_waiting => link.policies_confirmed(asked_at).await?,
        DatasetKind::Cards => link.cards_confirmed(asked_at, recovers).await?,
        _ => {}
    }
    Ok(rows)
}

/// Downloads each time the hub announced something.
pub(super) async fn keep_current(link: Arc<Link>) {
    let mut backoff = link.backoff("download");
    loop {
        link.news.notified().await;
        while let Err(error) = run(&link).await {
            tracing::warn!(error = %error, "Could not download: {error}");
            link.notices.download_failed(&error.to_string());
            link.pause(backoff.next(error.retry_after())).await;
        }
        link.notices.download_worked();
        backoff.reset();
    }
}
