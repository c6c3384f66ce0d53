//! What a process costs the machine, as `/proc` says.

use std::fs;

use anyhow::{Context, Result};

/// Seconds of processor time that a process has used.
pub(super) fn processor_time(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields: Vec<_> = stat.rsplit(") ").next().context("a stat line")?.split(' ').collect();
    let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a field")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// KiB of memory that a process has resident.
pub(super) fn memory(id: u32) -> Result<f64> {
    fs::read_to_string(format!("/proc/{id}/status"))?
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .context("VmRSS")
}
