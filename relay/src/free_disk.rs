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
    believed: Mutex<Option<Believed>>,
}

/// What the file system said, less what was taken since.
struct Believed {
    asked: Instant,
    /// Bytes above the reserve.
    room: u64,
    /// Bytes that are missing to the reserve.
    missing: u64,
}

impl FreeDisk {
    pub(crate) fn new(path: &Path, reserve: Percent) -> Self {
        Self { path: path.to_owned(), reserve, believed: Mutex::new(None) }
    }

    /// Is less free than there should be?
    pub(crate) fn is_short(&self) -> bool {
        self.missing() > 0
    }

    /// Bytes that are missing to the reserve. What cannot be asked is not short.
    pub(crate) fn missing(&self) -> u64 {
        self.ask(|believed| believed.missing)
    }

    /// Takes so many bytes, if they fit above the reserve.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        self.ask(|believed| {
            let left = believed.room.checked_sub(bytes).filter(|_| believed.missing == 0);
            believed.room = left.unwrap_or(believed.room);
            left.is_some()
        })
    }

    fn ask<T>(&self, f: impl FnOnce(&mut Believed) -> T) -> T {
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = believed.take().filter(|believed| believed.asked.elapsed() < BELIEVED);
        f(believed.insert(fresh.unwrap_or_else(|| self.look())))
    }

    fn look(&self) -> Believed {
        let (room, missing) = statvfs(&self.path).map_or((u64::MAX, 0), |disk| {
            let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
            above_and_below(bytes(disk.f_blocks), bytes(disk.f_bavail), self.reserve)
        });
        Believed { asked: Instant::now(), room, missing }
    }
}

/// Bytes above the reserve, and those that are missing to it.
fn above_and_below(size: u64, free: u64, reserve: Percent) -> (u64, u64) {
    let reserve = reserve.of(size);
    (free.saturating_sub(reserve), reserve.saturating_sub(free))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_the_rest_of_the_reserve() {
        let reserve = Percent::new(5).unwrap();
        assert_eq!(above_and_below(1000, 60, reserve), (10, 0));
        assert_eq!(above_and_below(1000, 50, reserve), (0, 0));
        assert_eq!(above_and_below(1000, 49, reserve), (0, 1));
        assert_eq!(above_and_below(1000, 0, Percent::new(0).unwrap()), (0, 0));
    }

    #[test]
    fn what_was_taken_since_the_file_system_was_asked_counts() {
        let disk = FreeDisk::new(Path::new("/"), Percent::new(0).unwrap());
        let believed = Believed { asked: Instant::now() + Duration::from_secs(60), room: 10, missing: 0 };
        *disk.believed.lock().unwrap() = Some(believed);
        assert_eq!([disk.take(6), disk.take(6), disk.take(4), disk.take(0)], [true, false, true, true]);
    }

    #[test]
    fn a_disk_that_cannot_be_asked_is_not_short() {
        let gone = FreeDisk::new(Path::new("/nonexistent/place"), Percent::new(50).unwrap());
        assert!(!gone.is_short() && gone.take(1 << 40));
    }
}
