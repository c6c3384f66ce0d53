//! One folder's thread: it owns the folder's index and disk, and does one thing at a time: take in records, look at
//! what was reported, go on with a scan, bring pending paths to the disk. So nothing here races with anything but the
//! world outside, and the world outside is looked at after each step that matters.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use zerok_client::types::FolderState;
use zerok_core::{Content, Record, RelPath};
use zerok_protocol::{ChainId, DeviceId};

use super::apply::ProblemPaths;
use super::contents::{Contents, Unfetched};
use super::disk_path::DiskPath;
use super::elsewhere::{Done, Elsewhere, Staged};
use super::engine_error::EngineError;
use super::ignore::{self, Ignores};
use super::inbox::{Inbox, Mail};
use super::index::folders::{self, FolderInfo};
use super::index::problems::{self, FolderProblem};
use super::index::records::Source;
use super::index::{pending, rows, split};
use super::live::Live;
use super::marker::{self, Marked};
use super::merge::Merge;
use super::root::{Dirs, Root};
use super::scan::{Found, Ground, Scan};
use super::stage::Stage;
use super::stat::{Kind, Stat};
use super::trouble;
use super::versions;
use super::watch::{POLL_EVERY, Watch};
use super::work::{Case, Fresh, Item, Note};
use crate::clock;
use crate::store::log::{self, LogRow};
use crate::store::{Store, StoreError};

/// What a folder's thread needs to know.
#[derive(Clone)]
pub(crate) struct Spec {
    /// The folder.
    pub(crate) info: FolderInfo,
    /// The database.
    pub(crate) store: Store,
    /// This device.
    pub(crate) device: DeviceId,
    /// This device's chain in the folder's group.
    pub(crate) chain: ChainId,
    /// Large contents.
    pub(crate) contents: Arc<dyn Contents>,
    /// Where to tell what happens.
    pub(crate) live: Live,
    /// What reaches the thread.
    pub(crate) inbox: Arc<Inbox>,
    /// Every task starts through it.
    pub(crate) tracker: TaskTracker,
    /// Where tasks run.
    pub(crate) runtime: Handle,
}

/// What is counted between two looks at the clock, for events.
#[derive(Default)]
pub(crate) struct Told {
    /// Records logged.
    pub(crate) logged: usize,
    items: usize,
}

/// See the module.
pub(crate) struct Engine {
    pub(crate) info: FolderInfo,
    pub(crate) store: Store,
    pub(crate) root: Arc<Root>,
    pub(crate) stage: Stage,
    pub(crate) ignores: Ignores,
    pub(crate) elsewhere: Elsewhere,
    pub(crate) resting: Vec<(Instant, RelPath)>,
    pub(crate) read: u64,
    pub(crate) problem_paths: ProblemPaths,
    pub(crate) told: Told,
    live: Live,
    inbox: Arc<Inbox>,
    device: DeviceId,
    chain: ChainId,
    watch: Watch,
    scan: Option<Scan>,
    whole: bool,
    scanned: bool,
    rescan_at: Instant,
    directories: Vec<(Instant, RelPath)>,
    cursor: i64,
    retry_at: Option<Instant>,
    run: u32,
    temporaries: u64,
}

/// A full scan is made this often, give or take a tenth.
const RESCAN: Duration = Duration::from_secs(3600);
/// A new directory is looked through once more after this: files made in it at once are not always reported.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// Records taken in at a time.
const PAGE_ROWS: usize = 1000;
/// And their bytes.
const PAGE_BYTES: usize = 4 << 20;
/// Pending paths brought to the disk at a time.
const BATCH: usize = 512;
/// Items told one by one in a batch; of a larger one only the first are.
const TOLD: usize = 200;
/// How long versions are kept, in nanoseconds: 30 days.
const VERSIONS_NS: i64 = 30 * 86_400 * 1_000_000_000;

impl Engine {
    /// Opens the folder and settles what a kill left behind.
    ///
    /// # Errors
    /// The folder is not what it should be, or cannot be used.
    pub(crate) fn open(spec: &Spec, path: &Path) -> Result<Self, EngineError> {
        let root = Arc::new(Root::open(path)?);
        if marker::read(&root)? != Marked::As(spec.info.id, spec.device) {
            return Err(EngineError::Unmarked);
        }
        let folder = spec.info.row;
        let (read, problem_paths) = spec.store.read_blocking(|connection| {
            let problems = problems::list(connection, folder, u32::MAX)?;
            let paths = problems.into_iter().map(|p| p.path).collect();
            Ok::<_, StoreError>((folders::read_position(connection, folder)?, paths))
        })?;
        let wake = spec.inbox.clone();
        let elsewhere = Elsewhere::new(
            root.clone(),
            spec.inbox.clone(),
            spec.contents.clone(),
            spec.tracker.clone(),
            spec.runtime.clone(),
        );
        let engine = Self {
            info: spec.info.clone(),
            store: spec.store.clone(),
            stage: Stage::open(&root)?,
            ignores: Ignores::new(root.path().to_owned()),
            elsewhere,
            resting: Vec::new(),
            read,
            problem_paths,
            told: Told::default(),
            live: spec.live.clone(),
            inbox: spec.inbox.clone(),
            device: spec.device,
            chain: spec.chain,
            watch: Watch::start(root.path(), move || wake.wake()),
            scan: None,
            whole: false,
            scanned: false,
            rescan_at: Instant::now(),
            directories: Vec::new(),
            cursor: 0,
            retry_at: None,
            run: u32::from_be_bytes(clock::random()),
            temporaries: 0,
            root,
        };
        engine.settle()?;
        Ok(engine)
    }

    /// Keeps the folder in step until it is told to stop.
    ///
    /// # Errors
    /// The folder, or the database, cannot be used any more.
    pub(crate) fn run(&mut self) -> Result<(), EngineError> {
        while self.read_log()? {}
        loop {
            let mail = self.inbox.take();
            if mail.stop {
                return Ok(());
            }
            if !self.root.is_still_there() {
                return Err(EngineError::Moved);
            }
            if !self.turn(mail)? {
                self.idle()?;
            }
        }
    }

    /// Does a piece of everything that there is to do; false if there was nothing.
    pub(crate) fn turn(&mut self, mail: Mail) -> Result<bool, EngineError> {
        let now = Instant::now();
        if mail.rescan || now >= self.rescan_at {
            self.begin_scan()?;
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            (self.retry_at, self.cursor) = (None, 0);
        }
        let mut busy = self.receive(mail.done)?;
        busy |= self.read_log()?;
        busy |= self.look(now)?;
        busy |= self.scan_on()?;
        if self.scanned {
            busy |= self.bring()?;
        }
        Ok(busy)
    }

    /// Nothing to do: says so, and waits for the next thing.
    fn idle(&mut self) -> Result<(), EngineError> {
        self.live.set(if self.elsewhere.is_idle() { FolderState::Idle } else { FolderState::Syncing });
        self.idle_until(self.rescan_at)
    }

    /// Waits for the next thing, or until then.
    pub(crate) fn idle_until(&mut self, until: Instant) -> Result<(), EngineError> {
        let (folder, now_ms) = (self.info.row, clock::now_ms());
        let retry = self.store.read_blocking(|connection| pending::next_due(connection, folder, now_ms))?;
        self.retry_at = retry.map(|at| Instant::now() + Duration::from_millis(at.saturating_sub(now_ms)));
        let resting = self.resting.iter().chain(&self.directories).map(|(at, _)| *at);
        let due = resting.chain(self.watch.next_due()).chain(self.retry_at).chain([until]).min();
        self.inbox.wait(due);
        Ok(())
    }

    /// Takes in a page of records; false if there are none.
    fn read_log(&mut self) -> Result<bool, EngineError> {
        let (grp, channel, read) = (self.info.grp, self.info.id.channel(), self.read);
        let rows =
            self.store.read_blocking(|c| log::read_after(c, grp, &channel, read, PAGE_ROWS, PAGE_BYTES))?;
        let Some(last) = rows.last().map(|row| row.pos) else { return Ok(false) };
        let mut fresh = Fresh::new();
        let mut records = Vec::new();
        let own = self.chain;
        for row in rows.iter().filter(|row| row.chain != own) {
            match checked(row) {
                Ok(record) => {
                    let source = Source { chain: row.chain, n: row.n };
                    if let Content::Inline(bytes) = &record.content {
                        fresh.insert(source, bytes.clone());
                    }
                    records.push((record, source));
                }
                Err(why) => self.refuse(&why)?,
            }
        }
        self.read = last;
        if records.is_empty() {
            return Ok(true);
        }
        self.live.set(FolderState::Syncing);
        let folder = self.info.row;
        let (touched, copies) = self.store.write_blocking(move |connection| {
            let mut merge = Merge::new(connection, folder);
            for (record, source) in &records {
                merge.add(record, *source)?;
            }
            folders::set_read_position(connection, folder, last)?;
            merge.finish(|_, _| false)
        })?;
        self.tell_copies(&copies);
        if self.scanned {
            let here = touched.into_iter().filter(|t| !self.elsewhere.has(&t.key));
            let items: Vec<Item> =
                here.map(|t| Item { merged: Some(t.merged), listed: true, ..Item::key(t.key) }).collect();
            self.work(items, &fresh)?;
        }
        Ok(true)
    }

    /// A record that breaks the rules changes nothing and is reported.
    fn refuse(&mut self, why: &str) -> Result<(), EngineError> {
        let hint = "the device that sent it may be faulty or hostile";
        self.tell_problem(trouble::problem(
            "",
            "refused_record",
            format!("a record was refused: {why}"),
            hint,
        ))
    }

    /// Takes back work that was done elsewhere.
    fn receive(&mut self, done: Vec<Done>) -> Result<bool, EngineError> {
        if done.is_empty() {
            return Ok(false);
        }
        let (mut items, mut notes) = (Vec::new(), Vec::new());
        for done in done {
            self.elsewhere.finished(&done);
            match done {
                Done::Hashed(path, Ok(Some((hashed, ingested)))) => {
                    items.push(Item { hashed: Some(hashed), ingested, ..Item::found(path) });
                }
                Done::Hashed(path, Ok(None)) => self.rest(path),
                // It went away, or cannot be read: looking at it says which.
                Done::Hashed(path, Err(e)) => {
                    tracing::debug!(kind = %e.kind(), "a file could not be hashed");
                    self.rest(path);
                }
                Done::Fetched(path, staged, Ok(store)) => {
                    let staged = Some(Staged { store: Some(store), ..staged });
                    items.push(Item { staged, listed: true, ..Item::key(path.key().to_owned()) });
                }
                Done::Fetched(path, staged, Err(e)) => {
                    // What came of contents that nobody has just now is kept, and the next try goes on from there.
                    if matches!(e, Unfetched::Wrong) {
                        self.stage.discard(&staged.tmp);
                    }
                    notes.extend(trouble::fetched(path.key(), &e).map(Note::Problem));
                    notes.push(Note::Later(path.key().to_owned()));
                }
            }
        }
        items
            .extend(self.elsewhere.next().into_iter().map(|path| Item { listed: true, ..Item::found(path) }));
        self.log(Vec::new(), notes)?;
        self.work(items, &Fresh::new())?;
        Ok(true)
    }

    /// Looks at what was reported and has come to rest.
    fn look(&mut self, now: Instant) -> Result<bool, EngineError> {
        if let Some(reason) = self.watch.unwatched()
            && !self.problem_paths.contains("")
        {
            let (text, hint) = reason.explain();
            self.tell_problem(trouble::problem("", "watch", text, &hint))?;
            self.rescan_at = self.rescan_at.min(now + POLL_EVERY);
        }
        let due = self.watch.take(now);
        if due.everything {
            self.begin_scan()?;
        }
        let mut items: Vec<Item> = take_due(&mut self.resting, now).map(Item::found).collect();
        let again: Vec<RelPath> = take_due(&mut self.directories, now).collect();
        for directory in again {
            self.scan.get_or_insert_with(Scan::empty).add(directory);
        }
        let root = self.root.clone();
        let mut dirs = Dirs::new(&root);
        for (path, whole) in due.paths {
            let Some(path) = relative(&root, &path) else { continue };
            if whole {
                self.look_through(&mut dirs, &path, now)?;
            }
            items.push(Item::found(path));
        }
        let busy = !items.is_empty() || due.everything;
        while !items.is_empty() && !self.inbox.is_stopped() {
            let rest = items.split_off(items.len().min(PAGE_ROWS));
            self.work(std::mem::replace(&mut items, rest), &Fresh::new())?;
        }
        Ok(busy)
    }

    /// A name that is new or gone: if it is, or was, a directory, everything below is looked at too.
    fn look_through(&mut self, dirs: &mut Dirs<'_>, path: &RelPath, now: Instant) -> Result<(), StoreError> {
        let Ok(at) = DiskPath::of(path) else { return Ok(()) };
        let Some((parent, name)) = at.split() else { return Ok(()) };
        let stat = dirs.open(&parent).and_then(|dir| Stat::of(&*dir, name)).ok().flatten();
        if stat.is_some_and(|stat| stat.kind == Kind::Directory) {
            self.scan.get_or_insert_with(Scan::empty).add(path.clone());
            self.directories.push((now + SECOND_LOOK, path.clone()));
            return Ok(());
        }
        let folder = self.info.row;
        let row = self.store.read_blocking(|connection| rows::get(connection, folder, path.key()))?;
        let was = row.and_then(|row| row.row.state);
        if was.is_some_and(|state| state.kind == zerok_core::Kind::Directory) {
            self.scan.get_or_insert_with(Scan::empty).add_gone(path);
        }
        Ok(())
    }

    /// An ignore file changed: what it froze may be free now, and the other way round.
    pub(crate) fn rules_changed(&mut self) -> Result<(), EngineError> {
        self.ignores.reload();
        let folder = self.info.row;
        self.store.write_blocking(move |connection| pending::add_untaken(connection, folder))?;
        self.begin_scan()
    }

    /// Begins to look through the whole folder.
    fn begin_scan(&mut self) -> Result<(), EngineError> {
        if marker::read(&self.root)? != Marked::As(self.info.id, self.device) {
            return Err(EngineError::Unmarked);
        }
        let every = if self.watch.unwatched().is_some() { POLL_EVERY } else { RESCAN };
        let jitter = u32::from(clock::random::<1>()[0]) % 20 + 90;
        self.rescan_at = Instant::now() + every * jitter / 100;
        self.ignores.reload();
        (self.scan, self.whole) = (Some(Scan::whole()), true);
        self.live.set(FolderState::Scanning);
        let folder = self.info.row;
        Ok(self.store.write_blocking(move |connection| problems::clear_scanned(connection, folder))?)
    }

    /// Goes on with the scan, if there is one.
    fn scan_on(&mut self) -> Result<bool, EngineError> {
        let Some(mut scan) = self.scan.take() else { return Ok(false) };
        let root = self.root.clone();
        let mut dirs = Dirs::new(&root);
        let folder = self.info.row;
        let mut ground = Ground { store: &self.store, folder, dirs: &mut dirs, ignores: &mut self.ignores };
        let Found { paths, problems } = scan.step(&mut ground)?;
        if !scan.is_done() {
            self.scan = Some(scan);
        }
        for problem in problems {
            self.tell_problem(problem)?;
        }
        self.work(paths.into_iter().map(Item::found).collect(), &Fresh::new())?;
        if self.scan.is_none() && std::mem::take(&mut self.whole) {
            self.scanned = true;
            if self.ignores.broken() {
                let text =
                    "a line of an ignore file is no pattern, or one could not be read; it ignores nothing";
                let hint = "correct it: the syntax is that of gitignore";
                self.tell_problem(trouble::problem(ignore::FILE, "ignore", text.into(), hint))?;
            }
            // What no file holds any more need not be served; a kill before it leaves it to the next scan.
            self.store.write_blocking(crate::content::collect)?;
            if let Err(e) = versions::prune(&self.root, super::stat::now_ns() - VERSIONS_NS) {
                tracing::debug!(kind = %e.kind(), "old versions could not be removed");
            }
        }
        Ok(true)
    }

    /// Brings a batch of pending paths to the disk.
    fn bring(&mut self) -> Result<bool, EngineError> {
        if !self.elsewhere.has_room() {
            return Ok(false);
        }
        let (folder, cursor, now_ms) = (self.info.row, self.cursor, clock::now_ms());
        let due = self.store.read_blocking(|c| pending::due(c, folder, cursor, now_ms, BATCH))?;
        let Some(last) = due.last() else { return Ok(false) };
        self.cursor = last.id;
        let due = due.into_iter().filter(|path| !self.elsewhere.has(&path.key));
        let items: Vec<Item> = due.map(|path| Item { listed: true, ..Item::key(path.key) }).collect();
        self.work(items, &Fresh::new())?;
        Ok(true)
    }

    /// Pending paths that were put off are due now.
    pub(crate) fn look_again(&mut self) {
        self.cursor = 0;
    }

    /// The name of a new temporary, never used before: work that was begun by an earlier run of the folder may still
    /// come in.
    pub(crate) fn temporary(&mut self) -> String {
        self.temporaries += 1;
        format!("{:08x}-{:x}", self.run, self.temporaries)
    }

    /// Keeps a problem and tells programs.
    fn tell_problem(&mut self, problem: FolderProblem) -> Result<(), EngineError> {
        self.problem_paths.insert(problem.path.clone());
        self.live.problem(&problem);
        let folder = self.info.row;
        Ok(self.store.write_blocking(move |connection| problems::put(connection, folder, &problem))?)
    }

    /// Tells programs of conflict copies.
    pub(crate) fn tell_copies(&self, copies: &[(String, String)]) {
        for (path, copy) in copies.iter().take(TOLD) {
            self.live.conflict(path, split(copy).1);
        }
    }

    /// Tells programs of a path that was put in place (its bytes) or removed.
    pub(crate) fn tell_item(&mut self, case: &Case, bytes: Option<u64>) {
        self.told.items += 1;
        if self.told.items <= TOLD {
            self.live.item(case.path.key(), bytes);
        }
    }
}

/// A record that may be taken in.
fn checked(row: &LogRow) -> Result<Record, String> {
    let record = Record::from_bytes(&row.body).map_err(|e| e.to_string())?;
    match &row.key {
        Some(key) if key == record.path.key() => Ok(record),
        _ => Err("record: its entry has another key than its path".into()),
    }
}

/// A reported path, relative to the folder.
fn relative(root: &Root, path: &Path) -> Option<RelPath> {
    use std::os::unix::ffi::OsStrExt;
    RelPath::parse(path.strip_prefix(root.path()).ok()?.as_os_str().as_bytes()).ok()
}

fn take_due(waiting: &mut Vec<(Instant, RelPath)>, now: Instant) -> impl Iterator<Item = RelPath> {
    let mut due: HashMap<String, RelPath> = HashMap::new();
    waiting.retain(|(at, path)| {
        let rests = *at > now;
        if !rests {
            due.insert(path.key().to_owned(), path.clone());
        }
        rests
    });
    due.into_values()
}
