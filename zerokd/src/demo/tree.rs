//! Reading, copying and comparing directory trees, without following symlinks.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What the folder engine keeps for itself.
const RESERVED: &str = ".zerok";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Directory,
    File { size: u64, executable: bool },
    Symlink(PathBuf),
}

/// A tree's items by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree(pub(super) BTreeMap<PathBuf, Item>);

impl Tree {
    pub(super) fn files(&self) -> u64 {
        self.0.values().filter(|item| matches!(item, Item::File { .. })).count() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.values().map(|item| if let Item::File { size, .. } = item { *size } else { 0 }).sum()
    }
}

pub(super) fn read(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::default();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            if path == Path::new(RESERVED) {
                continue;
            }
            let metadata = match entry.path().symlink_metadata() {
                Ok(metadata) => metadata,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            if metadata.is_dir() {
                waiting.push(path.clone());
                tree.0.insert(path, Item::Directory);
            } else if metadata.is_symlink() {
                tree.0.insert(path, Item::Symlink(fs::read_link(entry.path())?));
            } else if metadata.is_file() {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                tree.0.insert(path, Item::File { size: metadata.len(), executable });
            }
        }
    }
    Ok(tree)
}

pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for (path, item) in read(from)?.0 {
        let (source, target) = (from.join(&path), to.join(&path));
        match item {
            Item::Directory => fs::create_dir_all(target)?,
            Item::Symlink(link) => symlink(link, target)?,
            Item::File { .. } => drop(fs::copy(source, target)?),
        }
    }
    Ok(())
}

/// Do both hold the same items with the same bytes? A tree that is not there yet does not.
pub(super) fn equal(left: &Path, right: &Path) -> io::Result<bool> {
    let (left_tree, right_tree) = match (read(left), read(right)) {
        (Ok(left), Ok(right)) => (left, right),
        (_, Err(e)) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        (Err(e), _) | (_, Err(e)) => return Err(e),
    };
    if left_tree != right_tree {
        return Ok(false);
    }
    for (path, item) in &left_tree.0 {
        if matches!(item, Item::File { .. }) && hash(&left.join(path))? != hash(&right.join(path))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn hash(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize())
}
