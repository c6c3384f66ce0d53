//! A change made on this disk becomes a record: with its contents, on top of what it had seen, and with a record for
//! each copy of a conflict that it settles.

use rusqlite::Connection;
use zerok_core::reconcile::{Change, DiskState, Observed};
use zerok_core::{Content, ContentRef, Hlc, INLINE_MAX, Kind, Record, Version};
use zerok_protocol::ChainId;

use super::contents::Ingested;
use super::elsewhere::{Taken, ingest};
use super::engine::Engine;
use super::engine_error::EngineError;
use super::index::records::{self, Source, Stored, is_elided};
use super::index::rows::{self, PathRow};
use super::index::{content, folders, problems};
use super::merge::{Copies, Merge, merged};
use super::observe::{self, HASH_HERE, Seen};
use super::root::Dirs;
use super::trouble;
use super::work::{Case, Note, note_in, row_of};
use crate::clock;
use crate::store::StoreError;
use crate::store::log::{self, NewEntry};

/// A change that is ready to be logged.
pub(crate) struct Log {
    row: PathRow,
    change: Change,
    base: Version,
    content: Content,
    ingested: Option<Ingested>,
    copies: Vec<Stored>,
}

impl Engine {
    /// Gets the contents of a change ready; else says what is to be noted instead.
    pub(crate) fn change(
        &mut self,
        dirs: &mut Dirs<'_>,
        mut case: Case,
        seen: Seen,
        change: Change,
        base: Version,
    ) -> Result<Log, Vec<Note>> {
        let state = match &seen.observed {
            Observed::Present(state) => Some(state.clone()),
            _ => None,
        };
        let (content, ingested) = match &state {
            Some(state) if state.kind == Kind::File => self.content_of(dirs, &mut case, &seen, state)?,
            _ => (Content::None, None),
        };
        let copies = case.merged.as_mut().map(|m| std::mem::take(&mut m.copies)).unwrap_or_default();
        let row = row_of(&case, base.clone(), state, seen.stat);
        // A tombstone keeps the kind of what is gone.
        Ok(Log { row, change, base, content, ingested, copies })
    }

    fn content_of(
        &mut self,
        dirs: &mut Dirs<'_>,
        case: &mut Case,
        seen: &Seen,
        state: &DiskState,
    ) -> Result<(Content, Option<Ingested>), Vec<Note>> {
        if usize::try_from(state.size).is_ok_and(|size| size <= INLINE_MAX) {
            return self.inline_of(dirs, case, seen, state).map(|content| (content, None));
        }
        if let Some(known) = self.chunked_already(case, state) {
            return Ok((Content::Chunked(known), None));
        }
        let key = case.path.key().to_owned();
        let ingested = match case.ingested.take().filter(|i| Some(i.content.hash) == state.hash) {
            Some(ingested) => ingested,
            None if state.size <= HASH_HERE => {
                let open = dirs.root().open_file(dirs, &case.at);
                let done = open.and_then(|file| ingest(&file, &**self.elsewhere.contents()));
                match done {
                    Ok(Some((hashed, ingested))) if Some(hashed.hash) == state.hash => ingested,
                    Ok(_) => return Err(self.changing(case)),
                    Err(e) => return Err(vec![Note::Problem(trouble::disk(&key, &e)), Note::Later(key)]),
                }
            }
            None => {
                let taken = self.elsewhere.hash(&case.path, &case.at, true);
                return Err(if taken == Taken::Full { vec![Note::Later(key)] } else { Vec::new() });
            }
        };
        Ok((Content::Chunked(ingested.content.clone()), Some(ingested)))
    }

    /// Small contents: as they were read, or read now.
    fn inline_of(
        &mut self,
        dirs: &mut Dirs<'_>,
        case: &Case,
        seen: &Seen,
        state: &DiskState,
    ) -> Result<Content, Vec<Note>> {
        if let Some(bytes) = &seen.inline {
            return Ok(Content::Inline(bytes.clone()));
        }
        let read = dirs.root().open_file(dirs, &case.at).and_then(|mut file| observe::hash(&mut file));
        match read {
            Ok(Some(hashed)) if Some(hashed.hash) == state.hash => {
                hashed.inline.map(Content::Inline).ok_or_else(|| self.changing(case))
            }
            Ok(_) => Err(self.changing(case)),
            Err(e) => {
                let key = case.path.key().to_owned();
                Err(vec![Note::Problem(trouble::disk(&key, &e)), Note::Later(key)])
            }
        }
    }

    fn changing(&mut self, case: &Case) -> Vec<Note> {
        self.rest(case.path.clone());
        Vec::new()
    }

    /// Chunks that hold these contents already: of the path's own record, or of another path's (a move or a copy).
    fn chunked_already(&self, case: &Case, state: &DiskState) -> Option<ContentRef> {
        let holds = |record: &Record| match &record.content {
            Content::Chunked(known) if Some(known.hash) == state.hash && !is_elided(record) => {
                Some(known.clone())
            }
            _ => None,
        };
        let here = case
            .merged
            .as_ref()
            .and_then(|m| holds(&m.record).or_else(|| m.copies.iter().find_map(|copy| holds(&copy.record))));
        here.or_else(|| {
            let hash = state.hash?;
            let folder = self.info.row;
            let known = self.store.read_blocking(|connection| {
                for row in rows::with_content(connection, folder, &hash)? {
                    let stored = records::of(connection, folder, row.path.key())?;
                    if let Some(known) = stored.iter().find_map(|s| holds(&s.record)) {
                        return Ok(Some(known));
                    }
                }
                Ok::<_, StoreError>(None)
            });
            known.ok().flatten()
        })
    }

    /// Logs changes and writes notes, all in one transaction. What else that touches stands in the pending list
    /// then.
    ///
    /// # Errors
    /// The database: then nothing is logged, and the next scan finds the same changes.
    pub(crate) fn log(&mut self, logs: Vec<Log>, notes: Vec<Note>) -> Result<(), EngineError> {
        if logs.is_empty() && notes.is_empty() {
            return Ok(());
        }
        let (folder, grp, channel) = (self.info.row, self.info.grp, self.info.id.channel());
        let (known_problems, read) = (self.problem_paths.clone(), self.read);
        for note in &notes {
            if let Note::Problem(problem) = note {
                self.problem_paths.insert(problem.path.clone());
            }
        }
        let (logged, ingested) = (logs.len(), logs.iter().any(|log| log.ingested.is_some()));
        let (copies, read) = self.store.write_blocking(move |connection| {
            for note in &notes {
                note_in(connection, folder, &known_problems, note)?;
            }
            let mut writer = Writer::new(connection, folder, grp, channel)?;
            for log in logs {
                writer.add(log)?;
            }
            writer.finish(read)
        })?;
        self.read = read;
        if ingested {
            self.elsewhere.contents().committed();
        }
        self.tell_copies(&copies);
        self.told.logged += logged;
        Ok(())
    }
}

/// Turns changes into records, entries and rows, inside a transaction.
struct Writer<'c> {
    connection: &'c Connection,
    folder: super::index::FolderRow,
    grp: log::GroupRow,
    channel: String,
    chain: ChainId,
    hlc: Hlc,
    records: Vec<Record>,
    rows: Vec<PathRow>,
}

impl<'c> Writer<'c> {
    fn new(
        connection: &'c Connection,
        folder: super::index::FolderRow,
        grp: log::GroupRow,
        channel: String,
    ) -> Result<Self, StoreError> {
        let chain = log::own_chain(connection, grp)?.chain;
        let hlc = log::tick(connection, grp, clock::now_ms())?;
        Ok(Self { connection, folder, grp, channel, chain, hlc, records: Vec::new(), rows: Vec::new() })
    }

    fn add(&mut self, log: Log) -> Result<(), StoreError> {
        let Log { mut row, change, base, content, ingested, copies } = log;
        let held = merged(self.connection, self.folder, row.path.key())?;
        let none = Version::new();
        let seen = held.as_ref().map_or(&none, |m| &m.record.version);
        let (version, by) = base.after(seen, self.chain, ChainId(clock::random()));
        row.row.version = version.clone();
        let record = match (&row.row.state, held) {
            (Some(state), _) if change != Change::Deleted => Record {
                path: row.path.clone(),
                kind: state.kind.clone(),
                size: state.size,
                mtime_ns: state.mtime_ns,
                executable: state.executable,
                owner_only: state.owner_only && !matches!(state.kind, Kind::Symlink { .. }),
                content,
                deleted: false,
                version,
                by,
                hlc: self.hlc,
            },
            (_, Some(of)) => Record::tombstone(&of.record, version, by, self.hlc, super::stat::now_ns()),
            // There is no record of it anywhere, so nothing has to be deleted.
            (_, None) => return rows::remove(self.connection, self.folder, row.path.key()),
        };
        if let Err(e) = record.check() {
            // The disk can hold what a record cannot.
            let hint = "make it smaller or name it in .zerokignore";
            let problem = trouble::problem(record.path.key(), "unsyncable", e.to_string(), hint);
            return problems::put(self.connection, self.folder, &problem);
        }
        if let Some(ingested) = ingested {
            (ingested.store)(self.connection)?;
        }
        for copy in copies.into_iter().filter(|copy| record.version.dominates(&copy.record.version)) {
            if let Some(record) = self.whole(copy)? {
                self.records.push(record);
            }
        }
        self.records.push(record);
        self.rows.push(row);
        Ok(())
    }

    /// A derived copy as a record of the log, with its contents; `None` if the log has lost them.
    fn whole(&self, copy: Stored) -> Result<Option<Record>, StoreError> {
        if !is_elided(&copy.record) {
            return Ok(Some(copy.record));
        }
        let bytes = content::inline(self.connection, self.grp, copy.source)?;
        Ok(bytes.map(|bytes| Record { content: Content::Inline(bytes), ..copy.record }))
    }

    fn finish(self, read: u64) -> Result<(Copies, u64), StoreError> {
        let entries: Vec<NewEntry> = self.records.iter().map(|record| self.entry(record)).collect();
        let mut merge = Merge::new(self.connection, self.folder);
        if entries.is_empty() {
            return Ok((Vec::new(), read));
        }
        let appended = log::append(self.connection, self.grp, &entries, clock::now_ms())?;
        for (record, at) in self.records.iter().zip(&appended) {
            merge.add(record, Source { chain: self.chain, n: at.n })?;
        }
        for row in &self.rows {
            rows::put(self.connection, self.folder, row)?;
            super::index::pending::done(self.connection, self.folder, row.path.key())?;
        }
        let logged: std::collections::HashMap<&str, &PathRow> =
            self.rows.iter().map(|row| (row.path.key(), row)).collect();
        let (_, copies) = merge.finish(|key, merged| {
            let Some(row) = logged.get(key) else { return false };
            merged.is_some_and(|m| {
                m.record.version == row.row.version && m.record.deleted == row.row.state.is_none()
            })
        })?;
        // Own records need not be read back when nothing stands between them and what was read.
        let read = match (appended.first(), appended.last()) {
            (Some(first), Some(last)) if first.pos == read + 1 => last.pos,
            _ => read,
        };
        folders::set_read_position(self.connection, self.folder, read)?;
        Ok((copies, read))
    }

    fn entry(&self, record: &Record) -> NewEntry {
        let refs = match &record.content {
            Content::Chunked(content) => vec![content.clone()],
            _ => Vec::new(),
        };
        let key = Some(record.path.key().to_owned());
        NewEntry { channel: self.channel.clone(), key, refs, body: record.to_bytes() }
    }
}
