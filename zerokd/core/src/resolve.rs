//! What a path holds, given every record of it that no other dominates. Pure, and the same on every device whatever
//! the order in which the records came: no counter moves, nobody has to be asked.

use std::cmp::Ordering;

use crate::record::{Content, Kind, Record};
use crate::version::Relation;

/// A clock that runs ahead wins by at most so much.
const MTIME_AHEAD_NS: i128 = 86_400 * 1_000_000_000;
const NS_PER_MS: i128 = 1_000_000;

/// What a path holds, and what has to move aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// What stands at the path. Its version is the join of all, so it is for reading and as a base, never to be
    /// logged as it is: it would dominate the copies' records.
    pub keeper: Record,
    /// The other contents, each under its conflict name and with its own version. At that name they are records
    /// among those that were logged there: what it holds is `resolve` of both.
    pub copies: Vec<Record>,
}

/// Resolves the records of one path; dominated ones among them change nothing. `None` without any record.
///
/// With `live_children` something below the path is alive: then it is a directory, whatever its own records say (a
/// child beats the delete of its parent), and a live file among them becomes a copy.
#[must_use]
pub fn resolve(records: impl IntoIterator<Item = Record>, live_children: bool) -> Option<Resolution> {
    let mut records = undominated(records);
    records.sort_by(|a, b| rank(b, a));
    let version = records.iter().map(|r| &r.version).fold(None, |joined, version| match joined {
        None => Some(version.clone()),
        Some(joined) => Some(version.join(&joined)),
    })?;
    let mut keeper = records.first()?.clone();
    if live_children && !is_live_directory(&keeper) {
        keeper = implied_directory(keeper);
    }
    keeper.version = version;
    let mut copies: Vec<Record> = Vec::new();
    for loser in records {
        let known = std::iter::once(&keeper).chain(&copies).any(|r| r.same_content(&loser));
        if !loser.deleted && !known {
            let path = loser.path.conflict_copy(loser.mtime_ns, &loser.by);
            copies.push(Record { path, ..loser });
        }
    }
    Some(Resolution { keeper, copies })
}

/// The records that no other one dominates, each once: what retention keeps of a path.
#[must_use]
pub fn undominated(records: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let mut kept: Vec<Record> = Vec::new();
    for record in records {
        let older = |r: &Record| r.version.relation(&record.version) == Relation::Newer || *r == record;
        if !kept.iter().any(older) {
            kept.retain(|r| record.version.relation(&r.version) != Relation::Newer);
            kept.push(record);
        }
    }
    kept
}

fn is_live_directory(record: &Record) -> bool {
    !record.deleted && record.kind == Kind::Directory
}

/// The directory that must be there because something lives below it.
fn implied_directory(of: Record) -> Record {
    Record {
        kind: Kind::Directory,
        size: 0,
        executable: false,
        owner_only: false,
        content: Content::None,
        deleted: false,
        ..of
    }
}

/// The order in which records keep their path: an edit beats a delete, a directory beats a file, then the later
/// change, then the author. The rest only makes the order total.
fn rank(a: &Record, b: &Record) -> Ordering {
    let key = |r: &Record| (!r.deleted, is_live_directory(r), clamped_mtime(r), r.by, r.hlc.0);
    key(a).cmp(&key(b)).then_with(|| a.to_bytes().cmp(&b.to_bytes()))
}

/// The time of the change, not later than the author's own clock and a day.
fn clamped_mtime(record: &Record) -> i128 {
    let clock = i128::from(record.hlc.millis()) * NS_PER_MS;
    i128::from(record.mtime_ns).min(clock + MTIME_AHEAD_NS)
}

#[cfg(test)]
mod tests;
