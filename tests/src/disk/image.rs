//! Image: what a disk holds, what it shows, and what of it a power cut leaves.
//!
//! Every file has the bytes that are surely on the disk, and the changes since the last sync, which are not. A power cut loses those: all, none, or
//! any of their 512-byte sectors, in any order. A sync that fails drops what it should have written and shows it all the same, as operating systems
//! do: only what is written again is synced again. Names are durable when their folder is synced, which the engine's own layer for Unix does with the
//! first sync of each log or journal, and a name alone with its file's sync. No faults and no threads here.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// A file of an image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileNo(u64);

/// What becomes of changes that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// They are gone.
    All,
    /// They are all there: the disk was quicker than the power cut.
    Nothing,
    /// Each sector is as it was at some moment since the last sync, and so are lengths and names. The number is the seed.
    Torn(u64),
}

/// A change that is not surely on the disk.
#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Arc<[u8]> },
    Cut { size: usize },
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What readers see.
    shown: Arc<Vec<u8>>,
    /// What is surely on the disk.
    durable: Arc<Vec<u8>>,
    /// What changed since the last sync, oldest first.
    pending: Vec<Change>,
}

/// A disk's contents.
#[derive(Clone, Debug, Default)]
pub struct Image {
    names: BTreeMap<String, FileNo>,
    durable_names: BTreeMap<String, FileNo>,
    files: BTreeMap<FileNo, File>,
    made: u64,
}

impl Image {
    /// The file of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<FileNo> {
        self.names.get(name).copied()
    }

    /// Makes an empty file, without a name if it needs none.
    pub fn make(&mut self, name: Option<&str>) -> FileNo {
        self.made += 1;
        let file = FileNo(self.made);
        self.files.insert(file, File::default());
        if let Some(name) = name {
            self.names.insert(name.to_owned(), file);
        }
        file
    }

    /// Removes a name; whoever has its file open keeps it. With `synced` the name is gone for good.
    pub fn remove(&mut self, name: &str, synced: bool) -> bool {
        if synced {
            self.durable_names.remove(name);
        }
        self.names.remove(name).is_some()
    }

    /// How many bytes a file shows.
    #[must_use]
    pub fn size(&self, file: FileNo) -> usize {
        self.files.get(&file).map_or(0, |file| file.shown.len())
    }

    /// How many bytes all files show together.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.files.values().map(|file| file.shown.len()).sum()
    }

    /// Reads what is shown, and gives how many bytes there were.
    pub fn read(&self, file: FileNo, at: usize, into: &mut [u8]) -> usize {
        let shown = self.files.get(&file).map_or(&[][..], |file| &file.shown);
        let found = shown.get(at..).unwrap_or_default();
        let length = found.len().min(into.len());
        into[..length].copy_from_slice(&found[..length]);
        length
    }

    /// Writes.
    pub fn write(&mut self, file: FileNo, at: usize, bytes: &[u8]) {
        let Some(file) = self.files.get_mut(&file) else { return };
        put(Arc::make_mut(&mut file.shown), at, bytes);
        file.pending.push(Change::Write { at, bytes: bytes.into() });
    }

    /// Cuts a file to a length.
    pub fn cut(&mut self, file: FileNo, size: usize) {
        let Some(file) = self.files.get_mut(&file) else { return };
        Arc::make_mut(&mut file.shown).truncate(size);
        file.pending.push(Change::Cut { size });
    }

    /// Puts every name that was made or removed on the disk.
    pub fn sync_folder(&mut self) {
        self.durable_names.clone_from(&self.names);
    }

    /// Puts what is pending of a file on the disk, with its name.
    pub fn sync(&mut self, file: FileNo) {
        self.settle(file, Loss::Nothing);
        let names = self.names.iter().filter(|&(_, &named)| named == file);
        self.durable_names.extend(names.map(|(name, &file)| (name.clone(), file)));
    }

    /// A sync that failed: what became of the pending changes is `loss`, and no later sync will write them.
    pub fn fail_sync(&mut self, file: FileNo, loss: Loss) {
        self.settle(file, loss);
    }

    fn settle(&mut self, file: FileNo, loss: Loss) {
        let Some(file) = self.files.get_mut(&file) else { return };
        let pending = std::mem::take(&mut file.pending);
        if !pending.is_empty() {
            left_of(Arc::make_mut(&mut file.durable), &pending, loss);
        }
    }

    /// The disk after a power cut: what is shown is what is there.
    #[must_use]
    pub fn after_power_cut(&self, loss: Loss) -> Self {
        let names = match loss {
            Loss::All => self.durable_names.clone(),
            Loss::Nothing => self.names.clone(),
            Loss::Torn(seed) => {
                let mut random = StdRng::seed_from_u64(seed ^ 0xD1EC);
                let mut names = self.durable_names.clone();
                for (name, &file) in &self.names {
                    if self.durable_names.get(name) != Some(&file) && random.random() {
                        names.insert(name.clone(), file);
                    }
                }
                names.retain(|name, _| self.names.contains_key(name) || random.random());
                names
            }
        };
        let mut files = BTreeMap::new();
        for &no in names.values() {
            let Some(file) = self.files.get(&no) else { continue };
            let mut bytes = Arc::clone(&file.durable);
            if !file.pending.is_empty() {
                let loss = if let Loss::Torn(seed) = loss { Loss::Torn(seed.rotate_left(7) ^ no.0) } else { loss };
                left_of(Arc::make_mut(&mut bytes), &file.pending, loss);
            }
            files.insert(no, File { shown: Arc::clone(&bytes), durable: bytes, pending: Vec::new() });
        }
        Self { durable_names: names.clone(), names, files, made: self.made }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    let end = at + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(new);
}

/// Applies what a loss leaves of changes.
fn left_of(bytes: &mut Vec<u8>, changes: &[Change], loss: Loss) {
    let seed = match loss {
        Loss::All => return,
        Loss::Nothing => None,
        Loss::Torn(seed) => Some(seed),
    };
    let mut random = StdRng::seed_from_u64(seed.unwrap_or(0));
    // Each sector is as it was after some number of changes, and so is the length.
    let mut until: BTreeMap<usize, usize> = BTreeMap::new();
    let cut_until = if seed.is_some() { random.random_range(0..=changes.len()) } else { changes.len() };
    for (no, change) in changes.iter().enumerate() {
        match change {
            Change::Cut { size } if no < cut_until => bytes.truncate(*size),
            Change::Cut { .. } => {}
            Change::Write { at, bytes: new } => {
                let mut from = 0;
                while from < new.len() {
                    let sector = (at + from) / SECTOR_BYTES;
                    let to = ((sector + 1) * SECTOR_BYTES - at).min(new.len());
                    let last = if seed.is_some() {
                        *until.entry(sector).or_insert_with(|| random.random_range(0..=changes.len()))
                    } else {
                        changes.len()
                    };
                    if no < last {
                        put(bytes, at + from, &new[from..to]);
                    }
                    from = to;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(image: &Image, name: &str) -> Option<Vec<u8>> {
        image.find(name).map(|file| {
            let mut bytes = vec![0; image.size(file)];
            image.read(file, 0, &mut bytes);
            bytes
        })
    }

    #[test]
    fn a_power_cut_loses_what_was_not_synced_and_nothing_else() {
        let mut image = Image::default();
        let file = image.make(Some("a"));
        assert_eq!(shown(&image.after_power_cut(Loss::All), "a"), None, "a name that was never synced");
        image.write(file, 0, b"safe");
        image.sync(file);
        image.write(file, 2, b"new one");
        assert_eq!(shown(&image, "a").unwrap(), b"sanew one");
        assert_eq!(shown(&image.after_power_cut(Loss::All), "a").unwrap(), b"safe");
        assert_eq!(shown(&image.after_power_cut(Loss::Nothing), "a").unwrap(), b"sanew one");
    }

    #[test]
    fn sectors_are_torn_apart_and_never_in_the_middle() {
        let mut image = Image::default();
        let file = image.make(Some("a"));
        image.write(file, 0, &[1; 4 * SECTOR_BYTES]);
        image.sync(file);
        image.write(file, 0, &[2; 4 * SECTOR_BYTES]);
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let bytes = shown(&image.after_power_cut(Loss::Torn(seed)), "a").unwrap();
            let sectors: Vec<u8> = bytes.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect();
            assert!(bytes.chunks(SECTOR_BYTES).all(|sector| sector.iter().all(|&byte| byte == sector[0])));
            kinds.insert(sectors);
        }
        assert_eq!(kinds.len(), 16, "every mixture of four sectors comes");
    }

    #[test]
    fn what_a_failed_sync_dropped_is_shown_and_lost_until_it_is_written_again() {
        let mut image = Image::default();
        let file = image.make(Some("a"));
        image.write(file, 0, b"old");
        image.sync(file);
        image.write(file, 0, b"new");
        image.fail_sync(file, Loss::All);
        image.sync(file);
        assert_eq!(shown(&image, "a").unwrap(), b"new");
        assert_eq!(shown(&image.after_power_cut(Loss::Nothing), "a").unwrap(), b"old");
        image.write(file, 0, b"new");
        image.sync(file);
        assert_eq!(shown(&image.after_power_cut(Loss::All), "a").unwrap(), b"new");
    }

    #[test]
    fn a_removed_name_may_come_back_unless_its_removal_was_synced() {
        let mut image = Image::default();
        for name in ["soft", "hard"] {
            let file = image.make(Some(name));
            image.sync(file);
        }
        image.remove("soft", false);
        image.remove("hard", true);
        let after = image.after_power_cut(Loss::All);
        assert!(after.find("soft").is_some() && after.find("hard").is_none());
        assert!(image.after_power_cut(Loss::Nothing).find("soft").is_none());
        image.sync_folder();
        assert!(image.after_power_cut(Loss::All).find("soft").is_none());
    }
}
