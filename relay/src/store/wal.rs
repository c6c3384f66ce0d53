//! The write-ahead log: bounded, whoever reads meanwhile. A checkpoint copies it into the database as it grows; it
//! begins anew only at a moment without readers, which on a busy relay may not come by itself.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::file::with_suffix;

/// Pages after which a commit copies the log into the database (16 MiB).
const CHECKPOINT_PAGES: u32 = 4096;
/// Bytes that the file keeps when it begins anew.
const KEPT: u32 = 64 << 20;
/// Bytes from which on readers are waited for.
const BOUND: u64 = 256 << 20;
/// How often its size is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long pushes may wait for readers to end, and how long such a wait is not repeated.
const WAIT: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_secs(10);

/// The log of the writer's database.
pub(super) struct Wal {
    path: PathBuf,
    next_look: Instant,
}

pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", KEPT)
}

impl Wal {
    pub(super) fn of(connection: &Connection) -> Self {
        let database = connection.path().unwrap_or_default();
        Self { path: with_suffix(database.as_ref(), "-wal"), next_look: Instant::now() }
    }

    /// After a commit: begins the log anew if it became too long.
    pub(super) fn keep_bounded(&mut self, connection: &Connection) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        if std::fs::metadata(&self.path).is_ok_and(|file| file.len() > BOUND) && !truncate(connection) {
            tracing::warn!("the database's log is long, and a reader keeps it from beginning anew");
            self.next_look = now + PAUSE;
        }
    }
}

/// Copies all of the log into the database and empties it; false if a reader is in the way.
pub(super) fn truncate(connection: &Connection) -> bool {
    let busy = || {
        connection.busy_timeout(WAIT)?;
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, bool>(0));
        connection.busy_timeout(super::sqlite::BUSY)?;
        busy
    };
    matches!(busy(), Ok(false))
}
