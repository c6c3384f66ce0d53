//! Looking through a folder, or a part of it, for what is not as the index says. Directory by directory, and in a large
//! one page by page, so that memory does not grow with the folder.
//!
//! A name counts as absent only when its directory was listed without error; a directory that cannot be listed leaves
//! everything below it as it is.

use std::io;

use zerok_core::{PathError, RelPath};

use super::disk_path::{DiskPath, is_own};
use super::ignore::Ignores;
use super::index::problems::FolderProblem;
use super::index::rows::{self, PathRow};
use super::index::{FolderRow, split};
use super::list;
use super::root::Dirs;
use super::stat::{Kind, Stat};
use crate::store::{Store, StoreError};

/// Names handled at a time.
const PAGE: usize = 1000;

/// What a scan works with.
pub(crate) struct Ground<'a, 'r> {
    /// The database.
    pub(crate) store: &'a Store,
    /// The folder.
    pub(crate) folder: FolderRow,
    /// Its directories.
    pub(crate) dirs: &'a mut Dirs<'r>,
    /// Its ignore rules.
    pub(crate) ignores: &'a mut Ignores,
}

/// What a step found.
#[derive(Default)]
pub(crate) struct Found {
    /// Paths that are not as the index says; to be looked at one by one.
    pub(crate) paths: Vec<RelPath>,
    /// What stands in the way.
    pub(crate) problems: Vec<FolderProblem>,
}

/// A scan under way.
pub(crate) struct Scan {
    directories: Vec<Option<RelPath>>,
    listing: Option<Listing>,
    gone: Vec<Gone>,
}

struct Listing {
    directory: Option<RelPath>,
    names: std::vec::IntoIter<RelPath>,
    after: Option<String>,
}

/// A directory that is no more, and up to where what was in it has been named.
struct Gone {
    directory: String,
    after: Option<(String, String)>,
}

impl Scan {
    /// Of the whole folder.
    pub(crate) fn whole() -> Self {
        Self { directories: vec![None], listing: None, gone: Vec::new() }
    }

    /// Of nothing yet.
    pub(crate) fn empty() -> Self {
        Self { directories: Vec::new(), listing: None, gone: Vec::new() }
    }

    /// And of this directory.
    pub(crate) fn add(&mut self, directory: RelPath) {
        self.directories.push(Some(directory));
    }

    /// And of what was in a directory that is no more.
    pub(crate) fn add_gone(&mut self, directory: &RelPath) {
        self.gone.push(Gone { directory: directory.key().to_owned(), after: None });
    }

    /// Is there nothing left to look at?
    pub(crate) fn is_done(&self) -> bool {
        self.directories.is_empty() && self.listing.is_none() && self.gone.is_empty()
    }

    /// Goes on until a page of findings is full or nothing is left.
    ///
    /// # Errors
    /// The database.
    pub(crate) fn step(&mut self, ground: &mut Ground<'_, '_>) -> Result<Found, StoreError> {
        let mut found = Found::default();
        while found.paths.len() < PAGE && !self.is_done() {
            if let Some(gone) = self.gone.last_mut() {
                if gone.page(ground, &mut found)? {
                    self.gone.pop();
                }
            } else if let Some(listing) = &mut self.listing {
                let page = listing.page(ground)?;
                if listing.names.as_slice().is_empty() {
                    self.listing = None;
                }
                self.take(page, &mut found);
            } else if let Some(directory) = self.directories.pop() {
                self.listing = Listing::open(ground, directory, &mut found);
            }
        }
        Ok(found)
    }

    fn take(&mut self, page: Page, found: &mut Found) {
        for gone in &page.gone {
            self.add_gone(gone);
        }
        // The last one in is the first one out: keep the order of the names.
        self.directories.extend(page.directories.into_iter().rev().map(Some));
        found.paths.extend(page.changed);
    }
}

impl Gone {
    /// Names what was below; true when that was all.
    fn page(&mut self, ground: &Ground<'_, '_>, found: &mut Found) -> Result<bool, StoreError> {
        let after = self.after.as_ref().map(|(parent, name)| (&**parent, &**name));
        let paths = ground.store.read_blocking(|connection| {
            rows::on_disk_below(connection, ground.folder, &self.directory, after, PAGE)
        })?;
        let Some(last) = paths.last() else { return Ok(true) };
        let (parent, name) = split(last.key());
        self.after = Some((parent.to_owned(), name.to_owned()));
        found.paths.extend(paths);
        Ok(false)
    }
}

/// What a page of names came to.
#[derive(Default)]
struct Page {
    changed: Vec<RelPath>,
    directories: Vec<RelPath>,
    gone: Vec<RelPath>,
}

impl Listing {
    /// Lists a directory; `None` if that cannot be done, which says nothing about what is in it.
    fn open(ground: &mut Ground<'_, '_>, directory: Option<RelPath>, found: &mut Found) -> Option<Self> {
        let at = disk_path(directory.as_ref())?;
        let listed = ground.dirs.open(&at).and_then(|fd| list::names(&*fd));
        match listed {
            Ok(names) => {
                let names = sorted(directory.as_ref(), names, found).into_iter();
                Some(Self { directory, names, after: None })
            }
            Err(e) => {
                match directory {
                    // It went away since it was found: to be looked at again.
                    Some(path) if e.kind() == io::ErrorKind::NotFound => found.paths.push(path),
                    other => found.problems.push(unreadable(other.as_ref(), &e)),
                }
                None
            }
        }
    }

    fn page(&mut self, ground: &mut Ground<'_, '_>) -> Result<Page, StoreError> {
        let names: Vec<RelPath> = self.names.by_ref().take(PAGE).collect();
        let to =
            if self.names.as_slice().is_empty() { None } else { names.last().map(|p| p.name().to_owned()) };
        let parent = self.directory.as_ref().map_or("", RelPath::key);
        let known = ground.store.read_blocking(|connection| {
            rows::children(connection, ground.folder, parent, self.after.as_deref(), to.as_deref())
        })?;
        self.after = to;
        let mut page = Page::default();
        let holders = holders(self.directory.as_ref());
        let mut known = known.into_iter().peekable();
        for path in names {
            while let Some(row) = known.next_if(|row| row.path.name() < path.name()) {
                page.absent(row);
            }
            let row = known.next_if(|row| row.path.name() == path.name());
            page.look(ground, &holders, path, row);
        }
        known.for_each(|row| page.absent(row));
        Ok(page)
    }
}

impl Page {
    fn absent(&mut self, row: PathRow) {
        let Some(state) = row.row.state else { return };
        if state.kind == zerok_core::Kind::Directory {
            self.gone.push(row.path.clone());
        }
        self.changed.push(row.path);
    }

    fn look(
        &mut self,
        ground: &mut Ground<'_, '_>,
        holders: &[DiskPath],
        path: RelPath,
        row: Option<PathRow>,
    ) {
        let Ok(at) = DiskPath::of(&path) else { return };
        let stat =
            at.split().map(|(parent, name)| ground.dirs.open(&parent).and_then(|d| Stat::of(&*d, name)));
        let Some(Ok(Some(stat))) = stat else { return self.changed.push(path) };
        let is_dir = stat.kind == Kind::Directory;
        if ground.ignores.decide(ground.dirs, holders, &at, is_dir) {
            return;
        }
        let was_dir = row
            .as_ref()
            .and_then(|r| r.row.state.as_ref())
            .is_some_and(|s| s.kind == zerok_core::Kind::Directory);
        if was_dir && !is_dir {
            self.gone.push(path.clone());
        }
        if is_dir && stat.device == ground.dirs.root().stat().device {
            self.directories.push(path.clone());
        }
        if !row.is_some_and(|row| row.is_unchanged(&stat)) {
            self.changed.push(path);
        }
    }
}

/// The names as paths, in the order of their keys; what is no path is a problem.
fn sorted(directory: Option<&RelPath>, names: Vec<Box<[u8]>>, found: &mut Found) -> Vec<RelPath> {
    let mut paths = Vec::with_capacity(names.len());
    for name in names {
        if directory.is_none() && is_own(&name) {
            continue;
        }
        match directory.map_or_else(|| RelPath::parse(&name), |d| d.join(&name)) {
            Ok(path) => paths.push(path),
            Err(e) => found.problems.push(unnameable(directory, &name, e)),
        }
    }
    paths.sort_by(|a, b| a.name().cmp(b.name()).then_with(|| a.on_disk().cmp(b.on_disk())));
    paths.dedup_by(|second, first| {
        let same = second.name() == first.name();
        if same {
            found.problems.push(twice(second));
        }
        same
    });
    paths
}

/// The directory and what it lies in, the nearest first.
fn holders(directory: Option<&RelPath>) -> Vec<DiskPath> {
    let mut holders = Vec::new();
    let mut at = disk_path(directory);
    while let Some(path) = at {
        at = path.split().map(|(parent, _)| parent);
        holders.push(path);
    }
    holders
}

/// Where a directory lies on this disk.
pub(crate) fn disk_path(directory: Option<&RelPath>) -> Option<DiskPath> {
    directory.map_or_else(|| Some(DiskPath::root()), |path| DiskPath::of(path).ok())
}

fn unreadable(directory: Option<&RelPath>, error: &io::Error) -> FolderProblem {
    FolderProblem {
        path: directory.map_or_else(String::new, |d| d.key().to_owned()),
        code: "unreadable".into(),
        text: format!("the directory cannot be listed: {}", error.kind()),
        hint: "give yourself permission to read it; until then what is in it is left as it is".into(),
    }
}

fn unnameable(directory: Option<&RelPath>, name: &[u8], error: PathError) -> FolderProblem {
    let name = String::from_utf8_lossy(name);
    FolderProblem {
        path: directory.map_or_else(|| name.clone().into_owned(), |d| format!("{}/{name}", d.key())),
        code: "name".into(),
        text: format!("it cannot be synced: {error}"),
        hint: "rename it".into(),
    }
}

fn twice(path: &RelPath) -> FolderProblem {
    FolderProblem {
        path: path.key().to_owned(),
        code: "name".into(),
        text: "two names here differ only in how their accents are written; one of them is left out".into(),
        hint: "rename one of them".into(),
    }
}
