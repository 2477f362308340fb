//! Download: fetches what head office published, page by page, each applied with its cursor in one transaction.
//!
//! A till sees the page before or the page after, never half of one. What a row means is `store::replica`'s. A policy that cannot be read does
//! not stop the download; the one before stays in force and `status` names the fault.

use std::sync::Arc;

use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRequest, DatasetVersion, path};

use super::{Link, SyncError};
use crate::store::{StoreError, replica};

/// What a download brought.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Downloaded {
    /// Rows applied.
    pub rows: u64,
    /// What the store has now, per dataset.
    pub versions: Vec<DatasetVersion>,
    /// Published policies that cannot be used.
    pub policy_faults: Vec<String>,
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

/// Fetches everything that is new, in the order in which datasets build on each other.
///
/// # Errors
/// The hub did not answer, or what came cannot be applied; pages before it stay applied.
pub async fn run(link: &Link) -> Result<Downloaded, SyncError> {
    let _one = link.downloading.lock().await;
    let mut rows = 0;
    for dataset in DatasetKind::ALL.iter().copied() {
        loop {
            let after_version = link.store.read(|tx| replica::version(tx, dataset))?;
            let request = DatasetRequest { dataset, after_version, limit: link.config.download_rows_max };
            let page: DatasetPage = link.call(path::DATASET, request).await?;
            let more = page.more;
            if page.dataset != dataset || page.through_version < after_version {
                return Err(SyncError::Unusable(format!(
                    "the page after version {after_version} of {} is of {} through {}",
                    dataset.as_str(),
                    page.dataset.as_str(),
                    page.through_version
                )));
            }
            if more && page.through_version == after_version {
                let stays = format!("{} stays at version {after_version} and says that more follows", dataset.as_str());
                return Err(SyncError::Unusable(stays));
            }
            if page.through_version > after_version {
                rows += page.rows.len() as u64;
                link.store.write(move |tx| replica::apply_page(tx, &page)).await?;
            }
            if !more {
                break;
            }
        }
    }
    let versions = link.store.read(replica::versions)?;
    let policy_faults = link.store.committed().policy_faults.to_vec();
    for fault in &policy_faults {
        tracing::error!(fault, "A published policy cannot be used, the one before stays in force: {fault}");
    }
    if rows > 0 {
        tracing::info!(rows, "Downloaded {rows} rows");
    }
    Ok(Downloaded { rows, versions, policy_faults })
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
