//! Bringing a backup back. The copy is verified before anything is touched; what it replaces is kept aside.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::backup::{KEY_LEN, read_key};
use super::file::{self, Draft, FileError, database, io, with_suffix};
use crate::clock;
use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};

/// Why nothing was restored. What was there is untouched.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read, or the database not written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The data directory, which a running relay holds.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The file is in use by a relay, or was when that was killed: it is not complete by itself.
    #[error("{} is a relay's live database and not complete by itself: make a backup of it", .0.display())]
    Live(PathBuf),
    /// The backup is damaged.
    #[error("{} is damaged: {problem}", .path.display())]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// The first thing that SQLite found.
        problem: String,
    },
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Groups that are there now.
    pub groups: u64,
    /// Blobs that are there now.
    pub blobs: u64,
    /// Bytes of these blobs.
    pub blob_bytes: u64,
    /// When the backup was made, in milliseconds since 1970; none if it is a bare copy of a database.
    pub made_ms: Option<u64>,
    /// Did the relay's key come from the backup?
    pub key: bool,
    /// Where the database is that was there before.
    pub database_before: Option<PathBuf>,
    /// Where the key is that was there before, if it was another.
    pub key_before: Option<PathBuf>,
}

/// Puts the backup `from` in the place of the relay's database. The relay must not be running.
///
/// Every group gets a new `log_id`, so that its devices see that the relay has lost something, and refill it.
///
/// # Errors
/// The relay runs; the backup is missing, damaged, of a newer version or something else; or a file cannot be written.
pub fn restore(config: &Config, from: &Path) -> Result<Restored, RestoreError> {
    file::expect_sqlite(from)?;
    if fs::metadata(with_suffix(from, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        return Err(RestoreError::Live(from.to_owned()));
    }
    let _lock = DataDir::open(&config.data)?;
    hand_over(&config.data.join(DataDir::LOCK))?;
    let (to, key_path) = (config.database_path(), config.key_path());
    file::make_parent(&to)?;
    let (draft, mut copy) = Draft::beside(&to)?;
    let mut source = fs::File::open(from).map_err(io(from))?;
    std::io::copy(&mut source, &mut copy).map_err(io(draft.path()))?;
    let taken = take_in(draft.path(), from)?;
    let stamp = format!(".before-restore-{}", clock::unix_millis() / 1000);
    let key_before = taken.key.as_deref().map(|key| put_key(&key_path, key, &stamp)).transpose()?.flatten();
    let database_before = set_aside(&to, &stamp)?;
    hand_over(draft.path())?;
    draft.place(&to)?;
    Ok(Restored {
        groups: taken.counted.groups,
        blobs: taken.counted.blobs,
        blob_bytes: taken.counted.bytes,
        made_ms: taken.made_ms,
        key: taken.key.is_some(),
        database_before,
        key_before,
    })
}

struct Taken {
    counted: super::Totals,
    made_ms: Option<u64>,
    key: Option<Vec<u8>>,
}

/// Verifies the copy and makes a relay's database of it.
fn take_in(copy: &Path, from: &Path) -> Result<Taken, RestoreError> {
    let connection = Connection::open(copy).map_err(database(from))?;
    file::expect_known(&connection, from)?;
    let first: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |r| r.get(0))
        .map_err(|e| RestoreError::Damaged { path: from.to_owned(), problem: e.to_string() })?;
    if first != "ok" {
        return Err(RestoreError::Damaged { path: from.to_owned(), problem: first });
    }
    Ok(convert(connection).map_err(database(from))?)
}

fn convert(c: Connection) -> rusqlite::Result<Taken> {
    c.pragma_update(None, "journal_mode", "MEMORY")?;
    // The key does not stay behind on a free page.
    c.pragma_update(None, "secure_delete", true)?;
    let is_backup = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'backup')";
    let (mut made_ms, mut key) = (None, None);
    if c.query_row(is_backup, [], |r| r.get(0))? {
        let row = c
            .query_row("SELECT made_ms, relay_key FROM backup", [], |r| {
                Ok((r.get::<_, u64>(0)?, r.get::<_, Option<Vec<u8>>>(1)?))
            })
            .optional()?;
        if let Some((made, found)) = row {
            (made_ms, key) = (Some(made), found.filter(|key| key.len() == KEY_LEN));
        }
        c.execute_batch("DROP TABLE backup")?;
    }
    c.execute("UPDATE groups SET log_id = randomblob(?1)", [zerok_protocol::LogId::LEN])?;
    let counted = file::counts(&c)?;
    c.close().map_err(|(_, e)| e)?;
    Ok(Taken { counted, made_ms, key })
}

/// Writes the key unless it is there; another one is kept aside, and its new place returned.
fn put_key(path: &Path, key: &[u8], stamp: &str) -> Result<Option<PathBuf>, FileError> {
    if matches!(read_key(path), Ok(Some(there)) if there == key) {
        return Ok(None);
    }
    file::make_parent(path)?;
    let (draft, mut file) = Draft::beside(path)?;
    file.write_all(key).map_err(io(draft.path()))?;
    let aside = keep(path, &file::free_name(path, stamp))?;
    hand_over(draft.path())?;
    draft.place(path)?;
    Ok(aside)
}

/// Keeps the database that is to be replaced, with its log, which must not be taken for that of the next one.
fn set_aside(path: &Path, stamp: &str) -> Result<Option<PathBuf>, FileError> {
    let aside = file::free_name(path, stamp);
    // As a rule this empties and removes the log; a database that is too damaged for that keeps it.
    if let Ok(connection) = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE) {
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
    let kept = keep(path, &aside)?;
    let log = with_suffix(path, "-wal");
    match fs::rename(&log, with_suffix(&aside, "-wal")) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(io(&log)(e)),
        _ => {}
    }
    let _ = fs::remove_file(with_suffix(path, "-shm"));
    file::sync_parent(path)?;
    Ok(kept)
}

/// What root made in the directory of a service's own user becomes that user's: the relay could not open it otherwise.
fn hand_over(path: &Path) -> Result<(), FileError> {
    let own = || {
        let (file, dir) = (fs::metadata(path)?, fs::metadata(file::parent(path))?);
        if file.uid() == 0 && dir.uid() != 0 {
            chown(path, Some(dir.uid()), Some(dir.gid()))?;
        }
        Ok(())
    };
    own().map_err(io(path))
}

/// Gives a file a second name, so that there is no moment without one under the first.
fn keep(path: &Path, aside: &Path) -> Result<Option<PathBuf>, FileError> {
    match fs::hard_link(path, aside) {
        Ok(()) => Ok(Some(aside.to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        // A file system without hard links.
        Err(_) => match fs::rename(path, aside) {
            Ok(()) => Ok(Some(aside.to_owned())),
            Err(e) => Err(io(path)(e)),
        },
    }
}
