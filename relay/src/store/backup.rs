//! A backup: all that makes this relay, as of one moment, in one file, while it runs. The file is a database like the
//! relay's own, and the relay's key in a table of its own.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use serde::Serialize;

use super::file::{self, Draft, FileError, database};
use crate::clock;
use crate::config::Config;

/// Bytes of a relay's key.
pub(super) const KEY_LEN: usize = 32;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database cannot be read, or the file not written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is a file already.
    #[error("{} exists: choose another name, or --force to replace it", .0.display())]
    Exists(PathBuf),
    /// It would lie among the relay's own files.
    #[error("{} is in the relay's own directory: a backup belongs on another disk", .0.display())]
    Inside(PathBuf),
    /// SQLite takes only UTF-8.
    #[error("{} is not UTF-8", .0.display())]
    Name(PathBuf),
    /// The database could not be copied.
    #[error("the database cannot be copied; `zerok-relay check` says what is wrong with it")]
    Copy(#[source] rusqlite::Error),
    /// The relay's key cannot be read.
    #[error("the relay's key {}: expected a file of 32 bytes", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// Groups in it.
    pub groups: u64,
    /// Blobs in it.
    pub blobs: u64,
    /// Bytes of these blobs.
    pub blob_bytes: u64,
    /// Is the relay's key in it?
    pub key: bool,
}

/// Writes a backup to `to`, which is complete as soon as it is there. The relay may be running.
///
/// # Errors
/// The database or the key cannot be read, or the file not be written; `to` exists and is not to be replaced.
pub fn backup(config: &Config, to: &Path, replace: bool) -> Result<Backup, BackupError> {
    let from = config.database_path();
    let source = file::open(&from, false)?;
    let key = read_key(&config.key_path())?;
    if to.exists() && !replace {
        return Err(BackupError::Exists(to.to_owned()));
    }
    if let (Ok(there), Ok(data)) = (file::parent(to).canonicalize(), file::parent(&from).canonicalize())
        && there == data
    {
        return Err(BackupError::Inside(to.to_owned()));
    }
    let (draft, _) = Draft::beside(to)?;
    let name = draft.path().to_str().ok_or_else(|| BackupError::Name(to.to_owned()))?;
    // One read transaction: pushes go on, and what they store meanwhile is not in it.
    source.execute("VACUUM INTO ?1", [name]).map_err(BackupError::Copy)?;
    let counted = finish(draft.path(), key.as_deref())?;
    let file_bytes = std::fs::metadata(draft.path()).map_err(file::io(draft.path()))?.len();
    draft.place(to)?;
    Ok(Backup {
        file_bytes,
        groups: counted.groups,
        blobs: counted.blobs,
        blob_bytes: counted.bytes,
        key: key.is_some(),
    })
}

/// Adds what only a backup has, and counts.
fn finish(path: &Path, key: Option<&[u8]>) -> Result<super::Totals, FileError> {
    let finish = || {
        let copy = Connection::open(path)?;
        // Nobody sees the file before it is complete and synced.
        copy.pragma_update(None, "journal_mode", "MEMORY")?;
        copy.pragma_update(None, "synchronous", "OFF")?;
        copy.execute_batch("CREATE TABLE backup (made_ms INTEGER NOT NULL, relay_key BLOB) STRICT")?;
        let made = i64::try_from(clock::unix_millis()).unwrap_or(i64::MAX);
        copy.execute("INSERT INTO backup (made_ms, relay_key) VALUES (?1, ?2)", params![made, key])?;
        let counted = file::counts(&copy)?;
        copy.close().map_err(|(_, e)| e)?;
        Ok(counted)
    };
    finish().map_err(database(path))
}

/// The relay's key; none if there is no such file.
pub(super) fn read_key(path: &Path) -> Result<Option<Vec<u8>>, BackupError> {
    match std::fs::read(path) {
        Ok(key) if key.len() == KEY_LEN => Ok(Some(key)),
        Ok(_) => Err(BackupError::Key {
            path: path.to_owned(),
            source: std::io::Error::from(ErrorKind::InvalidData),
        }),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BackupError::Key { path: path.to_owned(), source }),
    }
}
