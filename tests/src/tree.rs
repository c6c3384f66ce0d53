//! What a directory holds, to compare two of them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::wait::wait_ok;

/// One thing in a directory, as far as it must be the same on every device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// BLAKE3 of its contents.
        hash: blake3::Hash,
        /// Its length in bytes.
        size: u64,
        /// May its owner run it?
        executable: bool,
    },
    /// A symlink and where it points.
    Symlink(PathBuf),
    /// Anything else.
    Other,
}

/// Everything below a directory except `.zerok`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree(BTreeMap<OsString, Node>);

impl Tree {
    /// Reads a directory. What vanishes meanwhile is left out: the directory may be alive.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        tree.walk(root, root);
        tree
    }

    /// What stands under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.0.get(OsStr::new(name))
    }

    /// The names, directories' among them.
    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.0.keys().map(OsString::as_os_str)
    }

    /// How many things there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Total bytes of its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.values().map(|node| if let Node::File { size, .. } = node { *size } else { 0 }).sum()
    }

    /// Its first differences from another, for people; empty when there are none.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names = self.0.keys().chain(other.0.keys().filter(|name| !self.0.contains_key(*name)));
        names
            .filter_map(|name| match (self.0.get(name), other.0.get(name)) {
                (a, b) if a == b => None,
                (a, b) => Some(format!("{}: {a:?} against {b:?}", name.to_string_lossy())),
            })
            .take(20)
            .collect()
    }

    fn walk(&mut self, root: &Path, directory: &Path) {
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if directory == root && entry.file_name() == ".zerok" {
                continue;
            }
            let Some(node) = node(&path) else { continue };
            let down = node == Node::Directory;
            let name = path.strip_prefix(root).expect("it is below the root").as_os_str().to_owned();
            self.0.insert(name, node);
            if down {
                self.walk(root, &path);
            }
        }
    }
}

/// Waits until two live directories hold the same, and returns what that is.
///
/// # Panics
/// They do not within the deadline; the message has their first differences.
#[track_caller]
pub fn wait_same(a: &Path, b: &Path) -> Tree {
    wait_ok("two folders hold the same", || {
        let (a, b) = (Tree::read(a), Tree::read(b));
        if a == b { Ok(a) } else { Err(a.differences(&b).join("\n")) }
    })
}

fn node(path: &Path) -> Option<Node> {
    let meta = path.symlink_metadata().ok()?;
    Some(if meta.is_dir() {
        Node::Directory
    } else if meta.is_symlink() {
        Node::Symlink(std::fs::read_link(path).ok()?)
    } else if meta.is_file() {
        let contents = std::fs::read(path).ok()?;
        Node::File {
            hash: blake3::hash(&contents),
            size: u64::try_from(contents.len()).unwrap_or(u64::MAX),
            executable: meta.permissions().mode() & 0o100 != 0,
        }
    } else {
        Node::Other
    })
}
