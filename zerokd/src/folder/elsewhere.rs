//! Work that would hold up a folder's thread: hashing and cutting large files, fetching contents. A bounded number of
//! jobs at a time, each handed back through the inbox; what finds no place waits its turn.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerok_core::{ContentRef, RelPath};
use zerok_protocol::Hash;

use super::contents::{Contents, InTransaction, Ingested, Unfetched};
use super::disk_path::DiskPath;
use super::inbox::Inbox;
use super::observe::{self, Hashed};
use super::root::{Dirs, Root};
use super::stat::Stat;

/// Contents fetched at the same time.
const FETCHES: usize = 48;
/// Files hashed or cut at the same time.
const HASHES: usize = 2;
/// Paths that wait for a place; beyond that they wait in the database.
const WAITING: usize = 4096;

/// A finished job.
pub(crate) enum Done {
    /// A large file was hashed, and cut if that was asked for; `None` if it changed meanwhile.
    Hashed(RelPath, io::Result<Option<(Hashed, Option<Ingested>)>>),
    /// Contents were fetched into a temporary.
    Fetched(RelPath, Staged, Result<InTransaction, Unfetched>),
}

/// A temporary with contents.
pub(crate) struct Staged {
    /// Its name.
    pub(crate) tmp: String,
    /// What it holds when it is complete.
    pub(crate) hash: Hash,
    /// What belongs in the transaction of the row of the file that it becomes.
    pub(crate) store: Option<InTransaction>,
}

/// One kind of job: what runs and what waits.
#[derive(Default)]
struct Lane {
    running: HashSet<String>,
    waiting: VecDeque<RelPath>,
    queued: HashSet<String>,
}

impl Lane {
    fn has(&self, key: &str) -> bool {
        self.running.contains(key) || self.queued.contains(key)
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Lets a path in, or queues it.
    fn enter(&mut self, path: &RelPath, places: usize) -> Option<Taken> {
        let key = path.key();
        if self.running.contains(key) {
            return Some(Taken::Runs);
        }
        if self.queued.contains(key) {
            return Some(Taken::Waits);
        }
        if self.running.len() < places {
            return None;
        }
        if self.waiting.len() >= WAITING {
            return Some(Taken::Full);
        }
        self.queued.insert(key.to_owned());
        self.waiting.push_back(path.clone());
        Some(Taken::Waits)
    }

    fn next(&mut self, places: usize) -> Vec<RelPath> {
        let free = places.saturating_sub(self.running.len()).min(self.waiting.len());
        let next: Vec<RelPath> = self.waiting.drain(..free).collect();
        next.iter().for_each(|path| _ = self.queued.remove(path.key()));
        next
    }
}

/// Whether a job was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It runs, or runs already.
    Runs,
    /// It waits its turn: its path comes out of [`Elsewhere::next`].
    Waits,
    /// There is no place; the path has to wait in the database.
    Full,
}

/// Starts jobs and counts them.
pub(crate) struct Elsewhere {
    root: Arc<Root>,
    inbox: Arc<Inbox>,
    contents: Arc<dyn Contents>,
    tracker: TaskTracker,
    runtime: Handle,
    fetching: Lane,
    hashing: Lane,
    cancel: CancellationToken,
}

impl Drop for Elsewhere {
    /// Fetches end with the folder: two of them must never write to one temporary.
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Elsewhere {
    /// No jobs yet.
    pub(crate) fn new(
        root: Arc<Root>,
        inbox: Arc<Inbox>,
        contents: Arc<dyn Contents>,
        tracker: TaskTracker,
        runtime: Handle,
    ) -> Self {
        let (fetching, hashing) = (Lane::default(), Lane::default());
        let cancel = CancellationToken::new();
        Self { root, inbox, contents, tracker, runtime, fetching, hashing, cancel }
    }

    /// Is the path being worked on, or waiting to be?
    pub(crate) fn has(&self, key: &str) -> bool {
        self.fetching.has(key) || self.hashing.has(key)
    }

    /// Is nothing under way?
    pub(crate) fn is_idle(&self) -> bool {
        self.fetching.is_idle() && self.hashing.is_idle()
    }

    /// May more paths be brought here?
    pub(crate) fn has_room(&self) -> bool {
        self.fetching.waiting.len() < WAITING && self.hashing.waiting.len() < WAITING
    }

    /// The paths whose turn it is.
    pub(crate) fn next(&mut self) -> Vec<RelPath> {
        let mut next = self.hashing.next(HASHES);
        next.extend(self.fetching.next(FETCHES));
        next
    }

    /// A job was handed back.
    pub(crate) fn finished(&mut self, done: &Done) {
        match done {
            Done::Hashed(path, _) => self.hashing.running.remove(path.key()),
            Done::Fetched(path, ..) => self.fetching.running.remove(path.key()),
        };
    }

    /// The contents of the folder's files.
    pub(crate) fn contents(&self) -> &Arc<dyn Contents> {
        &self.contents
    }

    /// Hashes a large file; with `cut` it is sealed into chunks too.
    pub(crate) fn hash(&mut self, path: &RelPath, at: &DiskPath, cut: bool) -> Taken {
        if let Some(taken) = self.hashing.enter(path, HASHES) {
            return taken;
        }
        self.hashing.running.insert(path.key().to_owned());
        let (root, inbox, contents) = (self.root.clone(), self.inbox.clone(), self.contents.clone());
        let (path, at) = (path.clone(), at.clone());
        let job = move || {
            let result = hash(&root, &at, cut, &*contents);
            inbox.done(Done::Hashed(path, result));
        };
        self.tracker.spawn_blocking_on(job, &self.runtime);
        Taken::Runs
    }

    /// Gets contents into a temporary, which is made or opened only when the job is taken.
    ///
    /// # Errors
    /// It cannot be.
    pub(crate) fn fetch(
        &mut self,
        path: &RelPath,
        content: &ContentRef,
        make: impl FnOnce() -> io::Result<(String, File)>,
    ) -> io::Result<Taken> {
        if let Some(taken) = self.fetching.enter(path, FETCHES) {
            return Ok(taken);
        }
        let (tmp, file) = make()?;
        self.fetching.running.insert(path.key().to_owned());
        let staged = Staged { tmp, hash: content.hash, store: None };
        let (inbox, path) = (self.inbox.clone(), path.clone());
        let (fetching, cancel) = (self.contents.fetch(content, file), self.cancel.clone());
        let job = async move {
            if let Some(result) = cancel.run_until_cancelled(fetching).await {
                inbox.done(Done::Fetched(path, staged, result));
            }
        };
        self.tracker.spawn_on(job, &self.runtime);
        Ok(Taken::Runs)
    }
}

fn hash(
    root: &Root,
    at: &DiskPath,
    cut: bool,
    contents: &dyn Contents,
) -> io::Result<Option<(Hashed, Option<Ingested>)>> {
    let mut file = root.open_file(&mut Dirs::new(root), at)?;
    if cut {
        return Ok(ingest(&file, contents)?.map(|(hashed, ingested)| (hashed, Some(ingested))));
    }
    Ok(observe::hash(&mut file)?.map(|hashed| (hashed, None)))
}

/// Cuts and seals a file; `None` if it changed meanwhile.
///
/// # Errors
/// It cannot be read, or the database refuses.
pub(crate) fn ingest(file: &File, contents: &dyn Contents) -> io::Result<Option<(Hashed, Ingested)>> {
    let before = Stat::of_open(file)?;
    let ingested = contents.ingest(file, before.size)?;
    let after = Stat::of_open(file)?;
    let rested = before.same_content_as(&after) && ingested.content.size == before.size;
    let hashed = Hashed { stat: after, hash: ingested.content.hash, inline: None };
    Ok(rested.then_some((hashed, ingested)))
}
