//! The files of the chunk cache.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime};

use zerok_protocol::Hash;

use super::{DamageKind, Report};
use crate::chunks;

/// A running relay writes without syncing or renaming: a file as young as this may be half of what it will be.
const YOUNG: Duration = Duration::from_secs(10);

pub(super) fn check(dir: &Path, repair: bool, report: &mut Report) -> io::Result<()> {
    let (mut seen, mut damaged) = (0, 0);
    if dir.is_dir() {
        for file in chunks::files(dir)? {
            let young = file.modified + YOUNG > SystemTime::now();
            match std::fs::read(&file.path) {
                Ok(data) if Hash::of(&data) == file.address => seen += 1,
                // Gone in between: its turn had come.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Ok(_) if young && !repair => {}
                Ok(_) | Err(_) => {
                    seen += 1;
                    damaged += 1;
                    if repair {
                        std::fs::remove_file(&file.path)?;
                    }
                }
            }
        }
    }
    report.chunks = Some(seen);
    report.note(DamageKind::Chunks, damaged, repair);
    Ok(())
}
