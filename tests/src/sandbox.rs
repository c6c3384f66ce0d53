//! One directory per test, gone when the test ends.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory for the homes, databases, folders and logs of one test. Removed on drop; kept where it is, and named,
/// when `ZEROK_KEEP` is set.
#[derive(Debug)]
pub struct Sandbox {
    dir: Option<TempDir>,
    path: PathBuf,
}

impl Sandbox {
    /// A new one, under the system's temporary directory (or `TMPDIR`): short, because socket paths are limited.
    ///
    /// # Panics
    /// No directory can be made there.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("zk-").tempdir().expect("a temporary directory");
        let path = dir.path().canonicalize().expect("it was just made");
        Self { dir: Some(dir), path }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it, made if need be.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).expect("a directory in the sandbox");
        path
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::env::var_os("ZEROK_KEEP").is_some()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("kept: {}", dir.keep().display());
        }
    }
}
