//! Bringing records to the disk, a batch at a time.
//!
//! 1. The paths stand in `folder_pending`, with their records, since the transaction that took the records in.
//! 2. Contents are staged below `.zerok/tmp/` and synced together.
//! 3. Exchanges get an intent row each, in one transaction.
//! 4. Deletes, deepest first; then, from the top, directories, new files, exchanges, times and permissions.
//! 5. The directories that changed are synced.
//! 6. One transaction writes the rows as read back from disk and takes paths and intents off their lists.
//!
//! What a kill leaves behind: after 1 and 2 the list, and temporaries that the next start removes. After 3 and in the
//! midst of 4 some paths hold their new contents: looked at again, disk and records agree, and the row is adopted. A
//! thing displaced by an exchange and not yet moved to the versions stands under its intent's temporary with an inode
//! that is not the staged one; [`super::settle`] moves it on. After 5 the same, durable. After 6 nothing.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use zerok_core::reconcile::{Apply, Observed};
use zerok_core::{Content, ContentRef, Kind, Record};

use super::disk_path::DiskPath;
use super::elsewhere::Taken;
use super::engine::Engine;
use super::engine_error::EngineError;
use super::index::intents::{self, Intent};
use super::index::records::is_elided;
use super::index::{content, pending};
use super::place::{self, Placed};
use super::root::{DirFd, Dirs, make_dir};
use super::stage::{self, Batch, Look, sync_all};
use super::stat::{self, Stat};
use super::step::{Outcome, Step};
use super::trouble;
use super::work::{Case, Fresh, Note, ToApply, note_in, row_of};
use crate::clock;
use crate::store::StoreError;

/// Up to this many directories are synced one by one.
const FEW_DIRECTORIES: usize = 4;

impl Engine {
    /// Brings a batch of records to the disk.
    ///
    /// # Errors
    /// The database, or the disk as a whole; single paths that fail are noted and tried again.
    pub(crate) fn apply(
        &mut self,
        dirs: &mut Dirs<'_>,
        batch: Vec<ToApply>,
        fresh: &Fresh,
    ) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut notes = Vec::new();
        let mut steps = self.stage_all(batch, fresh, &mut notes)?;
        self.intend(&steps)?;
        let mut touched = BTreeSet::new();
        self.remove_all(dirs, &mut steps, &mut touched);
        self.place_all(dirs, &mut steps, &mut touched);
        self.sync_directories(dirs, &touched);
        self.write_back(steps, notes)
    }

    /// Step 2; what needs contents that are not here is sent for them and leaves the batch.
    fn stage_all(
        &mut self,
        batch: Vec<ToApply>,
        fresh: &Fresh,
        notes: &mut Vec<Note>,
    ) -> Result<Vec<Step>, EngineError> {
        let mut synced = Batch::default();
        let mut steps = Vec::with_capacity(batch.len());
        for (case, seen, apply) in batch {
            let Some(record) = case.merged.as_ref().map(|m| m.record.clone()).or_else(|| gone(&case)) else {
                continue;
            };
            let was = match seen.observed {
                Observed::Present(state) => Some(state),
                _ => None,
            };
            let mut step = Step {
                case,
                record,
                apply,
                was,
                before: seen.stat,
                tmp: None,
                staged: None,
                store: None,
                result: None,
            };
            let needs_content = !step.record.deleted && matches!(apply, Apply::Create | Apply::Replace);
            let staged = match &step.record.kind {
                Kind::File if needs_content => self.stage_file(&mut step, fresh, &mut synced, notes),
                Kind::Symlink { target } if needs_content => {
                    let target = target.clone();
                    self.stage_link(&mut step, &target).map(|()| true)
                }
                _ => Ok(true),
            };
            match staged {
                Ok(true) => {}
                Ok(false) => continue,
                Err(e) => step.result = Some(Err(e)),
            }
            if let Some(unused) = step.case.staged.take() {
                self.stage.discard(&unused.tmp);
            }
            steps.push(step);
        }
        let sync = if synced.is_empty() { Ok(()) } else { self.stage.sync(synced) };
        if let Err(e) = sync {
            for step in &mut steps {
                step.result = Some(Err(io::Error::from(e.kind())));
            }
        }
        Ok(steps)
    }

    /// True when the file is staged, false when its contents have to be fetched first.
    fn stage_file(
        &mut self,
        step: &mut Step,
        fresh: &Fresh,
        batch: &mut Batch,
        notes: &mut Vec<Note>,
    ) -> io::Result<bool> {
        let Content::Chunked(content) = step.record.content.clone() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let look = look(&step.record);
        let replaced = step.before.filter(|s| s.kind == stat::Kind::File);
        if let Some(staged) = step.case.staged.take() {
            if staged.hash == content.hash {
                let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(self.stage.dir(), &*staged.tmp, flags, Mode::empty())?;
                step.staged = Some(self.stage.finish(File::from(file), look, replaced.as_ref(), batch)?);
                (step.tmp, step.store) = (Some(staged.tmp), staged.store);
                return Ok(true);
            }
            self.stage.discard(&staged.tmp);
        }
        if !is_elided(&step.record) {
            return self.send_for(step, &content, notes).map(|()| false);
        }
        let bytes = match step.case.merged.as_ref().map(|m| m.source).filter(|_| content.size > 0) {
            None => bytes::Bytes::new(),
            Some(source) => match fresh.get(&source) {
                Some(bytes) => bytes.clone(),
                None => {
                    let grp = self.info.grp;
                    let read =
                        self.store.read_blocking(|connection| content::inline(connection, grp, source));
                    let read: Result<_, StoreError> = read;
                    read.ok().flatten().ok_or(io::ErrorKind::NotFound)?
                }
            },
        };
        let tmp = self.temporary();
        step.staged = Some(self.stage.write(&tmp, &bytes, look, replaced.as_ref(), batch)?);
        step.tmp = Some(tmp);
        Ok(true)
    }

    fn send_for(&mut self, step: &Step, content: &ContentRef, notes: &mut Vec<Note>) -> io::Result<()> {
        let (stage, path) = (&self.stage, &step.case.path);
        let taken = self.elsewhere.fetch(path, content, || stage.fetched(content, path.key()))?;
        if taken == Taken::Full {
            notes.push(Note::Later(step.case.path.key().to_owned()));
        }
        Ok(())
    }

    fn stage_link(&mut self, step: &mut Step, target: &str) -> io::Result<()> {
        let tmp = self.temporary();
        rustix::fs::symlinkat(target, self.stage.dir(), &*tmp)?;
        step.staged = Stat::of(self.stage.dir(), OsStr::new(&tmp))?;
        step.tmp = Some(tmp);
        Ok(())
    }

    /// Step 3.
    fn intend(&self, steps: &[Step]) -> Result<(), StoreError> {
        let intent = |step: &Step| {
            let tmp = step.tmp.clone().filter(|_| step.exchanges() && step.result.is_none())?;
            Some(Intent { tmp, key: step.case.path.key().to_owned(), inode: step.staged?.inode })
        };
        let intended: Vec<Intent> = steps.iter().filter_map(intent).collect();
        if intended.is_empty() {
            return Ok(());
        }
        let folder = self.info.row;
        self.store.write_blocking(move |connection| {
            intended.iter().try_for_each(|intent| intents::put(connection, folder, intent))
        })
    }

    /// Step 4, first half: what goes, the deepest first.
    fn remove_all(&self, dirs: &mut Dirs<'_>, steps: &mut [Step], touched: &mut BTreeSet<DiskPath>) {
        let mut leaving: Vec<&mut Step> =
            steps.iter_mut().filter(|s| s.result.is_none() && (s.deletes() || s.makes_way())).collect();
        leaving.sort_by(|a, b| b.case.path.key().cmp(a.case.path.key()));
        for step in leaving {
            let removed = step.remove(dirs);
            if matches!(removed, Ok(Outcome::Stands(None))) {
                touch(&step.case.at, touched);
                if step.makes_way() {
                    continue;
                }
            }
            step.result = Some(removed);
        }
    }

    /// Step 4, second half: what comes, from the top.
    fn place_all(&self, dirs: &mut Dirs<'_>, steps: &mut [Step], touched: &mut BTreeSet<DiskPath>) {
        let mut coming: Vec<&mut Step> = steps.iter_mut().filter(|s| s.result.is_none()).collect();
        coming.sort_by(|a, b| a.case.path.key().cmp(b.case.path.key()));
        for step in coming {
            let placed = self.place(dirs, step, touched);
            step.result = Some(placed);
        }
    }

    fn place(
        &self,
        dirs: &mut Dirs<'_>,
        step: &Step,
        touched: &mut BTreeSet<DiskPath>,
    ) -> io::Result<Outcome> {
        let at = &step.case.at;
        if step.apply == Apply::Metadata {
            return self.set_look(dirs, step);
        }
        let (parent, name) = at.split().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = self.parent(dirs, &parent, touched)?;
        if step.record.kind == Kind::Directory {
            let mode = self.stage.dir_mode(step.record.owner_only);
            make_dir(&*dir, name, mode)?;
            touch(at, touched);
            let stat = Stat::of(&*dir, name)?.ok_or(io::ErrorKind::NotFound)?;
            return Ok(Outcome::Stands(Some((step.state(&stat), stat))));
        }
        let (Some(tmp), Some(staged)) = (&step.tmp, step.staged) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        if step.exchanges() {
            let expected = step.before;
            let is_expected = |now: &Stat| expected.is_some_and(|before| before.same_content_as(now));
            let stage: DirFd = Arc::new(self.stage.dir().try_clone()?);
            if place::replace(dirs, &stage, tmp, at, clock::now_ms(), is_expected)? == Placed::Changed {
                return Ok(Outcome::Changed);
            }
        } else {
            match place::create(self.stage.dir(), tmp, &dir, name) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(Outcome::Changed),
                other => other?,
            }
        }
        touch(at, touched);
        Ok(Outcome::Stands(Some((step.state(&staged), staged))))
    }

    /// The directory that a path shall stand in, made with those above it where it is missing.
    fn parent(
        &self,
        dirs: &mut Dirs<'_>,
        parent: &DiskPath,
        touched: &mut BTreeSet<DiskPath>,
    ) -> io::Result<DirFd> {
        match dirs.open(parent) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let Some((above, name)) = parent.split() else { return Err(io::ErrorKind::NotFound.into()) };
        let dir = self.parent(dirs, &above, touched)?;
        make_dir(&*dir, name, self.stage.dir_mode(false))?;
        touch(parent, touched);
        dirs.open(parent)
    }

    /// Times and permissions of what stands there, if it is still what was seen.
    fn set_look(&self, dirs: &mut Dirs<'_>, step: &Step) -> io::Result<Outcome> {
        let at = &step.case.at;
        let (parent, name) = at.split().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = dirs.open(&parent)?;
        let fd = match step.record.kind {
            Kind::Directory => super::root::open_dir(&*dir, name)?,
            Kind::File => super::root::open_regular(&*dir, name)?.into(),
            Kind::Symlink { .. } => {
                let stat = Stat::of(&*dir, name)?.ok_or(io::ErrorKind::NotFound)?;
                return Ok(Outcome::Stands(Some((step.state(&stat), stat))));
            }
        };
        let now = Stat::of_open(&fd)?;
        if !step.before.is_some_and(|before| before.inode == now.inode && before.mtime_ns == now.mtime_ns) {
            return Ok(Outcome::Changed);
        }
        let mode = match step.record.kind {
            Kind::Directory if now.owner_only() != step.record.owner_only => {
                self.stage.dir_mode(step.record.owner_only)
            }
            Kind::Directory => now.mode,
            _ => self.stage.file_mode(look(&step.record), Some(&now)),
        };
        if mode != now.mode {
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        }
        if step.record.kind == Kind::File {
            rustix::fs::futimens(&fd, &stage::times(step.record.mtime_ns))?;
        }
        let stat = Stat::of_open(&fd)?;
        Ok(Outcome::Stands(Some((step.state(&stat), stat))))
    }

    /// Step 5. What cannot be synced is found again by the next scan: its path may be as before.
    fn sync_directories(&self, dirs: &mut Dirs<'_>, touched: &BTreeSet<DiskPath>) {
        let synced = if touched.len() <= FEW_DIRECTORIES {
            touched.iter().try_for_each(|at| Ok(rustix::fs::fsync(&*dirs.open(at)?)?))
        } else {
            sync_all(&*self.root)
        };
        if let Err(e) = synced {
            tracing::warn!(kind = %io::Error::kind(&e), "a directory could not be synced");
        }
    }

    /// Step 6.
    fn write_back(&mut self, steps: Vec<Step>, mut notes: Vec<Note>) -> Result<(), EngineError> {
        let mut stores = Vec::new();
        let mut settled = Vec::new();
        let (mut directories, mut copies) = (Vec::new(), Vec::new());
        for mut step in steps {
            let key = step.case.path.key().to_owned();
            match &step.record.kind {
                _ if step.record.deleted => {}
                Kind::Directory => directories.push(key.clone()),
                _ if key.contains(".sync-conflict-") => copies.push(key.clone()),
                _ => {}
            }
            settled.extend(step.tmp.clone().filter(|_| step.exchanges()));
            match step.result.take() {
                Some(Ok(Outcome::Stands(stands))) => {
                    self.tell_item(&step.case, stands.as_ref().map(|(_, stat)| stat.size));
                    let (state, stat) = stands.unzip();
                    let version = step.case.merged.as_ref().map(|m| m.record.version.clone());
                    notes.push(match version {
                        Some(version) => Note::Row(Box::new(row_of(&step.case, version, state, stat))),
                        None => Note::NoRow(key),
                    });
                    stores.extend(step.store.take());
                }
                Some(Ok(Outcome::NotEmpty)) => {
                    let version = step.record.version.clone();
                    notes.push(Note::Row(Box::new(row_of(
                        &step.case,
                        version,
                        step.was.clone(),
                        step.before,
                    ))));
                }
                Some(Ok(Outcome::Changed)) | None => {
                    self.abandon(&step);
                    notes.push(Note::Later(key));
                }
                Some(Err(e)) => {
                    self.abandon(&step);
                    notes.push(Note::Problem(trouble::disk(&key, &e)));
                    notes.push(Note::Later(key));
                }
            }
        }
        let folder = self.info.row;
        let known_problems = self.problem_paths.clone();
        for note in &notes {
            if let Note::Problem(problem) = note {
                self.problem_paths.insert(problem.path.clone());
            }
        }
        let woken: Result<usize, StoreError> = self.store.write_blocking(move |connection| {
            for note in &notes {
                note_in(connection, folder, &known_problems, note)?;
            }
            settled.iter().try_for_each(|tmp| intents::remove(connection, folder, tmp))?;
            stores.into_iter().try_for_each(|store| store(connection))?;
            let mut woken = 0;
            for directory in &directories {
                woken += pending::wake_below(connection, folder, directory)?;
            }
            for copy in &copies {
                woken += pending::wake_origin(connection, folder, copy)?;
            }
            Ok(woken)
        });
        if woken? > 0 {
            self.look_again();
        }
        Ok(())
    }

    /// A temporary that did not come into place. What stands under its name and is not what was staged was displaced
    /// by an exchange that was taken back: somebody wrote to it in between, so it is kept.
    fn abandon(&self, step: &Step) {
        let (Some(tmp), Some(staged)) = (&step.tmp, &step.staged) else { return };
        match Stat::of(self.stage.dir(), OsStr::new(tmp)) {
            Ok(Some(now)) if now.same_content_as(staged) => self.stage.discard(tmp),
            Ok(Some(_)) => self.keep_displaced(tmp, &step.case.at),
            _ => {}
        }
    }

    /// Moves a temporary to the versions of a path.
    pub(crate) fn keep_displaced(&self, tmp: &str, at: &DiskPath) {
        let kept = self.stage.dir().try_clone().and_then(|stage| {
            let dirs = Dirs::new(&self.root);
            super::versions::keep(&dirs, &Arc::new(stage), OsStr::new(tmp), at, clock::now_ms())
        });
        if let Err(e) = kept {
            tracing::warn!(kind = %e.kind(), "a displaced file stays among the temporaries");
        }
    }
}

fn look(record: &Record) -> Look {
    Look { mtime_ns: record.mtime_ns, executable: record.executable, owner_only: record.owner_only }
}

/// Notes that the directory of a path changed.
fn touch(at: &DiskPath, touched: &mut BTreeSet<DiskPath>) {
    touched.extend(at.split().map(|(parent, _)| parent));
}

/// A record that left the merge: what stands there goes.
fn gone(case: &Case) -> Option<Record> {
    let row = case.row.as_ref()?;
    let state = row.row.state.as_ref()?;
    Some(Record {
        path: case.path.clone(),
        kind: state.kind.clone(),
        size: 0,
        mtime_ns: 0,
        executable: false,
        owner_only: false,
        content: Content::None,
        deleted: true,
        version: row.row.version.clone(),
        by: zerok_protocol::ChainId([0; 16]),
        hlc: zerok_core::Hlc(0),
    })
}

/// Paths that have problems, to know which have to be cleared.
pub(crate) type ProblemPaths = HashSet<String>;
