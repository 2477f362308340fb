//! Memory: what this process used at most, as the kernel counts it.

/// The peak resident set in bytes, where the kernel tells (Linux).
#[must_use]
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

/// Begins the peak anew, where the kernel lets us (Linux); elsewhere it stays that of the whole process.
pub fn forget_peak() {
    // Nothing depends on it but a figure that is read by people.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
