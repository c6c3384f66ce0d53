//! Looking at paths and doing what [`reconcile`] says: the one way in which anything changes, whether a scan, an event, a
//! record from elsewhere or a finished transfer brought the path here.
//!
//! Everything that only changes the index and the log is one transaction for the whole batch; what changes the disk
//! is handed to [`super::apply`].

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use zerok_core::reconcile::{Action, Apply, DiskState, Observed, Row, reconcile};
use zerok_core::{Kind, RelPath};
use zerok_protocol::Hash;

use super::contents::Ingested;
use super::disk_path::DiskPath;
use super::elsewhere::{Staged, Taken};
use super::engine::Engine;
use super::engine_error::EngineError;
use super::ignore;
use super::index::problems::FolderProblem;
use super::index::records::{self, Source};
use super::index::rows::{self, PathRow};
use super::index::{pending, problems, split};
use super::merge::{self, Merged};
use super::observe::{Hashed, Seen, Trouble, observe};
use super::root::Dirs;
use super::stat::{self, Stat, now_ns};
use super::trouble;
use crate::clock;
use crate::store::StoreError;

/// A path to look at, with what is known already.
pub(crate) struct Item {
    /// The path's key.
    pub(crate) key: String,
    /// The path as this disk spells it, if a scan or an event brought it.
    pub(crate) path: Option<RelPath>,
    /// What its records say, if they were just merged.
    pub(crate) merged: Option<Option<Merged>>,
    /// Its contents' hash, if that was found out elsewhere.
    pub(crate) hashed: Option<Hashed>,
    /// Its chunks, if it was cut elsewhere.
    pub(crate) ingested: Option<Ingested>,
    /// A temporary with the contents that it shall get.
    pub(crate) staged: Option<Staged>,
    /// It stands in the pending list.
    pub(crate) listed: bool,
}

impl Item {
    /// Nothing is known but the key.
    pub(crate) fn key(key: String) -> Self {
        Self { key, path: None, merged: None, hashed: None, ingested: None, staged: None, listed: false }
    }

    /// Found on this disk.
    pub(crate) fn found(path: RelPath) -> Self {
        Self { path: Some(path.clone()), ..Self::key(path.key().to_owned()) }
    }
}

/// A path with everything that the index says of it.
pub(crate) struct Case {
    /// Key and this disk's spelling.
    pub(crate) path: RelPath,
    /// The same for the system.
    pub(crate) at: DiskPath,
    /// What the disk held last.
    pub(crate) row: Option<PathRow>,
    /// What its records say.
    pub(crate) merged: Option<Merged>,
    /// A directory only because something lives below.
    implied: bool,
    /// See [`Item`].
    pub(crate) hashed: Option<Hashed>,
    /// See [`Item`].
    pub(crate) ingested: Option<Ingested>,
    /// See [`Item`].
    pub(crate) staged: Option<Staged>,
    listed: bool,
}

/// A change of the index that needs no record.
pub(crate) enum Note {
    /// The path is as it should be.
    Settled(String),
    /// And its row is this.
    Row(Box<PathRow>),
    /// And it has no row.
    NoRow(String),
    /// It does not work now; again later.
    Later(String),
    /// Something stands in its way.
    Problem(FolderProblem),
}

/// Contents of records that were just read from the log, by where they stand there.
pub(crate) type Fresh = HashMap<Source, Bytes>;

/// How long a file that changes is left alone.
const REST: Duration = Duration::from_millis(250);

impl Engine {
    /// Looks at paths and does what has to be done.
    ///
    /// # Errors
    /// The database, or the folder as a whole.
    pub(crate) fn work(&mut self, items: Vec<Item>, fresh: &Fresh) -> Result<(), EngineError> {
        if items.is_empty() {
            return Ok(());
        }
        let cases = self.load(items)?;
        let root = self.root.clone();
        let mut dirs = Dirs::new(&root);
        let (mut notes, mut logs, mut applies) = (Vec::new(), Vec::new(), Vec::new());
        let mut rules_changed = false;
        for mut case in cases {
            let seen =
                observe(&mut dirs, &mut self.ignores, &case.at, case.row.as_ref(), case.hashed.as_ref());
            let row = case.row.as_ref().map(|r| &r.row);
            let action = match (&seen.observed, &case) {
                // Made on the way to something below it; its own record may still come.
                (Observed::Present(d), Case { row: None, merged: None, implied: true, .. })
                    if d.kind == Kind::Directory =>
                {
                    Action::Nothing
                }
                _ => reconcile(row, &seen.observed, case.merged.as_ref().map(|m| &m.record)),
            };
            if !matches!(action, Action::Apply(_))
                && let Some(unused) = case.staged.take()
            {
                self.stage.discard(&unused.tmp);
            }
            rules_changed |=
                case.path.name() == ignore::FILE && matches!(action, Action::Log { .. } | Action::Apply(_));
            match action {
                Action::Nothing => notes.extend(self.nothing(&case, &seen)),
                Action::Adopt => notes.push(adopt(&case, &seen)),
                Action::Wait | Action::Blocked => self.cannot(&case, &seen, &mut notes),
                Action::Log { change, base } => match self.change(&mut dirs, case, seen, change, base) {
                    Ok(log) => logs.push(log),
                    Err(note) => notes.extend(note),
                },
                Action::Apply(apply) => applies.push((case, seen, apply)),
            }
        }
        let applies = self.in_order(applies, &mut notes)?;
        self.log(logs, notes)?;
        self.apply(&mut dirs, applies, fresh)?;
        if rules_changed { self.rules_changed() } else { Ok(()) }
    }

    /// Puts off what would take contents away that another path still wants: a large file that is gone here and new
    /// elsewhere (a move), or that shall become a conflict copy. They are nearer on this disk than anywhere.
    fn in_order(&self, applies: Vec<ToApply>, notes: &mut Vec<Note>) -> Result<Vec<ToApply>, StoreError> {
        let wants = |(case, _, apply): &ToApply| {
            let record = case.merged.as_ref().map(|m| &m.record).filter(|r| !records::is_elided(r))?;
            (*apply == Apply::Create && case.staged.is_none()).then(|| record.content_hash()).flatten()
        };
        let wanted: HashSet<Hash> = applies.iter().filter_map(wants).collect();
        let mut kept = Vec::with_capacity(applies.len());
        for (mut case, seen, apply) in applies {
            let here = case.row.as_ref().and_then(|row| row.row.state.as_ref()).and_then(|state| state.hash);
            let takes_away = matches!(apply, Apply::Delete | Apply::Replace);
            let needed = match here.filter(|_| takes_away) {
                Some(hash) => wanted.contains(&hash) || self.copy_wants(&case, hash)?,
                None => false,
            };
            if needed {
                if let Some(unused) = case.staged.take() {
                    self.stage.discard(&unused.tmp);
                }
                notes.push(Note::Later(case.path.key().to_owned()));
            } else {
                kept.push((case, seen, apply));
            }
        }
        Ok(kept)
    }

    /// Is a copy of the path's conflict still to be made of these contents?
    fn copy_wants(&self, case: &Case, hash: Hash) -> Result<bool, StoreError> {
        let copies = case.merged.iter().flat_map(|m| &m.copies);
        let wanting =
            copies.filter(|c| !records::is_elided(&c.record) && c.record.content_hash() == Some(hash));
        let keys: Vec<&str> = wanting.map(|copy| copy.record.path.key()).collect();
        if keys.is_empty() {
            return Ok(false);
        }
        let folder = self.info.row;
        self.store.read_blocking(|connection| {
            for key in keys {
                if pending::has(connection, folder, key)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn load(&self, items: Vec<Item>) -> Result<Vec<Case>, StoreError> {
        let folder = self.info.row;
        self.store.read_blocking(|connection| {
            let mut cases = Vec::with_capacity(items.len());
            for item in items {
                let row = rows::get(connection, folder, &item.key)?;
                let merged = match item.merged {
                    Some(merged) => merged,
                    None => merge::merged(connection, folder, &item.key)?,
                };
                let implied =
                    row.is_none() && merged.is_none() && records::live_below(connection, folder, &item.key)?;
                let path = match item.path.or_else(|| row.as_ref().map(|r| r.path.clone())) {
                    Some(path) => path,
                    None => self.spell(connection, &item.key, merged.as_ref())?,
                };
                let Ok(at) = DiskPath::of(&path) else { continue };
                let Item { hashed, ingested, staged, listed, .. } = item;
                cases.push(Case { path, at, row, merged, implied, hashed, ingested, staged, listed });
            }
            Ok(cases)
        })
    }

    /// How this disk would spell a path that is not on it: its directory as it is here, its name as its author has it.
    fn spell(
        &self,
        connection: &rusqlite::Connection,
        key: &str,
        merged: Option<&Merged>,
    ) -> Result<RelPath, StoreError> {
        const DAMAGED: StoreError = StoreError::Damaged("a folder's path");
        let plain = RelPath::with_original(key, None).map_err(|_| DAMAGED)?;
        if key.is_ascii() {
            return Ok(plain);
        }
        let (parent, name) = split(key);
        let directory = rows::get(connection, self.info.row, parent)?.map(|row| row.path);
        let name = merged.map_or(name, |m| split(m.record.path.on_disk()).1);
        let spelled = match directory {
            Some(directory) => directory.join(name.as_bytes()),
            None => RelPath::parse(super::index::join(parent, name).as_bytes()),
        };
        Ok(spelled.ok().filter(|path| path.key() == key).unwrap_or(plain))
    }

    /// The path is as it should be; its stat may have moved.
    fn nothing(&mut self, case: &Case, seen: &Seen) -> Option<Note> {
        let key = case.path.key();
        if let Some(trouble) = seen.trouble {
            return trouble::seen(key, trouble).map(Note::Problem);
        }
        let moved = match (&case.row, seen.stat, &seen.observed) {
            (Some(row), Some(stat), Observed::Present(state)) if row.row.state.is_some() => {
                let same = row.stat == Stat { ctime_ns: 0, ..stat } && row.racy == stat.is_racy(now_ns());
                (!same).then(|| row_of(case, row.row.version.clone(), Some(state.clone()), Some(stat)))
            }
            _ => None,
        };
        match moved {
            Some(row) => Some(Note::Row(Box::new(row))),
            None if case.listed || self.problem_paths.contains(key) => Some(Note::Settled(key.to_owned())),
            None => None,
        }
    }

    /// Leaves a file that changes alone for a while.
    pub(crate) fn rest(&mut self, path: RelPath) {
        self.resting.push((Instant::now() + REST, path));
    }

    /// Nothing can be said or done now.
    fn cannot(&mut self, case: &Case, seen: &Seen, notes: &mut Vec<Note>) {
        let key = case.path.key();
        match seen.trouble {
            Some(Trouble::Large) => {
                let cut = must_be_cut(case, seen);
                let taken = self.elsewhere.hash(&case.path, &case.at, cut);
                if taken == Taken::Full {
                    notes.push(Note::Later(key.to_owned()));
                }
            }
            Some(Trouble::Changing) => self.rest(case.path.clone()),
            Some(other) => {
                notes.extend(trouble::seen(key, other).map(Note::Problem));
                if case.merged.is_some() {
                    notes.push(Note::Later(key.to_owned()));
                }
            }
            None => {
                notes.push(Note::Problem(trouble::blocked(key)));
                notes.push(Note::Later(key.to_owned()));
            }
        }
    }
}

/// A large file is cut at once when it is new or changed; when it may well be what the records say, its hash tells
/// first.
fn must_be_cut(case: &Case, seen: &Seen) -> bool {
    let Some(stat) = &seen.stat else { return true };
    let only_racy = case.row.as_ref().is_some_and(|row| row.stat.same_content_as(stat));
    let may_adopt = case.row.is_none()
        && case.merged.as_ref().is_some_and(|m| !m.record.deleted && m.record.size == stat.size);
    !only_racy && !may_adopt
}

/// Writes a note.
pub(crate) fn note_in(
    connection: &rusqlite::Connection,
    folder: super::index::FolderRow,
    known_problems: &HashSet<String>,
    note: &Note,
) -> Result<(), StoreError> {
    let settled = |key: &str| {
        if known_problems.contains(key) {
            problems::clear(connection, folder, key)?;
        }
        pending::done(connection, folder, key)
    };
    match note {
        Note::Settled(key) => settled(key),
        Note::Row(row) => {
            rows::put(connection, folder, row)?;
            settled(row.path.key())
        }
        Note::NoRow(key) => {
            rows::remove(connection, folder, key)?;
            settled(key)
        }
        Note::Later(key) => pending::again_later(connection, folder, key, clock::now_ms()),
        Note::Problem(problem) => problems::put(connection, folder, problem),
    }
}

/// The disk is as the records say.
fn adopt(case: &Case, seen: &Seen) -> Note {
    let Some(merged) = &case.merged else { return Note::NoRow(case.path.key().to_owned()) };
    let state = match &seen.observed {
        Observed::Present(state) => Some(state.clone()),
        _ => None,
    };
    Note::Row(Box::new(row_of(case, merged.record.version.clone(), state, seen.stat)))
}

/// The row that says so.
pub(crate) fn row_of(
    case: &Case,
    version: zerok_core::Version,
    state: Option<DiskState>,
    stat: Option<Stat>,
) -> PathRow {
    const ABSENT: Stat =
        Stat { kind: stat::Kind::Other, size: 0, mtime_ns: 0, ctime_ns: 0, inode: 0, device: 0, mode: 0 };
    let stat = stat.filter(|_| state.is_some()).map_or(ABSENT, |s| Stat { ctime_ns: 0, ..s });
    let racy = state.is_some() && stat.is_racy(now_ns());
    PathRow { path: case.path.clone(), row: Row { version, state }, stat, racy }
}

/// What is to be done to the disk: the case, what was seen, and how.
pub(crate) type ToApply = (Case, Seen, Apply);
