//! `.zerokignore`: gitignore syntax, nested files included. What it matches is frozen: neither scanned, applied nor
//! deleted. Nothing else is ever left out silently: no global ignore file, no rule about hidden files.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::disk_path::DiskPath;
use super::root::{Dirs, open_regular};

/// The name of the file with the rules.
pub(crate) const FILE: &str = ".zerokignore";
/// Largest file that is read; what is beyond is no rule.
const MAX_BYTES: u64 = 1 << 20;
/// Directories whose rules are remembered.
const REMEMBERED: usize = 4096;

/// The rules of one folder, read as they are needed.
pub(crate) struct Ignores {
    root: PathBuf,
    rules: HashMap<DiskPath, Option<Arc<Gitignore>>>,
    broken: bool,
}

impl Ignores {
    /// For the folder at `root`.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, rules: HashMap::new(), broken: false }
    }

    /// Forgets every rule, because some ignore file changed.
    pub(crate) fn reload(&mut self) {
        self.rules.clear();
        self.broken = false;
    }

    /// Was there a line that is no pattern, or a file that could not be read?
    pub(crate) fn broken(&self) -> bool {
        self.broken
    }

    /// Is the path, or a directory that holds it, ignored?
    pub(crate) fn matches(&mut self, dirs: &mut Dirs<'_>, path: &DiskPath, is_dir: bool) -> bool {
        let mut chain: Vec<DiskPath> = vec![path.clone()];
        let mut at = path.clone();
        while let Some((parent, _)) = at.split() {
            chain.push(parent.clone());
            at = parent;
        }
        // From the top: once a directory is ignored nothing below it can be taken back, as in git.
        for depth in (1..chain.len()).rev() {
            let (Some(holders), Some(child)) = (chain.get(depth..), chain.get(depth - 1)) else { continue };
            if self.decide(dirs, holders, child, depth > 1 || is_dir) {
                return true;
            }
        }
        false
    }

    /// Is `child`, standing in the first of `holders` (nearest first), ignored by the nearest rule that speaks of it?
    pub(crate) fn decide(
        &mut self,
        dirs: &mut Dirs<'_>,
        holders: &[DiskPath],
        child: &DiskPath,
        is_dir: bool,
    ) -> bool {
        for holder in holders {
            let Some(rules) = self.of(dirs, holder) else { continue };
            match rules.matched(child.below(&self.root), is_dir) {
                ignore::Match::None => {}
                ignore::Match::Ignore(_) => return true,
                ignore::Match::Whitelist(_) => return false,
            }
        }
        false
    }

    fn of(&mut self, dirs: &mut Dirs<'_>, dir: &DiskPath) -> Option<Arc<Gitignore>> {
        if let Some(known) = self.rules.get(dir) {
            return known.clone();
        }
        let rules = self.read(dirs, dir);
        if self.rules.len() >= REMEMBERED {
            self.rules.clear();
        }
        self.rules.insert(dir.clone(), rules.clone());
        rules
    }

    fn read(&mut self, dirs: &mut Dirs<'_>, dir: &DiskPath) -> Option<Arc<Gitignore>> {
        let open = dirs.open(dir).and_then(|at| open_regular(&*at, OsStr::new(FILE)));
        let file = match open {
            Ok(file) => file,
            Err(e) => {
                use std::io::ErrorKind::{NotADirectory, NotFound};
                self.broken |= !matches!(e.kind(), NotFound | NotADirectory);
                return None;
            }
        };
        let mut text = Vec::new();
        self.broken |= file.take(MAX_BYTES).read_to_end(&mut text).is_err();
        let mut builder = GitignoreBuilder::new(dir.below(&self.root));
        for line in String::from_utf8_lossy(&text).lines() {
            self.broken |= builder.add_line(None, line).is_err();
        }
        let rules = builder.build().ok()?;
        (!rules.is_empty()).then(|| Arc::new(rules))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::root::Root;
    use std::path::Path;

    fn ignored(root: &Path, path: &str, is_dir: bool) -> bool {
        let root = Root::open(root).unwrap();
        let mut ignores = Ignores::new(root.path().to_owned());
        ignores.matches(&mut Dirs::new(&root), &DiskPath::parse(path.as_bytes()).unwrap(), is_dir)
    }

    #[test]
    fn the_rules_are_those_of_gitignore_and_nested_files_count() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(at.join("a/target/deep")).unwrap();
        std::fs::write(at.join(FILE), "target/\n*.log\n!keep.log\n/only-here\n").unwrap();
        std::fs::write(at.join("a").join(FILE), "*.tmp\n!important.log\n").unwrap();
        for (path, is_dir, want) in [
            ("a/x.rs", false, false),
            ("a/y.log", false, true),
            ("a/keep.log", false, false),
            ("a/important.log", false, false),
            ("b/important.log", false, true),
            ("a/target", true, true),
            ("a/target", false, false),
            ("a/target/deep/z", false, true),
            ("a/z.tmp", false, true),
            ("z.tmp", false, false),
            ("only-here", false, true),
            ("a/only-here", false, false),
            (".hidden", false, false),
        ] {
            assert_eq!(ignored(&at, path, is_dir), want, "{path}");
        }
    }

    #[test]
    fn without_a_file_nothing_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".gitignore"), "*").unwrap();
        assert!(!ignored(&dir.path().canonicalize().unwrap(), "a", false));
    }
}
