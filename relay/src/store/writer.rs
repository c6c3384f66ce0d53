//! The one thread that writes. What waits is committed as a group; each job has its own savepoint, so that one that
//! fails does not undo its neighbours; nobody is answered before the commit.

mod group;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction};
use tokio::sync::{mpsc, oneshot, watch};

use self::group::{Thread, savepoint};
use super::books::Books;
use super::sqlite::PendingAcks;
use super::state::State;
use super::wal::Wal;
use super::{Answer, NewBlob, PushDone, Quotas, Sink, StoreError, Totals, retention};
use crate::clock;
use crate::free_disk::FreeDisk;
use crate::metrics::Metrics;

/// How long an acknowledgement may wait for its commit: long enough that they never compete with pushes.
const ACK_DELAY: Duration = Duration::from_millis(250);
/// How long it waits when it could not be stored.
const ACK_RETRY: Duration = Duration::from_secs(5);

/// What a job works with.
pub(super) struct Work<'a> {
    pub(super) connection: &'a Transaction<'a>,
    pub(super) books: &'a mut Books,
    pub(super) quotas: Quotas,
    /// Less of the disk is free than there should be: nothing new is stored.
    pub(super) disk_short: bool,
    pub(super) acks: &'a PendingAcks,
    /// No cursor below this one is assigned: the wall clock at the start, in microseconds, so that a restored database
    /// never repeats one.
    pub(super) cursor_floor: u64,
    /// Why SQLite gave up the whole transaction, if it did.
    lost: Option<StoreError>,
}

/// What is to be said once it is known whether the transaction was committed.
type Answered = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// What is to be done in a transaction, or the reason why there is none.
type Job = Box<dyn FnOnce(Result<&mut Work<'_>, StoreError>) -> Answered + Send>;

enum Command {
    Push(NewBlob, PushDone),
    Run(Job),
    /// After the transaction, for the log to begin anew.
    Checkpoint(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// A handle on the writer.
#[derive(Clone)]
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    // Unbounded, because a push must not wait here: sessions bound what they have under way by bytes.
    commands: mpsc::UnboundedSender<Command>,
    acks: PendingAcks,
    ack_task: AtomicBool,
    totals: Arc<SharedTotals>,
}

#[derive(Default)]
struct SharedTotals {
    groups: AtomicU64,
    blobs: AtomicU64,
    bytes: AtomicU64,
}

pub(super) fn start(
    connection: Connection,
    quotas: watch::Receiver<Quotas>,
    free_disk: Arc<FreeDisk>,
    metrics: Arc<Metrics>,
    acks: PendingAcks,
    state: State,
    sink: Sink,
) -> Result<Writer, super::OpenError> {
    let books = Books::open(&connection).map_err(|_| rusqlite::Error::InvalidQuery)?;
    let (commands, inbox) = mpsc::unbounded_channel();
    let totals = Arc::new(SharedTotals::default());
    totals.set(books.totals);
    let shared =
        Shared { commands, acks: acks.clone(), ack_task: AtomicBool::new(false), totals: totals.clone() };
    let wal = Wal::of(&connection);
    let cursor_floor = clock::unix_micros();
    let thread =
        Thread { connection, books, quotas, free_disk, full: false, acks, cursor_floor, state, wal, sink };
    std::thread::Builder::new()
        .name("relay-db".into())
        .spawn(move || thread.run(inbox, &totals, &metrics))?;
    Ok(Writer(Arc::new(shared)))
}

impl Writer {
    fn send(&self, command: Command) {
        // A refused job is dropped, which its caller sees; a push is told.
        if let Err(mpsc::error::SendError(Command::Push(_, done))) = self.0.commands.send(command) {
            done(Err(StoreError::Closed));
        }
    }

    pub(super) fn push(&self, blob: NewBlob, done: PushDone) {
        self.send(Command::Push(blob, done));
    }

    /// Runs `f` in the next transaction, in a savepoint of its own.
    pub(super) fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Work<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (sender, answer) = oneshot::channel();
        self.send(Command::Run(Box::new(move |work| {
            // It works on the rows directly: what the books hold is written before, and read again after.
            let result = work.and_then(|work| {
                let result = work.books.write(work.connection).and_then(|()| savepoint(work, f));
                work.books.forget();
                result
            });
            Box::new(move |committed| {
                let _ = sender.send(committed.and(result));
            })
        })));
        Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Closed)) })
    }

    /// Answers when the next transaction was committed, which has nothing to write for this. A full disk is no failure.
    pub(super) fn probe(&self) -> Answer<()> {
        let (sender, answer) = oneshot::channel();
        self.send(Command::Run(Box::new(move |work| {
            let begun = work.map(|_| ());
            Box::new(move |committed| {
                let _ = sender.send(committed.and(begun));
            })
        })));
        Box::pin(async move {
            match answer.await.unwrap_or(Err(StoreError::Closed)) {
                Err(StoreError::DiskFull) => Ok(()),
                answer => answer,
            }
        })
    }

    /// Sees to it that pending acknowledgements are written soon.
    pub(super) fn acks_waiting(&self) {
        if self.0.ack_task.swap(true, Ordering::AcqRel) {
            return;
        }
        let writer = self.clone();
        // Ends by itself within moments, unless nothing can be stored; the writer's close flushes what it would have.
        tokio::spawn(async move {
            let mut wait = ACK_DELAY;
            loop {
                tokio::time::sleep(wait).await;
                writer.0.ack_task.store(false, Ordering::Release);
                match writer.flush_acks().await {
                    Ok(()) | Err(StoreError::Closed) => return,
                    Err(e) => tracing::debug!(error = %e, "acknowledgements wait"),
                }
                // Somebody else may have begun to.
                if writer.0.ack_task.swap(true, Ordering::AcqRel) {
                    return;
                }
                wait = ACK_RETRY;
            }
        });
    }

    /// Writes pending acknowledgements, and forgets those that were committed.
    pub(super) async fn flush_acks(&self) -> Result<(), StoreError> {
        loop {
            let flushed = self.run(retention::flush_acks).await?;
            if flushed.all {
                let mut pending = self.0.acks.lock().unwrap_or_else(PoisonError::into_inner);
                for (key, cursor) in flushed.acks {
                    if pending.get(&key) == Some(&cursor) {
                        pending.remove(&key);
                    }
                }
                return Ok(());
            }
        }
    }

    /// Copies the log into the database and empties it, if no reader is in the way.
    pub(super) async fn checkpoint(&self) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Checkpoint(done));
        answer.await.map_err(|_| StoreError::Closed)
    }

    pub(super) fn totals(&self) -> Totals {
        self.0.totals.get()
    }

    pub(super) fn close(&self, done: oneshot::Sender<()>) {
        self.send(Command::Close(done));
    }
}

impl SharedTotals {
    fn set(&self, totals: Totals) {
        self.groups.store(totals.groups, Ordering::Relaxed);
        self.blobs.store(totals.blobs, Ordering::Relaxed);
        self.bytes.store(totals.bytes, Ordering::Relaxed);
    }

    fn get(&self) -> Totals {
        Totals {
            groups: self.groups.load(Ordering::Relaxed),
            blobs: self.blobs.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
