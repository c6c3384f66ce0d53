//! The floor of PUSH: the very rows that the relay stored, in tables and indexes as it made them, by group commit alone.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::bench::report::rate;

/// Blobs a second that SQLite stores with so many in a commit. The relay must have closed its database.
pub(super) fn group_commit(relay: &Path, dir: &Path, commit: usize, most: usize) -> Result<f64> {
    let source = Connection::open_with_flags(relay.join("relay.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let path = dir.join("rows.db");
    let mut floor = Connection::open(&path)?;
    for pragma in ["page_size", "auto_vacuum"] {
        let value: i64 = source.pragma_query_value(None, pragma, |row| row.get(0))?;
        floor.pragma_update(None, pragma, value)?;
    }
    floor.pragma_update(None, "journal_mode", "WAL")?;
    floor.pragma_update(None, "synchronous", "FULL")?;
    floor.pragma_update(None, "cache_size", -65_536)?;
    floor.pragma_update(None, "foreign_keys", true)?;
    for sql in
        texts(&source, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")?
    {
        floor.execute_batch(&sql)?;
    }
    let groups = read(&source, "groups", usize::MAX)?;
    insert(&mut floor, "groups", &groups)?;
    let blobs = read(&source, "blobs", most)?;
    let started = Instant::now();
    for rows in blobs.chunks(commit.max(1)) {
        insert(&mut floor, "blobs", rows)?;
    }
    let reached = rate(blobs.len(), started.elapsed());
    drop(floor);
    for suffix in ["", "-wal", "-shm"] {
        // SQLite removes the last two itself when it closes in order.
        let _ = std::fs::remove_file(dir.join(format!("rows.db{suffix}")));
    }
    Ok(reached)
}

fn texts(from: &Connection, sql: &str) -> Result<Vec<String>> {
    let mut select = from.prepare(sql)?;
    let texts = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(texts)
}

fn read(from: &Connection, table: &str, most: usize) -> Result<Vec<Vec<Value>>> {
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let mut select = from.prepare(&format!("SELECT * FROM {table} LIMIT {limit}"))?;
    let columns = select.column_count();
    let rows = select.query_map([], |row| (0..columns).map(|at| row.get(at)).collect())?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn insert(into: &mut Connection, table: &str, rows: &[Vec<Value>]) -> Result<()> {
    let marks = vec!["?"; rows.first().map_or(0, Vec::len)].join(",");
    let transaction = into.transaction()?;
    {
        let mut insert = transaction.prepare_cached(&format!("INSERT INTO {table} VALUES ({marks})"))?;
        for row in rows {
            insert.execute(params_from_iter(row))?;
        }
    }
    Ok(transaction.commit()?)
}
