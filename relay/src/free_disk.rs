//! How much of a file system is left free: below the reserve nothing more is stored, so that what must be written still
//! can be, and the machine goes on.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use crate::config::Percent;

/// How long an answer of the file system is believed: a push must not cost a system call.
const BELIEVED: Duration = Duration::from_millis(500);

/// The reserve of the file system that a path is on.
pub(crate) struct FreeDisk {
    path: PathBuf,
    reserve: Percent,
    missing: Mutex<Option<(Instant, u64)>>,
}

impl FreeDisk {
    pub(crate) fn new(path: &Path, reserve: Percent) -> Self {
        Self { path: path.to_owned(), reserve, missing: Mutex::new(None) }
    }

    /// Is less free than there should be?
    pub(crate) fn is_short(&self) -> bool {
        self.missing() > 0
    }

    /// Bytes that are missing to the reserve. What cannot be asked is not short.
    pub(crate) fn missing(&self) -> u64 {
        let mut believed = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, missing)) = *believed
            && asked.elapsed() < BELIEVED
        {
            return missing;
        }
        let missing = statvfs(&self.path).map_or(0, |disk| {
            let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
            missing(bytes(disk.f_blocks), bytes(disk.f_bavail), self.reserve)
        });
        *believed = Some((Instant::now(), missing));
        missing
    }
}

fn missing(size: u64, free: u64, reserve: Percent) -> u64 {
    reserve.of(size).saturating_sub(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_the_rest_of_the_reserve() {
        let reserve = Percent::new(5).unwrap();
        assert_eq!([missing(1000, 50, reserve), missing(1000, 49, reserve)], [0, 1]);
        assert_eq!(missing(1000, 0, Percent::new(0).unwrap()), 0);
    }

    #[test]
    fn a_disk_that_cannot_be_asked_is_not_short() {
        let gone = FreeDisk::new(Path::new("/nonexistent/place"), Percent::new(50).unwrap());
        assert!(!gone.is_short());
    }
}
