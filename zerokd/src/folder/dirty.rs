//! What the watcher has reported and nobody has looked at yet, and when to look.
//!
//! A path rests when nothing was heard of it for 20 ms, or for 500 ms while somebody has it open for writing; under a
//! steady stream it is looked at after 500 ms all the same (10 s while it is open). More paths than can be remembered
//! count as an overflow, and the folder is rescanned.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Quiet time after which a path that nobody writes is looked at.
const SETTLE: Duration = Duration::from_millis(20);
/// Quiet time after which a path that somebody has open for writing is looked at.
const SETTLE_OPEN: Duration = Duration::from_millis(500);
/// Longest wait under a steady stream.
const LONGEST: Duration = Duration::from_millis(500);
/// Longest wait while a file is open for writing and grows.
const LONGEST_OPEN: Duration = Duration::from_secs(10);
/// Most paths remembered.
const MOST: usize = 1 << 16;

/// What was heard of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Its contents are being written by someone who has not closed it.
    Writing,
    /// It was written and closed, or its permissions or times changed.
    Changed,
    /// The name is new, gone, or means something else now: a directory is looked through as a whole.
    Renamed,
}

#[derive(Debug)]
struct Entry {
    first: Instant,
    last: Instant,
    writing: bool,
    whole: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    paths: HashMap<PathBuf, Entry>,
    overflow: bool,
    // When whoever looks will look next, as far as they know.
    expected: Option<Instant>,
}

/// What is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Paths to look at; with `true`, and all below if it is a directory.
    pub(crate) paths: Vec<(PathBuf, bool)>,
    /// Events were lost: look at everything.
    pub(crate) everything: bool,
}

impl Dirty {
    /// Something was heard of a path; true if it is due before anybody will look.
    pub(crate) fn hear(&mut self, path: PathBuf, heard: Heard, now: Instant) -> bool {
        if self.overflow {
            return false;
        }
        if self.paths.len() >= MOST && !self.paths.contains_key(&path) {
            self.overflow();
            return true;
        }
        let new = Entry { first: now, last: now, writing: false, whole: false };
        let entry = self.paths.entry(path).or_insert(new);
        entry.last = now;
        entry.writing = heard == Heard::Writing || (entry.writing && heard == Heard::Renamed);
        entry.whole |= heard == Heard::Renamed;
        let due = entry.due();
        let sooner = self.expected.is_none_or(|expected| due < expected);
        if sooner {
            self.expected = Some(due);
        }
        sooner
    }

    /// Events were lost.
    pub(crate) fn overflow(&mut self) {
        self.overflow = true;
        self.paths.clear();
    }

    /// When the next path is due, and so when the asker will look; `None` while nothing is known.
    pub(crate) fn next_due(&mut self) -> Option<Instant> {
        self.expected =
            if self.overflow { Some(Instant::now()) } else { self.paths.values().map(Entry::due).min() };
        self.expected
    }

    /// Takes what is due at `now`.
    pub(crate) fn take(&mut self, now: Instant) -> Due {
        if std::mem::take(&mut self.overflow) {
            return Due { paths: Vec::new(), everything: true };
        }
        let due = self.paths.extract_if(|_, entry| entry.due() <= now);
        Due { paths: due.map(|(path, entry)| (path, entry.whole)).collect(), everything: false }
    }
}

impl Entry {
    fn due(&self) -> Instant {
        let (settle, longest) = if self.writing { (SETTLE_OPEN, LONGEST_OPEN) } else { (SETTLE, LONGEST) };
        (self.last + settle).min(self.first + longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn path(n: usize) -> PathBuf {
        PathBuf::from(n.to_string())
    }

    #[test]
    fn a_path_is_due_when_it_rests() {
        let (mut dirty, start) = (Dirty::default(), Instant::now());
        dirty.hear(path(1), Heard::Renamed, start);
        dirty.hear(path(1), Heard::Writing, start);
        dirty.hear(path(1), Heard::Changed, start + 5 * MS);
        assert_eq!(dirty.next_due(), Some(start + 25 * MS));
        assert_eq!(dirty.take(start + 24 * MS), Due::default());
        assert_eq!(dirty.take(start + 25 * MS).paths, [(path(1), true)]);
        assert_eq!(dirty.next_due(), None);
    }

    #[test]
    fn whoever_sleeps_is_told_when_a_path_is_due_sooner() {
        let (mut dirty, start) = (Dirty::default(), Instant::now());
        assert!(dirty.hear(path(1), Heard::Writing, start));
        assert_eq!(dirty.next_due(), Some(start + 500 * MS));
        assert!(dirty.hear(path(1), Heard::Changed, start + MS), "it was closed");
        assert!(!dirty.hear(path(2), Heard::Changed, start + 2 * MS));
    }

    #[test]
    fn a_steady_stream_does_not_put_a_path_off_for_ever() {
        let (mut dirty, start) = (Dirty::default(), Instant::now());
        for n in 0..100 {
            dirty.hear(path(1), Heard::Changed, start + n * 10 * MS);
        }
        assert_eq!(dirty.next_due(), Some(start + 500 * MS));
    }

    #[test]
    fn a_file_that_is_being_written_is_left_until_it_rests() {
        let (mut dirty, start) = (Dirty::default(), Instant::now());
        for n in 0..200 {
            dirty.hear(path(1), Heard::Writing, start + n * 10 * MS);
        }
        assert_eq!(dirty.next_due(), Some(start + 2490 * MS));
    }

    #[test]
    fn more_than_can_be_remembered_is_an_overflow() {
        let (mut dirty, start) = (Dirty::default(), Instant::now());
        for n in 0..=MOST {
            dirty.hear(path(n), Heard::Changed, start);
        }
        assert_eq!(dirty.take(start), Due { paths: Vec::new(), everything: true });
        assert_eq!(dirty.take(start), Due::default());
    }
}
