//! Looking for damage in what is stored: beside a running relay by reading alone; with the relay stopped also repair, by
//! dropping what is damaged, which devices then refill.

mod chunks;
mod rows;

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use super::file::{self, FileError, database};
use super::{schema, vacuum};
use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};

/// Things that SQLite finds in one pass at most.
const MOST: u32 = 100;

/// What to look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    /// Read the files of the chunk cache, too.
    pub chunks: bool,
    /// Drop what is damaged. The relay must not be running.
    pub repair: bool,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The database cannot be opened.
    #[error(transparent)]
    File(#[from] FileError),
    /// The data directory, which a running relay holds: repair needs it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The directory of the chunks cannot be read.
    #[error("the chunk cache")]
    Chunks(#[source] std::io::Error),
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Groups looked at.
    pub groups: u64,
    /// Blobs looked at.
    pub blobs: u64,
    /// Bytes of these blobs.
    pub blob_bytes: u64,
    /// Chunk files looked at, if asked for.
    pub chunks: Option<u64>,
    /// What is wrong; empty if nothing is.
    pub damage: Vec<Damage>,
}

/// One kind of damage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// What is damaged.
    pub kind: DamageKind,
    /// How many of them.
    pub count: u64,
    /// Was it repaired?
    pub repaired: bool,
    /// What SQLite says of the first one, if it was SQLite that found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
}

/// What can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageKind {
    /// The structure of the database itself.
    Database,
    /// Rows that belong to no group.
    Orphans,
    /// Rosters that do not hold.
    Rosters,
    /// Blobs whose bytes are not those that were pushed.
    Blobs,
    /// Groups whose counters are wrong.
    Counters,
    /// Chunk files whose bytes do not fit their address.
    Chunks,
}

impl Report {
    /// Is everything as it should be, now?
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage.iter().all(|damage| damage.repaired)
    }

    fn note(&mut self, kind: DamageKind, count: u64, repaired: bool) {
        if count > 0 {
            self.damage.push(Damage { kind, count, repaired, first: None });
        }
    }

    /// Notes what a pass found, or that the database did not let it end.
    fn take(&mut self, kind: DamageKind, repaired: bool, found: rusqlite::Result<u64>) {
        match found {
            Ok(count) => self.note(kind, count, repaired),
            Err(e) => self.broken(&e),
        }
    }

    fn broken(&mut self, e: &rusqlite::Error) {
        if !self.damage.iter().any(|damage| damage.kind == DamageKind::Database && !damage.repaired) {
            let first = Some(e.to_string());
            self.damage.push(Damage { kind: DamageKind::Database, count: 1, repaired: false, first });
        }
    }
}

/// Checks the database: its structure, the rosters, the counters, and every blob by its hash; the chunks if asked to.
///
/// # Errors
/// The database is missing, of a newer version or something else; or repair is asked for while the relay runs.
pub fn check(config: &Config, options: CheckOptions) -> Result<Report, CheckError> {
    let path = config.database_path();
    let _lock = match options.repair {
        true => {
            file::expect_sqlite(&path)?;
            Some(DataDir::open(&config.data)?)
        }
        false => None,
    };
    let mut connection = match file::open(&path, options.repair) {
        // So damaged that it does not say what it is.
        Err(FileError::Database { source, .. }) if is_corrupt(&source) => {
            let mut report = Report::default();
            report.broken(&source);
            return Ok(report);
        }
        opened => opened?,
    };
    bring_up_to_date(&mut connection, &path, options.repair)?;
    let mut report = Report::default();
    structure(&connection, options.repair, &mut report);
    if options.repair {
        repair_rows(&mut connection, &mut report, &path)?;
    } else {
        rows(&connection, false, &mut report);
    }
    if options.repair && report.is_clean() && config.cleanup.vacuum {
        give_room_back(&connection).map_err(database(&path))?;
    }
    if options.chunks {
        chunks::check(&config.chunks_dir(), options.repair, &mut report).map_err(CheckError::Chunks)?;
    }
    Ok(report)
}

/// The rows are judged by the tables of this version.
fn bring_up_to_date(connection: &mut Connection, path: &Path, may_write: bool) -> Result<(), FileError> {
    if may_write {
        let migrated = schema::migrations().to_latest(connection);
        return migrated.map_err(|e| FileError::Migration { path: path.to_owned(), source: e });
    }
    let version: usize =
        connection.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(database(path))?;
    if version < schema::latest() { Err(FileError::Older(path.to_owned())) } else { Ok(()) }
}

/// A large database from before it could give room back learns it here, where nobody waits.
fn give_room_back(connection: &Connection) -> rusqlite::Result<()> {
    if vacuum::can_give_back(connection)? { Ok(()) } else { vacuum::write_anew(connection) }
}

fn is_corrupt(e: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(e.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// The pages and indexes of the database. Indexes are made anew by a repair; tables are not.
fn structure(connection: &Connection, repair: bool, report: &mut Report) {
    let Some(found) = structure_damage(connection, report) else { return };
    let repaired = repair
        && connection.execute_batch("REINDEX").is_ok()
        && structure_damage(connection, &mut Report::default()).is_some_and(|left| left.is_empty());
    if let Some(first) = found.first().cloned() {
        let count = u64::try_from(found.len()).unwrap_or(u64::MAX);
        report.damage.push(Damage { kind: DamageKind::Database, count, repaired, first: Some(first) });
    }
}

fn structure_damage(connection: &Connection, report: &mut Report) -> Option<Vec<String>> {
    let look = || {
        let mut select = connection.prepare(&format!("PRAGMA integrity_check({MOST})"))?;
        let lines = select.query_map([], |r| r.get::<_, String>(0))?;
        lines.filter(|line| !matches!(line, Ok(line) if line == "ok")).collect::<rusqlite::Result<Vec<_>>>()
    };
    look().map_err(|e| report.broken(&e)).ok()
}

/// What the rows say. Each pass reads on its own, so that a running relay's log is not held up for long.
fn rows(connection: &Connection, repair: bool, report: &mut Report) {
    // Before anything is dropped.
    report.take(DamageKind::Counters, repair, rows::counters(connection));
    report.take(DamageKind::Orphans, repair, rows::orphans(connection, repair));
    match rows::rosters(connection, repair) {
        Ok((groups, damaged)) => {
            report.groups = groups;
            report.note(DamageKind::Rosters, damaged, repair);
        }
        Err(e) => report.broken(&e),
    }
    match rows::blobs(connection, repair) {
        Ok(seen) => {
            (report.blobs, report.blob_bytes) = (seen.blobs, seen.bytes);
            report.note(DamageKind::Blobs, seen.damaged, repair);
        }
        Err(e) => report.broken(&e),
    }
    if repair && let Err(e) = rows::recount(connection) {
        report.broken(&e);
    }
}

/// All of it in one transaction, and none of it if the database itself is beyond repair.
fn repair_rows(connection: &mut Connection, report: &mut Report, path: &Path) -> Result<(), CheckError> {
    let transaction = connection.transaction().map_err(database(path))?;
    rows(&transaction, true, report);
    if report.is_clean() {
        transaction.commit().map_err(database(path))?;
    } else {
        for damage in &mut report.damage {
            damage.repaired = false;
        }
    }
    Ok(())
}
