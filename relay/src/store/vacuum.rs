//! Room that became free inside the database goes back to the file system, in slices between which pushes go on.

use rusqlite::Connection;

use super::StoreError;
use super::writer::Work;

/// Pages that are moved in one transaction (1 MiB).
const SLICE: u64 = 256;
/// Free pages that stay: what comes next is stored in them.
const KEPT: u64 = 1024;
/// Databases up to this size are converted at a start without asking.
const SMALL: u64 = 64 << 20;

/// A new database can give pages back. Must be said before anything is written.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")
}

/// A database from before [`prepare`] has to be written anew once: a small one is, a large one when the operator says so.
pub(super) fn convert(connection: &Connection) -> rusqlite::Result<()> {
    if can_give_back(connection)? {
        return Ok(());
    }
    let size = number(connection, "page_count")?.saturating_mul(number(connection, "page_size")?);
    if size > SMALL {
        tracing::info!(
            "the database does not give free room back: run `zerok-relay check --repair` once while the relay is stopped"
        );
        return Ok(());
    }
    if let Err(e) = write_anew(connection) {
        tracing::warn!(error = %e, "the database could not be written anew");
    }
    Ok(())
}

pub(super) fn can_give_back(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(number(connection, "auto_vacuum")? == 2)
}

/// Writes all of the database anew, without what is free in it.
pub(super) fn write_anew(connection: &Connection) -> rusqlite::Result<()> {
    prepare(connection)?;
    connection.execute_batch("VACUUM")
}

/// Gives back one slice; returns its bytes, 0 when there is no more to give.
pub(super) fn slice(work: &mut Work<'_>) -> Result<u64, StoreError> {
    let c = work.connection;
    let free = number(c, "freelist_count")?;
    let slice = free.saturating_sub(KEPT).min(SLICE);
    if slice == 0 || !can_give_back(c)? {
        return Ok(0);
    }
    // It gives back a page with each step.
    let mut vacuum = c.prepare(&format!("PRAGMA incremental_vacuum({slice})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    let given = free.saturating_sub(number(c, "freelist_count")?);
    Ok(given.saturating_mul(number(c, "page_size")?))
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, pragma, |r| r.get(0))
}
