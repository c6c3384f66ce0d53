//! The daemon's database: `state.db`, one writer thread that commits what is waiting as a group, and a small pool of
//! read-only connections.
//!
//! A job is a closure over the connection. It runs in a savepoint of its own inside the group's transaction, so that
//! its failure does not undo its neighbours, and its caller is told only after COMMIT. A caller that goes away does
//! not cancel its job. What the jobs of a group changed (entries released, bundles cut) is announced after the
//! commit, never before; a kill at any point leaves either the whole group or nothing of it.

pub(crate) mod consumers;
pub(crate) mod effects;
pub(crate) mod groups;
pub(crate) mod invites;
pub(crate) mod log;
pub(crate) mod meta;
pub(crate) mod relays;
mod schema;
mod writer;

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use effects::Outgoing;
use effects::Signals;
use writer::Job;

/// Why the database could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's own error.
    #[error("database: {0}")]
    Sql(#[from] rusqlite::Error),
    /// Its file cannot be made.
    #[error("database: {0}")]
    File(#[source] std::io::Error),
    /// The group's transaction could not be committed.
    #[error("database: commit failed: {0}")]
    Commit(String),
    /// Migration to this version's tables failed.
    #[error("database: {0}")]
    Migration(#[from] rusqlite_migration::Error),
    /// The daemon is stopping.
    #[error("database: closed")]
    Closed,
    /// What was read is not what this program wrote.
    #[error("database: {0} is damaged")]
    Damaged(&'static str),
}

impl StoreError {
    /// Is it that the disk is full?
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Sql(e) => e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Commit(text) => text.contains("disk is full"),
            _ => false,
        }
    }
}

/// Most jobs in one transaction.
const GROUP: usize = 256;
/// Jobs that may wait; beyond it callers wait to hand theirs over.
const QUEUE: usize = 1024;
/// Read-only connections that are kept.
const READERS: usize = 4;

/// Handle to the database; cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: mpsc::Sender<Job>,
    path: std::path::PathBuf,
    readers: Mutex<Vec<Connection>>,
    signals: Arc<Signals>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Store {
    /// Opens or creates the database and starts its writer thread. `before_commit` runs at the end of each group of
    /// jobs, inside its transaction.
    ///
    /// # Errors
    /// The file cannot be opened, is damaged, or was written by a newer version.
    pub(crate) fn open(path: &Path, before_commit: writer::BeforeCommit) -> Result<Self, StoreError> {
        make_private(path).map_err(StoreError::File)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(256);
        schema::migrate(&mut connection)?;
        let signals = Arc::new(Signals::default());
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let writer = writer::spawn(connection, waiting, signals.clone(), before_commit)
            .map_err(|e| StoreError::Commit(e.to_string()))?;
        let inner = Inner {
            jobs,
            path: path.to_owned(),
            readers: Mutex::new(Vec::new()),
            signals,
            writer: Mutex::new(Some(writer)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `f` on the writer thread; returns after the commit.
    ///
    /// # Errors
    /// What `f` returns, in which case nothing of it is stored; or the commit's failure.
    pub(crate) async fn write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let job = writer::job(f, move |outcome| drop(answer.send(outcome)));
        self.inner.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        result.await.unwrap_or(Err(StoreError::Closed.into()))
    }

    /// As [`Store::write`], for a thread that may block.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub(crate) fn write_blocking<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, result) = std::sync::mpsc::sync_channel(1);
        let job = writer::job(f, move |outcome| drop(answer.send(outcome)));
        self.inner.jobs.blocking_send(job).map_err(|_| StoreError::Closed)?;
        result.recv().unwrap_or(Err(StoreError::Closed.into()))
    }

    /// Runs `f` on a read-only connection, on a blocking thread.
    ///
    /// # Errors
    /// What `f` returns.
    pub(crate) async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.read_blocking(f))
            .await
            .unwrap_or(Err(StoreError::Closed.into()))
    }

    /// As [`Store::read`], for a thread that may block, and for short reads (one page, microseconds).
    ///
    /// # Errors
    /// What `f` returns.
    pub(crate) fn read_blocking<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E>,
        E: From<StoreError>,
    {
        let kept = self.inner.readers.lock().expect("no reader panics while holding the pool").pop();
        let connection = match kept {
            Some(connection) => connection,
            None => open_reader(&self.inner.path)?,
        };
        let result = f(&connection);
        let mut readers = self.inner.readers.lock().expect("no reader panics while holding the pool");
        if readers.len() < READERS {
            readers.push(connection);
        }
        result
    }

    /// Ticks after each commit that put entries into a merged log.
    #[must_use]
    pub(crate) fn released(&self) -> watch::Receiver<u64> {
        self.inner.signals.released.subscribe()
    }

    /// Ticks after each commit that put entries into a merged log of the daemon's own `$…` channels.
    pub(crate) fn released_ours(&self) -> watch::Receiver<u64> {
        self.inner.signals.released_ours.subscribe()
    }

    /// Ticks after each commit that made something to send: own entries, bundles or statements.
    pub(crate) fn outgoing(&self) -> watch::Receiver<u64> {
        self.inner.signals.outgoing.subscribe()
    }

    /// Ticks after each commit that changed the list of relays.
    pub(crate) fn relays(&self) -> watch::Receiver<u64> {
        self.inner.signals.relays.subscribe()
    }

    /// Own bundles that were cut lately, still in memory.
    pub(crate) fn recent(&self) -> &Outgoing {
        &self.inner.signals.recent
    }

    /// Finishes what is queued and closes the database.
    pub(crate) async fn close(&self) {
        let writer = self.inner.writer.lock().expect("nobody panics while holding it").take();
        if let Some(writer) = writer {
            let stop = self.inner.jobs.send(Job::Stop).await;
            if stop.is_ok() {
                drop(tokio::task::spawn_blocking(move || writer.join()).await);
            }
        }
    }
}

/// Makes the file if need be, for its owner alone: it holds the groups' secrets. SQLite gives the write-ahead log and the
/// shared memory beside it the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[cfg(test)]
mod tests;
