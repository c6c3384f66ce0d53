//! Taking records into the index: which stand, what they resolve to, which conflict copies that derives, and which
//! paths have to be looked at because of it. All inside one transaction of the caller's.
//!
//! A copy is derived, never counted: it stands among the records of its own path with the path of the conflict as its
//! origin, and goes when the conflict that made it is another.

use std::collections::{BTreeMap, HashSet};

use rusqlite::Connection;
use zerok_core::{Kind, Record, Relation, Resolution, resolve};

use super::index::records::{self, Source, Stored, elide};
use super::index::{FolderRow, pending, split};
use crate::store::StoreError;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merged {
    /// The keeper, elided; its version is the join of all.
    pub(crate) record: Record,
    /// Where the keeper's contents stand in the log.
    pub(crate) source: Source,
    /// The copies that the path's conflict derives, elided.
    pub(crate) copies: Vec<Stored>,
}

/// What stands at a path; `None` if there are no records of it.
pub(crate) fn merged(
    connection: &Connection,
    folder: FolderRow,
    key: &str,
) -> Result<Option<Merged>, StoreError> {
    let held = records::of(connection, folder, key)?;
    if held.is_empty() {
        return Ok(None);
    }
    let live = needs_live(&held) && records::live_below(connection, folder, key)?;
    Ok(settle(&held, live, key))
}

/// Whether something lives below matters only to a path that is not simply a directory.
fn needs_live(held: &[Stored]) -> bool {
    !held.iter().all(|h| h.record.kind == Kind::Directory && !h.record.deleted)
}

fn settle(held: &[Stored], live: bool, key: &str) -> Option<Merged> {
    if let ([one], false) = (held, live) {
        return Some(Merged { record: one.record.clone(), source: one.source, copies: Vec::new() });
    }
    let Resolution { keeper, copies } = resolve(held.iter().map(|h| h.record.clone()), live)?;
    let same = |record: &Record| {
        held.iter()
            .find(|h| h.record.by == record.by && h.record.hlc == record.hlc && h.record.same_content(record))
    };
    // An implied directory has no record of its own and no contents to fetch.
    let source = same(&keeper).or(held.first())?.source;
    let copies = copies.into_iter().filter_map(|record| {
        let source =
            held.iter().find(|h| h.record.version == record.version && h.record.by == record.by)?.source;
        Some(Stored { record, source, origin: Some(key.to_owned()) })
    });
    Some(Merged { record: keeper, source, copies: copies.collect() })
}

/// Merges records into a folder's index and remembers what it touched.
pub(crate) struct Merge<'c> {
    connection: &'c Connection,
    folder: FolderRow,
    touched: BTreeMap<String, Option<Merged>>,
    plain: HashSet<String>,
    copies: Copies,
}

/// A path whose disk may differ from its records now.
#[derive(Debug, Clone)]
pub(crate) struct Touched {
    /// Its key.
    pub(crate) key: String,
    /// What its records say.
    pub(crate) merged: Option<Merged>,
}

/// Conflict copies that were derived, as (path, copy).
pub(crate) type Copies = Vec<(String, String)>;

/// Conflicts of conflict copies, of copies of copies …: nobody has more, and an attacker gets no further.
const MAX_DEPTH: u32 = 8;

impl<'c> Merge<'c> {
    /// Nothing merged yet.
    pub(crate) fn new(connection: &'c Connection, folder: FolderRow) -> Self {
        Self { connection, folder, touched: BTreeMap::new(), plain: HashSet::new(), copies: Vec::new() }
    }

    /// Takes in a record of the log. One that another dominates, or that is there already, changes nothing.
    ///
    /// # Errors
    /// The database.
    pub(crate) fn add(&mut self, record: &Record, source: Source) -> Result<(), StoreError> {
        let new = Stored { record: elide(record), source, origin: None };
        let key = record.path.key();
        let mut held = records::of(self.connection, self.folder, key)?;
        let older =
            |h: &Stored| h.origin.is_none() && record.version.relation(&h.record.version) == Relation::Newer;
        let newer = |h: &Stored| {
            h.record == new.record || h.record.version.relation(&record.version) == Relation::Newer
        };
        if held.iter().any(|h| h.origin.is_none() && newer(h)) {
            return Ok(());
        }
        for old in held.iter().filter(|h| older(h)) {
            records::remove(self.connection, self.folder, old)?;
        }
        records::put(self.connection, self.folder, &new)?;
        let had_records = !held.is_empty();
        held.retain(|h| !older(h));
        held.push(new);
        self.changed(key, &held, had_records, 0)
    }

    /// The records of a path changed; these are they.
    fn changed(&mut self, key: &str, held: &[Stored], had: bool, depth: u32) -> Result<(), StoreError> {
        self.plain.remove(key);
        self.derive(key, held, had, depth)?;
        self.ancestors(key, depth)
    }

    /// Derives the copies of a path's conflict anew.
    fn derive(&mut self, key: &str, held: &[Stored], had: bool, depth: u32) -> Result<(), StoreError> {
        let live = needs_live(held) && records::live_below(self.connection, self.folder, key)?;
        let merged = settle(held, live, key);
        let copies = merged.as_ref().map(|m| m.copies.clone()).unwrap_or_default();
        self.touched.insert(key.to_owned(), merged);
        if depth >= MAX_DEPTH {
            return Ok(());
        }
        let before = if had { records::derived_from(self.connection, self.folder, key)? } else { Vec::new() };
        for old in before.iter().filter(|old| !copies.contains(old)) {
            records::remove(self.connection, self.folder, old)?;
            let at = old.record.path.key();
            self.changed(at, &records::of(self.connection, self.folder, at)?, true, depth + 1)?;
        }
        for new in copies.iter().filter(|new| !before.contains(new)) {
            let at = new.record.path.key();
            records::put(self.connection, self.folder, new)?;
            self.copies.push((key.to_owned(), at.to_owned()));
            self.changed(at, &records::of(self.connection, self.folder, at)?, true, depth + 1)?;
        }
        Ok(())
    }

    /// What lives or no longer lives at a path may make its parents directories, or no longer.
    fn ancestors(&mut self, key: &str, depth: u32) -> Result<(), StoreError> {
        let mut at = split(key).0;
        while !at.is_empty() && !self.plain.contains(at) {
            let held = records::of(self.connection, self.folder, at)?;
            if needs_live(&held) {
                self.derive(at, &held, true, depth + 1)?;
            } else {
                self.plain.insert(at.to_owned());
            }
            at = split(at).0;
        }
        Ok(())
    }

    /// Lists every touched path as pending, except the ones that `settled` says are as they should be. Returns the
    /// listed paths, and the copies that were derived.
    ///
    /// # Errors
    /// The database.
    pub(crate) fn finish(
        self,
        settled: impl Fn(&str, Option<&Merged>) -> bool,
    ) -> Result<(Vec<Touched>, Copies), StoreError> {
        let touched = self.touched.into_iter().map(|(key, merged)| Touched { key, merged });
        let listed: Vec<Touched> = touched.filter(|t| !settled(&t.key, t.merged.as_ref())).collect();
        for path in &listed {
            pending::add(self.connection, self.folder, &path.key)?;
        }
        Ok((listed, self.copies))
    }
}
