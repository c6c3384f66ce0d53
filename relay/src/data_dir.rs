//! The data directory: made private, and held by one relay at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Making or opening it failed.
    #[error("data directory {}", .path.display())]
    Io {
        /// The directory, as configured.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another relay has it.
    #[error("another relay is running on this data directory: stop it first")]
    Busy,
}

/// Held as long as the relay runs; the lock ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    lock: File,
}

impl DataDir {
    /// The file in it that is locked.
    pub(crate) const LOCK: &str = "relay.lock";

    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io { path: path.to_owned(), source };
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(io)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path.join(Self::LOCK));
        let lock = lock.map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Busy),
            Err(TryLockError::Error(e)) => Err(io(e)),
        }
    }

    /// Lets another relay have it.
    pub(crate) fn release(&self) {
        // Released in any case when the process ends.
        let _ = self.lock.unlock();
    }
}
