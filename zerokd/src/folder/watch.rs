//! The system's file events, taken as hints. Where they cannot be had the folder is polled, and says so.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::dirty::{Dirty, Due, Heard};

/// Why a folder is polled instead of watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unwatched {
    /// The system allows no more watches; the number it allows, where it can be read.
    Limit(Option<u64>),
    /// The system's reason.
    Failed(String),
}

type Wake = Arc<dyn Fn() + Send + Sync>;

/// A watched, or polled, folder.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    shared: Arc<Shared>,
}

struct Shared {
    dirty: Mutex<Dirty>,
    unwatched: Mutex<Option<Unwatched>>,
    own: PathBuf,
    wake: Wake,
}

impl Watch {
    /// Watches `root` and everything below except the daemon's own directory; `wake` is called when something is due
    /// before the time that [`Watch::next_due`] gave.
    pub(crate) fn start(root: &Path, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            dirty: Mutex::default(),
            unwatched: Mutex::default(),
            own: root.join(super::disk_path::OWN_DIR),
            wake: Arc::new(wake),
        });
        let watcher = match watch(root, &shared) {
            Ok(watcher) => Some(watcher),
            Err(e) => {
                shared.give_up(&e);
                None
            }
        };
        Self { watcher, shared }
    }

    /// Why it is polled, if it is. Once the limit was reached the remaining watches are worth nothing and are given
    /// back.
    pub(crate) fn unwatched(&mut self) -> Option<Unwatched> {
        let reason = self.shared.unwatched.lock().expect("nobody panics while holding it").clone();
        if reason.is_some() {
            self.watcher = None;
        }
        reason
    }

    /// When to look next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.shared.dirty().next_due()
    }

    /// What is due now.
    pub(crate) fn take(&self, now: Instant) -> Due {
        self.shared.dirty().take(now)
    }
}

fn watch(root: &Path, shared: &Arc<Shared>) -> notify::Result<RecommendedWatcher> {
    let to = shared.clone();
    // Followed links would watch, and report, what is outside the folder.
    let config = notify::Config::default().with_follow_symlinks(false);
    let mut watcher = RecommendedWatcher::new(move |event| to.on_event(event), config)?;
    watcher.watch(root, RecursiveMode::Recursive)?;
    Ok(watcher)
}

impl Shared {
    fn dirty(&self) -> std::sync::MutexGuard<'_, Dirty> {
        self.dirty.lock().expect("nobody panics while holding it")
    }

    fn on_event(&self, event: notify::Result<Event>) {
        let event = match event {
            Ok(event) => event,
            Err(e) => {
                if matches!(e.kind, notify::ErrorKind::MaxFilesWatch) {
                    self.give_up(&e);
                } else {
                    self.dirty().overflow();
                }
                return (self.wake)();
            }
        };
        if event.need_rescan() {
            self.dirty().overflow();
            return (self.wake)();
        }
        let Some(heard) = heard(&event.kind) else { return };
        let now = Instant::now();
        let sooner = {
            let mut dirty = self.dirty();
            let heard = |path| dirty.hear(path, heard, now);
            event
                .paths
                .into_iter()
                .filter(|path| !path.starts_with(&self.own))
                .map(heard)
                .fold(false, |a, b| a | b)
        };
        if sooner {
            (self.wake)();
        }
    }

    fn give_up(&self, error: &notify::Error) {
        let reason = match error.kind {
            notify::ErrorKind::MaxFilesWatch => Unwatched::Limit(watch_limit()),
            _ => Unwatched::Failed(error.kind_text()),
        };
        *self.unwatched.lock().expect("nobody panics while holding it") = Some(reason);
        self.dirty().overflow();
    }
}

trait KindText {
    fn kind_text(&self) -> String;
}

impl KindText for notify::Error {
    /// The reason without the paths, which are no business of a problem's text.
    fn kind_text(&self) -> String {
        match &self.kind {
            notify::ErrorKind::Io(e) => e.to_string(),
            notify::ErrorKind::Generic(text) => text.clone(),
            other => format!("{other:?}"),
        }
    }
}

/// `None`: nothing that could have changed anything, such as our own reading.
fn heard(kind: &EventKind) -> Option<Heard> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Heard::Changed),
        EventKind::Access(_) => None,
        EventKind::Modify(ModifyKind::Data(_)) => Some(Heard::Writing),
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Heard::Changed),
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
            Some(Heard::Renamed)
        }
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => Some(Heard::Renamed),
    }
}

/// How many watches the system allows a user.
fn watch_limit() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?.trim().parse().ok()
}

/// How often a folder that cannot be watched is scanned.
pub(crate) const POLL_EVERY: Duration = Duration::from_secs(10);

impl Unwatched {
    /// What to tell a person, and what to do about it.
    pub(crate) fn explain(&self) -> (String, String) {
        match self {
            Self::Limit(Some(limit)) => (
                format!(
                    "the system allows only {limit} file watches; the folder is looked through every 10 s instead"
                ),
                format!(
                    "raise the limit: sudo sysctl fs.inotify.max_user_watches={}",
                    limit.saturating_mul(4)
                ),
            ),
            Self::Limit(None) => (
                "the system allows no more file watches; the folder is looked through every 10 s instead"
                    .into(),
                "raise the system's limit on file watches".into(),
            ),
            Self::Failed(reason) => (
                format!(
                    "file events cannot be had ({reason}); the folder is looked through every 10 s instead"
                ),
                "keep the folder on a local file system".into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Waits until `path` was reported, up to ten seconds.
    fn wait_for(watch: &Watch, woken: &mpsc::Receiver<()>, path: &Path) -> bool {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            let due = watch.take(Instant::now() + Duration::from_secs(60));
            if let Some((_, whole)) = due.paths.iter().find(|(p, _)| p == path) {
                return *whole;
            }
            let _ = woken.recv_timeout(Duration::from_millis(50));
        }
        panic!("not reported");
    }

    #[test]
    fn a_saved_file_and_a_new_directory_are_reported_and_the_own_directory_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join(".zerok/tmp")).unwrap();
        std::fs::write(root.join("a"), "1").unwrap();
        let (tx, woken) = mpsc::channel();
        let mut watch = Watch::start(&root, move || _ = tx.send(()));
        assert_eq!(watch.unwatched(), None);
        std::fs::write(root.join(".zerok/tmp/t"), "x").unwrap();
        std::fs::write(root.join("a"), "2").unwrap();
        assert!(!wait_for(&watch, &woken, &root.join("a")));
        std::fs::create_dir(root.join("d")).unwrap();
        assert!(wait_for(&watch, &woken, &root.join("d")));
        assert!(watch.take(Instant::now() + Duration::from_secs(60)).paths.is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_watched_says_why() {
        let mut watch = Watch::start(Path::new("/nonexistent/zerok"), || {});
        assert!(matches!(watch.unwatched(), Some(Unwatched::Failed(_))));
        assert!(watch.take(Instant::now()).everything);
        let (text, hint) = Unwatched::Limit(Some(8192)).explain();
        assert!(text.contains("8192") && hint.contains("fs.inotify.max_user_watches=32768"));
    }
}
