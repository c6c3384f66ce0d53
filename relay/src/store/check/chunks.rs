//! The files of the chunk cache.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime};

use zerok_protocol::Hash;

use super::{DamageKind, Report};
use crate::chunks::{self, Found};

/// A running relay writes without syncing or renaming: a file may be half of what it will be in a moment.
const MOMENT: Duration = Duration::from_millis(50);
const MOMENTS: u32 = 20;

pub(super) fn check(dir: &Path, repair: bool, report: &mut Report) -> io::Result<()> {
    let (mut seen, mut damaged) = (0, 0);
    if dir.is_dir() {
        for file in chunks::files(dir)? {
            let Some(whole) = is_whole(&file) else { continue };
            seen += 1;
            if !whole {
                damaged += 1;
                if repair {
                    std::fs::remove_file(&file.path)?;
                }
            }
        }
    }
    report.chunks = Some(seen);
    report.note(DamageKind::Chunks, damaged, repair);
    Ok(())
}

/// Nothing if it is gone: its turn had come.
fn is_whole(file: &Found) -> Option<bool> {
    let mut left = if file.modified + MOMENT * MOMENTS > SystemTime::now() { MOMENTS } else { 0 };
    loop {
        match std::fs::read(&file.path) {
            Ok(data) if Hash::of(&data) == file.address => return Some(true),
            Err(e) if e.kind() == ErrorKind::NotFound => return None,
            _ if left == 0 => return Some(false),
            _ => left -= 1,
        }
        std::thread::sleep(MOMENT);
    }
}
