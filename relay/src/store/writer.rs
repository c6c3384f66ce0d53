//! The one thread that writes. What waits is committed as a group; each job has its own savepoint, so that one that
//! fails does not undo its neighbours; nobody is answered before the commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::books::Books;
use super::sqlite::PendingAcks;
use super::{Answer, NewBlob, PushDone, Pushed, Quotas, Sink, StoreError, Stored, Totals, blobs, retention};
use crate::clock;
use crate::metrics::Metrics;

/// Jobs in one transaction at most, and bytes of blobs in it.
const MAX_JOBS: usize = 512;
const MAX_BYTES: usize = 8 << 20;
/// How long an acknowledgement may wait for its commit: long enough that they never compete with pushes.
const ACK_DELAY: Duration = Duration::from_millis(250);

/// What a job works with.
pub(super) struct Work<'a> {
    pub(super) connection: &'a Transaction<'a>,
    pub(super) books: &'a mut Books,
    pub(super) quotas: Quotas,
    pub(super) acks: &'a PendingAcks,
    /// No cursor below this one is assigned: the wall clock at the start, in microseconds, so that a restored database
    /// never repeats one.
    pub(super) cursor_floor: u64,
}

type Answered = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn FnOnce(&mut Work<'_>) -> (bool, Answered) + Send>;

enum Command {
    Push(NewBlob, PushDone),
    Run(Job),
    Close(oneshot::Sender<()>),
}

/// A handle on the writer.
#[derive(Clone)]
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    // Unbounded, because a push must not wait here: sessions bound what they have under way by bytes.
    commands: mpsc::UnboundedSender<Command>,
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
    mut connection: Connection,
    quotas: Quotas,
    metrics: Arc<Metrics>,
    acks: PendingAcks,
    sink: Sink,
) -> Result<Writer, super::OpenError> {
    let mut books = Books::open(&connection).map_err(|_| rusqlite::Error::InvalidQuery)?;
    let (commands, mut inbox) = mpsc::unbounded_channel();
    let totals = Arc::new(SharedTotals::default());
    totals.set(books.totals);
    let shared = Shared { commands, ack_task: AtomicBool::new(false), totals: totals.clone() };
    let cursor_floor = clock::unix_micros();
    std::thread::Builder::new().name("relay-db".into()).spawn(move || {
        while let Some(first) = inbox.blocking_recv() {
            let group = gather(first, &mut inbox);
            let started = Instant::now();
            let (answers, closing) =
                run_group(&mut connection, &mut books, quotas, &acks, cursor_floor, group, &sink);
            totals.set(books.totals);
            metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
            for answer in answers {
                answer();
            }
            if let Some(done) = closing {
                close(connection);
                let _ = done.send(());
                return;
            }
        }
    })?;
    Ok(Writer(Arc::new(shared)))
}

fn close(connection: Connection) {
    if let Err(e) = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);") {
        tracing::warn!(error = %e, "final checkpoint failed; the next start repeats it");
    }
    drop(connection);
}

fn gather(first: Command, inbox: &mut mpsc::UnboundedReceiver<Command>) -> Vec<Command> {
    let mut bytes = weight(&first);
    let mut group = vec![first];
    while group.len() < MAX_JOBS && bytes < MAX_BYTES && !matches!(group.last(), Some(Command::Close(_))) {
        let Ok(next) = inbox.try_recv() else { break };
        bytes += weight(&next);
        group.push(next);
    }
    group
}

fn weight(command: &Command) -> usize {
    match command {
        Command::Push(blob, _) => blob.payload.len(),
        _ => 0,
    }
}

type Answers = Vec<Box<dyn FnOnce() + Send>>;

fn run_group(
    connection: &mut Connection,
    books: &mut Books,
    quotas: Quotas,
    acks: &PendingAcks,
    cursor_floor: u64,
    group: Vec<Command>,
    sink: &Sink,
) -> (Answers, Option<oneshot::Sender<()>>) {
    let mut stored = Vec::new();
    let mut pushes: Vec<(PushDone, Result<Pushed, StoreError>)> = Vec::new();
    let mut jobs: Vec<Answered> = Vec::new();
    let mut closing = None;
    let outcome = (|| -> Result<(), StoreError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut work = Work { connection: &transaction, books: &mut *books, quotas, acks, cursor_floor };
        for command in group {
            match command {
                Command::Push(blob, done) => {
                    let result = push(&mut work, &blob);
                    if let Ok((pushed, true)) = result {
                        stored.push(Stored::new(blob, pushed));
                    }
                    pushes.push((done, result.map(|(pushed, _)| pushed)));
                }
                Command::Run(job) => jobs.push(run_job(&mut work, job)),
                Command::Close(done) => {
                    let flushed = savepoint(&mut work, retention::flush_acks);
                    jobs.push(Box::new(move |_| {
                        if let Err(e) = flushed {
                            tracing::warn!(error = %e, "acknowledgements not stored at the end");
                        }
                    }));
                    closing = Some(done);
                }
            }
        }
        work.books.write(&transaction)?;
        Ok(transaction.commit()?)
    })();
    let mut answers: Answers = Vec::with_capacity(pushes.len() + jobs.len());
    match &outcome {
        Ok(()) if !stored.is_empty() => sink(stored),
        Ok(()) => {}
        Err(e) => {
            tracing::error!(error = %e, "a transaction was lost; nothing of it was acknowledged");
            if let Err(e) = books.recount(connection) {
                tracing::error!(error = %e, "cannot count what is stored");
            }
        }
    }
    for (done, result) in pushes {
        let outcome = outcome.clone();
        answers.push(Box::new(move || done(outcome.and(result))));
    }
    for job in jobs {
        let outcome = outcome.clone();
        answers.push(Box::new(move || job(outcome)));
    }
    (answers, closing)
}

/// A push that finds no room is tried again when what may go has gone.
fn push(work: &mut Work<'_>, blob: &NewBlob) -> Result<(Pushed, bool), StoreError> {
    match savepoint(work, |work| blobs::push(work, blob)) {
        Err(StoreError::Quota) => {
            work.books.write(work.connection)?;
            let size = u64::try_from(blob.payload.len()).unwrap_or(u64::MAX);
            let room = savepoint(work, |work| retention::make_room(work, &blob.group, size));
            work.books.forget();
            room?;
            savepoint(work, |work| blobs::push(work, blob))
        }
        other => other,
    }
}

/// Runs a job that works on the rows directly: what the books hold is written before, and read again after.
fn run_job(work: &mut Work<'_>, job: Job) -> Answered {
    let (changed, answered) = job(work);
    if changed {
        work.books.forget();
    }
    answered
}

/// Runs `f` so that its failure undoes only its own changes.
fn savepoint<T>(
    work: &mut Work<'_>,
    f: impl FnOnce(&mut Work<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let c = work.connection;
    let totals = work.books.totals;
    c.prepare_cached("SAVEPOINT job")?.execute([])?;
    match f(work) {
        Ok(value) => {
            c.prepare_cached("RELEASE job")?.execute([])?;
            Ok(value)
        }
        Err(e) => {
            c.prepare_cached("ROLLBACK TO job")?.execute([])?;
            c.prepare_cached("RELEASE job")?.execute([])?;
            work.books.totals = totals;
            Err(e)
        }
    }
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
            let result = work.books.write(work.connection).and_then(|()| savepoint(work, f));
            let answered: Answered = Box::new(move |committed| {
                let _ = sender.send(committed.and(result));
            });
            (true, answered)
        })));
        Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Closed)) })
    }

    /// Sees to it that pending acknowledgements are written soon.
    pub(super) fn acks_waiting(&self) {
        if self.0.ack_task.swap(true, Ordering::AcqRel) {
            return;
        }
        let writer = self.clone();
        // Ends by itself within moments; the writer's close flushes what it would have flushed.
        tokio::spawn(async move {
            tokio::time::sleep(ACK_DELAY).await;
            writer.0.ack_task.store(false, Ordering::Release);
            while let Ok(true) = writer.run(retention::flush_acks).await {}
        });
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
