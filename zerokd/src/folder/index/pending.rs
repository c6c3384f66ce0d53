//! The durable list of paths to look at.

use rusqlite::{Connection, params};

use super::{FolderRow, below, join, split};
use crate::store::StoreError;

/// A path to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Its place in the list.
    pub(crate) id: i64,
    /// The path's key.
    pub(crate) key: String,
}

/// Lists a path; one that is listed gets a new place, so that whoever works on it does not take it off.
pub(crate) fn add(connection: &Connection, folder: FolderRow, key: &str) -> Result<(), StoreError> {
    let (parent, name) = split(key);
    connection
        .prepare_cached("INSERT OR REPLACE INTO folder_pending(folder, parent, name) VALUES (?1, ?2, ?3)")?
        .execute(params![folder, parent, name])?;
    Ok(())
}

/// The next paths that are due, after a place.
pub(crate) fn due(
    connection: &Connection,
    folder: FolderRow,
    after: i64,
    now_ms: u64,
    limit: usize,
) -> Result<Vec<Pending>, StoreError> {
    // The plus keeps SQLite from reading and sorting the whole list for each page.
    let mut find = connection.prepare_cached(
        "SELECT id, parent, name FROM folder_pending WHERE +folder = ?1 AND id > ?2 AND not_before <= ?3 \
         ORDER BY id LIMIT ?4",
    )?;
    let rows = find.query_map(params![folder, after, now_ms, limit.min(100_000)], |row| {
        Ok(Pending { id: row.get(0)?, key: join(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?) })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Is a path listed?
pub(crate) fn has(connection: &Connection, folder: FolderRow, key: &str) -> Result<bool, StoreError> {
    let (parent, name) = split(key);
    let mut find = connection.prepare_cached(
        "SELECT EXISTS(SELECT 1 FROM folder_pending WHERE folder = ?1 AND parent = ?2 AND name = ?3)",
    )?;
    Ok(find.query_row(params![folder, parent, name], |row| row.get(0))?)
}

/// Takes a path off the list.
pub(crate) fn done(connection: &Connection, folder: FolderRow, key: &str) -> Result<(), StoreError> {
    let (parent, name) = split(key);
    connection
        .prepare_cached("DELETE FROM folder_pending WHERE folder = ?1 AND parent = ?2 AND name = ?3")?
        .execute(params![folder, parent, name])?;
    Ok(())
}

/// Longest wait between two tries, in milliseconds.
const LONGEST_MS: u64 = 60_000;

/// It did not work: again after 1, 2, 4 … 60 seconds.
pub(crate) fn again_later(
    connection: &Connection,
    folder: FolderRow,
    key: &str,
    now_ms: u64,
) -> Result<(), StoreError> {
    let (parent, name) = split(key);
    connection
        .prepare_cached(
            "INSERT INTO folder_pending(folder, parent, name, tries, not_before) VALUES (?1, ?2, ?3, 1, ?4 + 1000) \
             ON CONFLICT(folder, parent, name) DO UPDATE SET tries = tries + 1, \
             not_before = ?4 + MIN(?5, 1000 << MIN(tries, 6))",
        )?
        .execute(params![folder, parent, name, now_ms, LONGEST_MS])?;
    Ok(())
}

/// What waits below a directory that stands by now is due at once.
pub(crate) fn wake_below(
    connection: &Connection,
    folder: FolderRow,
    directory: &str,
) -> Result<usize, StoreError> {
    let (low, high) = below(directory);
    let mut wake = connection.prepare_cached(
        "UPDATE folder_pending SET not_before = 0 WHERE folder = ?1 AND parent = ?2 AND not_before > 0",
    )?;
    let children = wake.execute(params![folder, directory])?;
    let mut wake = connection.prepare_cached(
        "UPDATE folder_pending SET not_before = 0 WHERE folder = ?1 AND parent >= ?2 AND parent < ?3 AND not_before > 0",
    )?;
    Ok(children + wake.execute(params![folder, low, high])?)
}

/// The path whose conflict a copy is of is due at once: it may have waited for the copy.
pub(crate) fn wake_origin(
    connection: &Connection,
    folder: FolderRow,
    copy: &str,
) -> Result<usize, StoreError> {
    let mut woken = 0;
    for origin in super::records::of(connection, folder, copy)?.into_iter().filter_map(|stored| stored.origin)
    {
        let (parent, name) = split(&origin);
        let mut wake = connection.prepare_cached(
            "UPDATE folder_pending SET not_before = 0 WHERE folder = ?1 AND parent = ?2 AND name = ?3 AND not_before > 0",
        )?;
        woken += wake.execute(params![folder, parent, name])?;
    }
    Ok(woken)
}

/// When the first path that waits for its time is due, Unix milliseconds.
pub(crate) fn next_due(
    connection: &Connection,
    folder: FolderRow,
    now_ms: u64,
) -> Result<Option<u64>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT MIN(not_before) FROM folder_pending WHERE folder = ?1 AND not_before > ?2 AND not_before > 0",
    )?;
    Ok(find.query_row(params![folder, now_ms], |row| row.get(0))?)
}

/// How many paths are listed, and the bytes of the files that they shall become.
pub(crate) fn count(connection: &Connection, folder: FolderRow) -> Result<(u64, u64), StoreError> {
    let mut sum = connection.prepare_cached(
        "SELECT COUNT(*), COALESCE(SUM((SELECT MAX(size) FROM folder_record r WHERE r.folder = p.folder \
         AND r.parent = p.parent AND r.name = p.name)), 0) FROM folder_pending p WHERE folder = ?1",
    )?;
    Ok(sum.query_row([folder], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Lists every live path that this disk never took, because what froze them may have changed.
pub(crate) fn add_untaken(connection: &Connection, folder: FolderRow) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO folder_pending(folder, parent, name) \
             SELECT DISTINCT r.folder, r.parent, r.name FROM folder_record r LEFT JOIN folder_path p \
             ON p.folder = r.folder AND p.parent = r.parent AND p.name = r.name \
             WHERE r.folder = ?1 AND (p.version IS NULL OR p.version <> r.version)",
        )?
        .execute([folder])?;
    Ok(())
}
