//! The data directory: made private, and held by one relay at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::Path;

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Making or opening it failed.
    #[error("data directory")]
    Io(#[from] std::io::Error),
    /// Another relay has it.
    #[error("another relay is running on this data directory")]
    Busy,
}

/// Held as long as the relay runs; the lock ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    lock: File,
}

impl DataDir {
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(path.join("relay.lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Busy),
            Err(TryLockError::Error(e)) => Err(e.into()),
        }
    }

    /// Lets another relay have it.
    pub(crate) fn release(&self) {
        // Released in any case when the process ends.
        let _ = self.lock.unlock();
    }
}
