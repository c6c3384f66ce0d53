//! Database files outside a running relay: opened only if they are a relay's, of a version that is known here.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::schema;

/// What every SQLite file begins with (sqlite.org/fileformat2.html, 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Without these it is not a relay's.
const TABLES: [&str; 4] = ["groups", "statements", "members", "blobs"];

/// Why a file is not used as a relay's database.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Nothing is there.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// It is something else.
    #[error("{} is not a relay's database", .0.display())]
    Foreign(PathBuf),
    /// A newer zerok-relay made it.
    #[error("{} is of version {found}, this zerok-relay knows {known}: upgrade it first", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: usize,
    },
    /// An older zerok-relay made it, and this one has not run since.
    #[error("{} is of an older version: start the relay once, which brings it up to date", .0.display())]
    Older(PathBuf),
    /// Bringing it up to this version fails.
    #[error("{} cannot be brought up to date", .path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite_migration::Error,
    },
    /// It cannot be read or written.
    #[error("{}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SQLite refuses.
    #[error("{}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

/// Turns what SQLite or the system says about a file into an error that names it.
pub(super) fn database(path: &Path) -> impl Fn(rusqlite::Error) -> FileError + '_ {
    |source| FileError::Database { path: path.to_owned(), source }
}

pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> FileError + '_ {
    |source| FileError::Io { path: path.to_owned(), source }
}

/// Opens a relay's database beside whoever else has it open.
pub(super) fn open(path: &Path, writable: bool) -> Result<Connection, FileError> {
    expect_sqlite(path)?;
    let access = if writable { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(database(path))?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(database(path))?;
    expect_known(&connection, path)?;
    Ok(connection)
}

/// Refuses what cannot be a database, without making anything beside it.
pub(super) fn expect_sqlite(path: &Path) -> Result<(), FileError> {
    let mut magic = [0u8; 16];
    let mut file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(FileError::Missing(path.to_owned())),
        opened => opened.map_err(io(path))?,
    };
    match file.read_exact(&mut magic) {
        Ok(()) if magic == *MAGIC => Ok(()),
        Err(e) if e.kind() != ErrorKind::UnexpectedEof => Err(io(path)(e)),
        _ => Err(FileError::Foreign(path.to_owned())),
    }
}

/// Refuses a database that is no relay's, or of a newer one; errors call it `path`.
pub(super) fn expect_known(connection: &Connection, path: &Path) -> Result<(), FileError> {
    let found: i64 =
        connection.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(database(path))?;
    let known = schema::latest();
    if found > i64::try_from(known).unwrap_or(i64::MAX) {
        return Err(FileError::Newer { path: path.to_owned(), found, known });
    }
    for table in TABLES {
        let there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
        let there: bool = connection.query_row(there, [table], |r| r.get(0)).map_err(database(path))?;
        if !there || found < 1 {
            return Err(FileError::Foreign(path.to_owned()));
        }
    }
    Ok(())
}

/// Groups, blobs and their bytes, as the database counts them.
pub(super) fn counts(connection: &Connection) -> rusqlite::Result<super::Totals> {
    let sql = "SELECT count(*), coalesce(sum(blobs), 0), coalesce(sum(bytes), 0) FROM groups";
    connection
        .query_row(sql, [], |r| Ok(super::Totals { groups: r.get(0)?, blobs: r.get(1)?, bytes: r.get(2)? }))
}

/// A new file that only its owner can read; removed again unless it is put in its place.
pub(super) struct Draft {
    path: PathBuf,
    placed: bool,
}

impl Draft {
    /// Makes it beside `target`, so that a rename puts it there.
    pub(super) fn beside(target: &Path) -> Result<(Self, File), FileError> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let path = target.with_file_name(name);
        // What a killed process of the same id left behind.
        let _ = std::fs::remove_file(&path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        Ok((Self { path: path.clone(), placed: false }, file.map_err(io(&path))?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes, now on disk, take the place of `target`.
    pub(super) fn place(mut self, target: &Path) -> Result<(), FileError> {
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(io(&self.path))?;
        std::fs::rename(&self.path, target).map_err(io(target))?;
        self.placed = true;
        sync_parent(target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes names in the directory of `path` survive a power cut.
pub(super) fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = parent(path);
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(io(parent))
}

/// Makes the directory of `path`, for its owner alone, if it is missing.
pub(super) fn make_parent(path: &Path) -> Result<(), FileError> {
    let parent = parent(path);
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(io(parent))
}

/// The directory that a file is in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A name beside `path` that nothing has: with `suffix` behind, and a number if need be.
pub(super) fn free_name(path: &Path, suffix: &str) -> PathBuf {
    let numbered = |n: u32| if n == 0 { suffix.to_owned() } else { format!("{suffix}-{n}") };
    let mut names = (0..).map(|n| with_suffix(path, &numbered(n)));
    names.find(|name| !name.exists()).unwrap_or_else(|| with_suffix(path, suffix))
}

/// `path` with something after its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
