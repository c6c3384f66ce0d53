//! The writer's thread: what waits becomes one transaction, and everybody in it is answered after it.

use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Answered, Command, SharedTotals, Work};
use crate::free_disk::FreeDisk;
use crate::metrics::Metrics;
use crate::store::books::Books;
use crate::store::sqlite::PendingAcks;
use crate::store::state::State;
use crate::store::wal::{self, Wal};
use crate::store::{NewBlob, PushDone, Pushed, Quotas, Sink, StoreError, Stored, blobs, retention};

/// Jobs in one transaction at most, and bytes of blobs in it.
const MAX_JOBS: usize = 512;
const MAX_BYTES: usize = 8 << 20;

/// What the thread owns.
pub(super) struct Thread {
    pub(super) connection: Connection,
    pub(super) books: Books,
    pub(super) quotas: watch::Receiver<Quotas>,
    pub(super) free_disk: Arc<FreeDisk>,
    /// The disk was found full, and that was said.
    pub(super) full: bool,
    pub(super) acks: PendingAcks,
    pub(super) cursor_floor: u64,
    pub(super) state: State,
    pub(super) wal: Wal,
    pub(super) sink: Sink,
}

/// What became of the commands of one transaction.
#[derive(Default)]
struct Done {
    stored: Vec<Stored>,
    pushes: Vec<(PushDone, Result<Pushed, StoreError>)>,
    jobs: Vec<Answered>,
    checkpoint: Option<oneshot::Sender<()>>,
    closing: Option<oneshot::Sender<()>>,
}

impl Thread {
    /// Runs until it is closed, or nobody is there to ask any more.
    pub(super) fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Command>,
        totals: &SharedTotals,
        metrics: &Metrics,
    ) {
        while let Some(first) = inbox.blocking_recv() {
            let group = gather(first, &mut inbox);
            let started = Instant::now();
            let (outcome, done) = self.commit(group);
            totals.set(self.books.totals);
            metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
            for (answer, result) in done.pushes {
                answer(outcome.clone().and(result));
            }
            for answer in done.jobs {
                answer(outcome.clone());
            }
            if let Some(closed) = done.closing {
                close(self.connection);
                let _ = closed.send(());
                return;
            }
            if let Some(checked) = done.checkpoint {
                // The next time will do, if a reader is in the way.
                wal::truncate(&self.connection);
                let _ = checked.send(());
            }
            self.wal.keep_bounded(&self.connection);
        }
    }

    /// Runs a group as one transaction. If that is lost, nothing of it happened.
    fn commit(&mut self, group: Vec<Command>) -> (Result<(), StoreError>, Done) {
        let mut done = Done::default();
        let bytes: usize = group.iter().map(weight).sum();
        let disk_short = !self.free_disk.take(u64::try_from(bytes).unwrap_or(u64::MAX));
        let mut commands = group.into_iter();
        let outcome = self.transact(&mut commands, disk_short, &mut done);
        let outcome = self.state.seen(outcome);
        let no_room = |result: &Result<Pushed, _>| matches!(result, Err(StoreError::DiskFull));
        let full = outcome == Err(StoreError::DiskFull) || done.pushes.iter().any(|(_, r)| no_room(r));
        self.tell_full(full, !done.stored.is_empty());
        match &outcome {
            Ok(()) if done.stored.is_empty() => {}
            Ok(()) => (self.sink)(std::mem::take(&mut done.stored)),
            Err(e) => {
                if !matches!(e, StoreError::DiskFull | StoreError::Damaged) {
                    tracing::error!(error = %e, "a transaction was lost; nothing of it was acknowledged");
                }
                done.refuse(commands, e);
                if let Err(e) = self.state.seen(self.books.recount(&self.connection)) {
                    tracing::error!(error = %e, "cannot count what is stored");
                }
            }
        }
        (outcome, done)
    }

    fn transact(
        &mut self,
        commands: &mut impl Iterator<Item = Command>,
        disk_short: bool,
        done: &mut Done,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut work = Work {
            connection: &transaction,
            books: &mut self.books,
            quotas: *self.quotas.borrow(),
            disk_short,
            acks: &self.acks,
            cursor_floor: self.cursor_floor,
            lost: None,
        };
        for command in commands {
            done.take(&mut work, command);
            if let Some(e) = work.lost {
                return Err(e);
            }
        }
        work.books.write(&transaction)?;
        Ok(transaction.commit()?)
    }

    /// Says once that the disk is full, and once that it no longer is.
    fn tell_full(&mut self, full: bool, stored: bool) {
        if full && !self.full {
            self.full = true;
            tracing::warn!(
                "the disk is full, or its reserve is reached: nothing new is stored until there is room"
            );
        } else if self.full && stored && !full {
            self.full = false;
            tracing::info!("there is room on the disk again");
        }
    }
}

impl Done {
    fn take(&mut self, work: &mut Work<'_>, command: Command) {
        match command {
            Command::Push(blob, answer) => {
                let result = push(work, &blob);
                if let Ok((pushed, true)) = result {
                    self.stored.push(Stored::new(blob, pushed));
                }
                self.pushes.push((answer, result.map(|(pushed, _)| pushed)));
            }
            Command::Run(job) => self.jobs.push(job(Ok(work))),
            Command::Checkpoint(done) => self.checkpoint = Some(done),
            Command::Close(closed) => {
                let written = work.books.write(work.connection);
                let flushed = written.and_then(|()| savepoint(work, retention::flush_acks));
                work.books.forget();
                self.jobs.push(Box::new(move |committed| {
                    if let Err(e) = committed.and(flushed.map(|_| ())) {
                        tracing::warn!(error = %e, "acknowledgements not stored at the end");
                    }
                }));
                self.closing = Some(closed);
            }
        }
    }

    /// What there was no transaction for is answered all the same.
    fn refuse(&mut self, commands: impl Iterator<Item = Command>, e: &StoreError) {
        for command in commands {
            match command {
                Command::Push(_, answer) => self.pushes.push((answer, Err(e.clone()))),
                Command::Run(job) => self.jobs.push(job(Err(e.clone()))),
                Command::Checkpoint(done) => self.checkpoint = Some(done),
                Command::Close(closed) => self.closing = Some(closed),
            }
        }
    }
}

fn close(connection: Connection) {
    let optimized = connection.execute_batch("PRAGMA optimize");
    if optimized.is_err() || !wal::truncate(&connection) {
        tracing::warn!("final checkpoint failed; the next start repeats it");
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

/// A push that finds no room is tried again when what may go has gone.
fn push(work: &mut Work<'_>, blob: &NewBlob) -> Result<(Pushed, bool), StoreError> {
    match store(work, blob) {
        Err(StoreError::Quota) if work.books.is_vain(&blob.group) => Err(StoreError::Quota),
        Err(StoreError::Quota) => {
            work.books.write(work.connection)?;
            let size = u64::try_from(blob.payload.len()).unwrap_or(u64::MAX);
            let room = savepoint(work, |work| retention::make_room(work, &blob.group, size));
            work.books.forget();
            room?;
            let again = store(work, blob);
            if let Err(StoreError::Quota) = again {
                work.books.note_vain(blob.group);
            }
            again
        }
        other => other,
    }
}

/// Stores a blob without a savepoint, which would take a third of the time: its one insert undoes itself if it fails.
fn store(work: &mut Work<'_>, blob: &NewBlob) -> Result<(Pushed, bool), StoreError> {
    let result = blobs::push(work, blob);
    if let Err(e) = &result
        && work.connection.is_autocommit()
    {
        work.lost = Some(e.clone());
    }
    result
}

/// Runs `f` so that its failure undoes only its own changes; unless SQLite gives up the whole transaction, as it may
/// when the disk is full: then nothing more is done in it.
pub(super) fn savepoint<T>(
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
        Err(e) if c.is_autocommit() => {
            work.lost = Some(e.clone());
            Err(e)
        }
        Err(e) => {
            c.prepare_cached("ROLLBACK TO job")?.execute([])?;
            c.prepare_cached("RELEASE job")?.execute([])?;
            work.books.totals = totals;
            Err(e)
        }
    }
}
