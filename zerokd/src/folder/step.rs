//! One path of a batch that is brought to the disk.

use std::io;

use zerok_core::reconcile::{Apply, DiskState};
use zerok_core::{Kind, Record};

use super::contents::InTransaction;
use super::place::{self, Placed};
use super::root::Dirs;
use super::stat::Stat;
use super::work::Case;
use crate::clock;

/// One path on its way.
pub(crate) struct Step {
    pub(crate) case: Case,
    pub(crate) record: Record,
    pub(crate) apply: Apply,
    pub(crate) before: Option<Stat>,
    pub(crate) was: Option<DiskState>,
    pub(crate) tmp: Option<String>,
    pub(crate) staged: Option<Stat>,
    pub(crate) store: Option<InTransaction>,
    pub(crate) result: Option<Result<Outcome, io::Error>>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// This stands there now; `None`: nothing.
    Stands(Option<(DiskState, Stat)>),
    /// Somebody changed it meanwhile: to be looked at again.
    Changed,
    /// A directory with something in it that is not synced: it stays, and is looked at when that changes.
    NotEmpty,
}

impl Step {
    pub(crate) fn deletes(&self) -> bool {
        self.apply == Apply::Delete || (self.record.deleted && self.apply != Apply::Create)
    }

    /// Does what is there stand in another way than an exchange can settle?
    pub(crate) fn makes_way(&self) -> bool {
        let dir = |kind: &Kind| *kind == Kind::Directory;
        self.apply == Apply::Replace
            && !self.record.deleted
            && self.was.as_ref().is_some_and(|was| dir(&was.kind) != dir(&self.record.kind))
    }

    /// Is it exchanged with what is there?
    pub(crate) fn exchanges(&self) -> bool {
        self.apply == Apply::Replace
            && !self.makes_way()
            && !self.deletes()
            && self.record.kind != Kind::Directory
    }

    pub(crate) fn remove(&self, dirs: &mut Dirs<'_>) -> io::Result<Outcome> {
        let at = &self.case.at;
        let is_dir = self.was.as_ref().is_some_and(|was| was.kind == Kind::Directory);
        if is_dir {
            return match place::remove_dir(dirs, at) {
                Ok(()) => Ok(Outcome::Stands(None)),
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty && self.deletes() => {
                    Ok(Outcome::NotEmpty)
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Outcome::Stands(None)),
                Err(e) => Err(e),
            };
        }
        let expected = |now: &Stat| self.before.is_some_and(|before| before.same_content_as(now));
        match place::remove(dirs, at, clock::now_ms(), expected) {
            Ok(Placed::Done) => Ok(Outcome::Stands(None)),
            Ok(Placed::Changed) => Ok(Outcome::Changed),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Outcome::Stands(None)),
            Err(e) => Err(e),
        }
    }

    /// The state that the row gets: the record's contents, the rest as it was read back.
    pub(crate) fn state(&self, stat: &Stat) -> DiskState {
        DiskState {
            kind: self.record.kind.clone(),
            size: self.record.size,
            mtime_ns: stat.mtime_ns,
            executable: stat.executable(),
            owner_only: stat.owner_only(),
            hash: self.record.content_hash(),
        }
    }
}
