//! Reading: a few read-only connections, used from blocking threads. WAL lets them read beside the writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::state::State;
use super::{Answer, StoreError};

/// Readers at a time; more would only wait for the same disk.
const READERS: usize = 4;

#[derive(Clone)]
pub(super) struct Readers(Arc<Pool>);

struct Pool {
    path: PathBuf,
    state: State,
    idle: Mutex<Vec<Connection>>,
    slots: Semaphore,
}

impl Readers {
    pub(super) fn new(path: PathBuf, state: State) -> Self {
        Self(Arc::new(Pool { path, state, idle: Mutex::default(), slots: Semaphore::new(READERS) }))
    }

    /// Runs `f` in one read transaction, so that all it sees is of one moment.
    pub(super) fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let pool = self.0.clone();
        Box::pin(async move {
            let _slot = pool.slots.acquire().await.map_err(|_| StoreError::Closed)?;
            let work = pool.clone();
            let task = tokio::task::spawn_blocking(move || {
                let read = || {
                    let mut connection = work.take()?;
                    let transaction = connection.transaction()?;
                    let answer = f(&transaction);
                    drop(transaction);
                    work.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                    answer
                };
                work.state.seen(read())
            });
            task.await.map_err(|_| StoreError::Closed)?
        })
    }

    /// Ends what comes after, and closes the connections, so that the writer's checkpoint is complete.
    pub(super) fn close(&self) {
        self.0.slots.close();
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Pool {
    fn take(&self) -> Result<Connection, StoreError> {
        if let Some(connection) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }
}
