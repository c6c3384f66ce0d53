//! The log: own entries are appended and cut into bundles, others' bundles are taken in, and every channel has a merged
//! log of what was released.
//!
//! One transaction each, so that a kill leaves all of it or nothing:
//! - **append** gives entries their numbers n and places in the merged logs. From the commit on they are never lost.
//! - **cut** makes a bundle of own entries that have none, signs it and stores its exact header: before any link sees it,
//!   so that the same number never leaves with two contents.
//! - **take in** stores another device's bundle, whatever its place; its entries get their places in author order as
//!   soon as no hole is before them (entries of the daemon's own `$…` channels at once: they merge in any order).

mod append;
mod cut;
mod read;
mod take_in;

pub(crate) use append::{Appended, NewEntry, append, tick};
pub(crate) use cut::{cut_pending, cut_when_ready};
pub(crate) use read::{
    LogRow, bundles_of, channel_row, cut_at, last_entry, last_pos, latest_by_key, outbox, own_bundles,
    own_chain, own_position, read_after, vector,
};
pub(crate) use take_in::{TakenIn, take_in};

use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;

/// A group's row in the database.
pub(crate) type GroupRow = i64;

/// Entries of these channels merge in any order and are released without waiting for a hole before them.
fn unordered(channel: &str) -> bool {
    channel.starts_with('$')
}

/// The channel's row and next position; made if it is new.
fn channel(connection: &Connection, grp: GroupRow, name: &str) -> Result<(i64, u64), StoreError> {
    let mut find = connection.prepare_cached("SELECT id, next FROM channel WHERE grp = ?1 AND name = ?2")?;
    let found = find.query_row(params![grp, name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    connection
        .prepare_cached("INSERT INTO channel(grp, name) VALUES (?1, ?2)")?
        .execute(params![grp, name])?;
    Ok((connection.last_insert_rowid(), 1))
}

fn set_next(connection: &Connection, channel: i64, next: u64) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE channel SET next = ?2 WHERE id = ?1")?
        .execute(params![channel, next])?;
    Ok(())
}

/// The next positions of the channels that a batch touches, written back once.
struct Positions<'c> {
    connection: &'c Connection,
    grp: GroupRow,
    channels: Vec<(String, i64, u64)>,
}

impl<'c> Positions<'c> {
    fn new(connection: &'c Connection, grp: GroupRow) -> Self {
        Self { connection, grp, channels: Vec::new() }
    }

    /// The channel's row, and a way to its next position.
    fn channel(&mut self, name: &str) -> Result<(i64, &mut u64), StoreError> {
        let at = match self.channels.iter().position(|(known, ..)| known == name) {
            Some(at) => at,
            None => {
                let (id, next) = channel(self.connection, self.grp, name)?;
                self.channels.push((name.to_owned(), id, next));
                self.channels.len() - 1
            }
        };
        let (_, id, next) = self.channels.get_mut(at).expect("just found or pushed");
        Ok((*id, next))
    }

    fn write_back(self) -> Result<(), StoreError> {
        for (_, id, next) in &self.channels {
            set_next(self.connection, *id, *next)?;
        }
        Ok(())
    }
}

const INSERT_ENTRY: &str =
    "INSERT INTO entry(chain, n, channel, pos, hlc, key, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
