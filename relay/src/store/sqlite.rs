//! SQLite behind the [`Storage`] trait: one writer thread that commits in groups, a few readers.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{oneshot, watch};
use zerok_protocol::roster::Append;
use zerok_protocol::{DeviceId, GroupId};

use super::readers::Readers;
use super::state::State;
use super::writer::{self, Writer};
use super::{
    Answer, GroupRecord, MemberRecord, NewBlob, NewStatements, Page, PageLimit, PushDone, Quotas, Sink,
    Storage, StoreError, Totals, blobs, retention, roster, schema, vacuum, wal,
};
use crate::config::Percent;
use crate::free_disk::FreeDisk;
use crate::metrics::Metrics;

/// Acknowledgements that are not in the database yet. They cost no commit: a crash forgets a moment of them, and the
/// devices say them again.
pub(super) type PendingAcks = Arc<Mutex<HashMap<(GroupId, DeviceId), u64>>>;

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite refuses.
    #[error("{}", with_next_step(.0))]
    Database(rusqlite::Error),
    /// Its file cannot be made.
    #[error("relay.db")]
    File(#[source] std::io::Error),
    /// A newer zerok-relay made it.
    #[error(
        "relay.db is of a newer version ({found}; this zerok-relay knows {known}): upgrade it, or restore a backup from before"
    )]
    Newer {
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: usize,
    },
    /// Bringing it up to this version fails.
    #[error("relay.db cannot be brought up to date: {0}")]
    Migration(rusqlite_migration::Error),
    /// The writer's thread cannot be started.
    #[error("database thread")]
    Thread(#[from] std::io::Error),
}

pub(crate) struct Sqlite {
    writer: Writer,
    readers: Readers,
    acks: PendingAcks,
    state: State,
    free_disk: Arc<FreeDisk>,
    metrics: Arc<Metrics>,
}

/// What is configured of it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// May change while it runs.
    pub(crate) quotas: watch::Receiver<Quotas>,
    /// How much of the file system is left free.
    pub(crate) reserve: Percent,
    /// Free room is given back to the file system.
    pub(crate) vacuum: bool,
}

/// How long a lock is waited for.
pub(super) const BUSY: Duration = Duration::from_secs(5);

impl Sqlite {
    pub(crate) fn open(
        path: &Path,
        options: Options,
        metrics: Arc<Metrics>,
        sink: Sink,
    ) -> Result<Self, OpenError> {
        // For the owner alone, as what SQLite makes beside it then is.
        let private = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        private.map_err(OpenError::File)?;
        let mut connection = connect(path)?;
        let found = connection.pragma_query_value(None, "user_version", |r| r.get::<_, i64>(0))?;
        if found > i64::try_from(schema::latest()).unwrap_or(i64::MAX) {
            return Err(OpenError::Newer { found, known: schema::latest() });
        }
        schema::migrations().to_latest(&mut connection).map_err(OpenError::Migration)?;
        if options.vacuum {
            vacuum::convert(&connection)?;
        }
        let (acks, state) = (PendingAcks::default(), State::default());
        let free_disk = Arc::new(FreeDisk::new(path, options.reserve));
        let quotas = options.quotas;
        let writer = writer::start(
            connection,
            quotas,
            free_disk.clone(),
            metrics.clone(),
            acks.clone(),
            state.clone(),
            sink,
        )?;
        let readers = Readers::new(path.to_owned(), state.clone());
        Ok(Self { writer, readers, acks, state, free_disk, metrics })
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    vacuum::prepare(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    wal::configure(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // 64 MiB of pages: the indexes of a busy relay stay in memory.
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

// Not by `#[from]`: SQLite's errors name themselves as their own cause, and would be said twice.
impl From<rusqlite::Error> for OpenError {
    fn from(e: rusqlite::Error) -> Self {
        OpenError::Database(e)
    }
}

/// Why, and what the operator can do where that is known.
fn with_next_step(e: &rusqlite::Error) -> String {
    let step = match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            ": restore a backup (`zerok-relay restore FILE`), or move relay.db away: devices fill a new one"
        }
        _ => "",
    };
    format!("relay.db: {e}{step}")
}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        match e.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::DiskFull,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged,
            _ => StoreError::Database(e.to_string().into()),
        }
    }
}

impl Storage for Sqlite {
    fn group(&self, group: GroupId) -> Answer<Option<GroupRecord>> {
        self.readers.run(move |c| roster::load(c, &group))
    }

    fn append(&self, new: NewStatements) -> Answer<()> {
        self.writer.run(move |work| roster::append(work, &new))
    }

    fn statements(&self, group: GroupId, from: u64, bytes: usize) -> Answer<Vec<Append>> {
        self.readers.run(move |c| roster::statements(c, &group, from, bytes))
    }

    fn member(&self, group: GroupId, device: DeviceId) -> Answer<MemberRecord> {
        let acks = self.acks.clone();
        self.readers.run(move |c| {
            let mut record = roster::member(c, &group, &device)?;
            let pending = acks.lock().unwrap_or_else(PoisonError::into_inner).get(&(group, device)).copied();
            record.acked = record.acked.max(pending);
            Ok(record)
        })
    }

    fn push(&self, blob: NewBlob, done: PushDone) {
        self.writer.push(blob, done);
    }

    fn page(&self, group: GroupId, device: DeviceId, after: u64, limit: PageLimit) -> Answer<Page> {
        let read = self.readers.run(move |c| blobs::page(c, &group, &device, after, limit));
        let (writer, metrics) = (self.writer.clone(), self.metrics.clone());
        Box::pin(async move {
            let (page, damaged) = read.await?;
            if !damaged.is_empty() {
                match writer.run(move |work| retention::remove_damaged(work, &damaged)).await {
                    Ok(0) => {}
                    Ok(blobs) => {
                        metrics.damaged("blob", blobs);
                        tracing::warn!(blobs, "damaged blobs are dropped; devices have them");
                    }
                    Err(e) => tracing::warn!(error = %e, "damaged blobs cannot be dropped"),
                }
            }
            Ok(page)
        })
    }

    fn acknowledge(&self, group: GroupId, device: DeviceId, cursor: u64) {
        let mut acks = self.acks.lock().unwrap_or_else(PoisonError::into_inner);
        let acked = acks.entry((group, device)).or_default();
        *acked = cursor.max(*acked);
        drop(acks);
        self.writer.acks_waiting();
    }

    fn expire(&self) -> Answer<u64> {
        let writer = self.writer.clone();
        Box::pin(async move {
            let mut total = 0;
            loop {
                let (gone, all) = writer.run(retention::expire).await?;
                total += gone;
                if all {
                    return Ok(total);
                }
            }
        })
    }

    fn give_back(&self) -> Answer<u64> {
        let writer = self.writer.clone();
        Box::pin(async move {
            let mut total = 0;
            loop {
                let given = writer.run(vacuum::slice).await?;
                if given == 0 {
                    // Only with the next checkpoint the file becomes shorter.
                    writer.checkpoint().await?;
                    return Ok(total);
                }
                total += given;
            }
        })
    }

    fn probe(&self) -> Answer<()> {
        if self.state.is_damaged() {
            return Box::pin(async { Err(StoreError::Damaged) });
        }
        let read = "SELECT count(*) FROM groups WHERE no = 0";
        let reads = self.readers.run(move |c| Ok(c.query_row(read, [], |_| Ok(()))?));
        let writes = self.writer.probe();
        Box::pin(async move {
            reads.await?;
            writes.await
        })
    }

    fn disk_short(&self) -> bool {
        self.free_disk.is_short()
    }

    fn totals(&self) -> Totals {
        self.writer.totals()
    }

    fn close(&self) -> Answer<()> {
        let (done, closed) = oneshot::channel();
        self.writer.close(done);
        let readers = self.readers.clone();
        Box::pin(async move {
            readers.close();
            closed.await.map_err(|_| StoreError::Closed)
        })
    }
}

#[cfg(test)]
mod tests;
