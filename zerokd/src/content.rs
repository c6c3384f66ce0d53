//! Large contents: files are cut into sealed chunks, uploaded to the relays' caches, fetched from there, and served
//! again to whoever asks for what a relay has dropped.
//!
//! - **ingest** reads a file once and gives its root, to stand in a record, and rows, to be committed with the record.
//! - **upload** follows the committed rows: a queue that survives a restart, emptied while a relay takes.
//! - **fetch** writes a content into a staged file: from chunks that lie here already, else from a relay, else by a
//!   signal to the other members. Every chunk and the whole are verified.
//! - **serve** answers such signals.
//!
//! Sealed chunks are never stored here: they are made anew from the plaintext, which gives the same bytes. Where the
//! plaintext lies is known by its hash through [`Sources`]; a file that changed meanwhile shows by other addresses.

mod early;
mod fetch;
mod ingest;
mod list;
mod piece;
mod rows;
mod serve;
mod stream;
mod upload;
mod wanted;
mod way;

use std::fs::File;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerok_protocol::Hash;

pub(crate) use fetch::FetchError;
pub(crate) use ingest::IngestError;
pub(crate) use rows::collect;

use crate::context::Context;
use crate::group::Groups;
use crate::link::ChunkWant;
use crate::store::log::GroupRow;
use crate::store::{Store, StoreError};
use early::Early;
use stream::Streams;
use wanted::Wanted;
use way::{LinkWay, Way};

/// Fetches that run at once; each holds at most its window.
const FETCHES: usize = 16;
/// Bytes of chunks between a file and the relay's answer, in KiB: uploads.
const UPLOAD_WINDOW_KIB: usize = 8 << 10;
/// Notices of changed files that may wait; one that is dropped is found by the next scan.
const GONE: usize = 256;

/// Opens files by what they hold. Implemented by the folders' indexes.
pub(crate) trait Sources: Send + Sync {
    /// A file of this group that held these contents when the index last looked; blocking. It may have changed since.
    fn open(&self, grp: GroupRow, hash: &Hash, size: u64) -> Option<File>;
}

/// A file changed between its record and its upload: its paths are to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    /// In which group.
    pub grp: GroupRow,
    /// The contents it had.
    pub hash: Hash,
    /// Their root.
    pub root: Hash,
}

/// Handle to the content engine; cheap to clone.
#[derive(Clone)]
pub(crate) struct Content {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    groups: Groups,
    streams: Arc<Streams>,
    early: Early,
    sources: OnceLock<Arc<dyn Sources>>,
    wanted: Wanted,
    fetches: Semaphore,
    uploads: Arc<Semaphore>,
    wake: Notify,
    gone: mpsc::Sender<Gone>,
    changed: Mutex<Option<mpsc::Receiver<Gone>>>,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Content {
    /// Starts the engine over the daemon's links. `wants` brings what other members ask for.
    pub(crate) fn start(context: Context, wants: mpsc::Receiver<ChunkWant>) -> Result<Self, StoreError> {
        let Context { store, groups, links, tracker, cancel, .. } = context;
        let way = Arc::new(LinkWay::new(links, tracker.clone()));
        Ok(Self::over(way, store, groups, wants, tracker, cancel))
    }

    fn over(
        way: Arc<dyn Way>,
        store: Store,
        groups: Groups,
        wants: mpsc::Receiver<ChunkWant>,
        tracker: TaskTracker,
        cancel: CancellationToken,
    ) -> Self {
        let (gone, changed) = mpsc::channel(GONE);
        let streams = Arc::new(Streams::new(way.clone(), tracker.clone(), cancel.clone()));
        let inner = Inner {
            store,
            groups,
            early: Early::start(streams.clone(), &tracker, cancel.clone()),
            streams,
            sources: OnceLock::new(),
            wanted: Wanted::start(way, &tracker, cancel.clone()),
            fetches: Semaphore::new(FETCHES),
            uploads: Arc::new(Semaphore::new(UPLOAD_WINDOW_KIB)),
            wake: Notify::new(),
            gone,
            changed: Mutex::new(Some(changed)),
            tracker: tracker.clone(),
            cancel,
        };
        let content = Self { inner: Arc::new(inner) };
        tracker.spawn(upload::run(content.clone()));
        tracker.spawn(serve::run(content.clone(), wants));
        content
    }

    /// Where files that changed before their upload are told; `None` when it was taken already.
    pub(crate) fn gone(&self) -> Option<mpsc::Receiver<Gone>> {
        self.inner.changed.lock().expect("nobody panics while holding it").take()
    }

    /// Says where files are found. Until then nothing is uploaded or served.
    pub(crate) fn set_sources(&self, sources: Arc<dyn Sources>) {
        drop(self.inner.sources.set(sources));
        self.wake();
    }

    /// Rows of contents to upload were committed.
    pub(crate) fn wake(&self) {
        self.inner.wake.notify_one();
    }

    fn sources(&self) -> Option<&Arc<dyn Sources>> {
        self.inner.sources.get()
    }
}

#[cfg(test)]
mod tests;
