//! The disk's own pace: one block written over itself in a file that has its size already, and `fdatasync`, again and again.
//!
//! That is the least that a commit to a write-ahead log costs; nothing of ours is in it.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::Context;

use super::now;

/// A page of the log.
const BLOCK: usize = 4_096;
/// How long the file is, in blocks: it is written round and round.
const BLOCKS: u64 = 1_024;

/// A file on the disk that is measured.
pub(super) struct Disk {
    file: File,
    block: u64,
}

impl Disk {
    /// Makes the file with its size, so that no later write changes the file system's own records of it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file = File::create_new(path).with_context(|| format!("could not make {}", path.display()))?;
        for _ in 0..BLOCKS {
            file.write_all(&[1; BLOCK]).context("could not fill the file")?;
        }
        file.sync_all().context("could not sync the file")?;
        Ok(Self { file, block: 0 })
    }

    /// Writes and syncs so many blocks and gives how long each took, sorted, in microseconds.
    pub(super) fn sync(&mut self, times: u64) -> anyhow::Result<Vec<u32>> {
        let mut latencies_us = Vec::with_capacity(usize::try_from(times).unwrap_or(0));
        for _ in 0..times {
            let start = now();
            self.file.seek(SeekFrom::Start(self.block * BLOCK as u64)).context("could not seek")?;
            self.file.write_all(&[2; BLOCK]).context("could not write a block")?;
            self.file.sync_data().context("could not sync a block")?;
            latencies_us.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            self.block = (self.block + 1) % BLOCKS;
        }
        latencies_us.sort_unstable();
        Ok(latencies_us)
    }
}
