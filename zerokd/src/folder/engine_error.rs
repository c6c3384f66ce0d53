//! Why a folder cannot be kept in step.

use std::io;

use crate::store::StoreError;

/// Why a folder's thread stops working on it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder's root, or its own directory in it, cannot be used.
    #[error("the folder cannot be used: {0}")]
    Io(#[from] io::Error),
    /// The root is gone or another directory by now.
    #[error("the folder's directory is gone or is another one now")]
    Moved,
    /// The marker is missing or is another folder's.
    #[error("the folder's marker is missing or is another folder's")]
    Unmarked,
    /// It is in or around another folder, or one of the daemon's own directories.
    #[error("the folder is in or around another one, or in or around the daemon's own directories")]
    Overlaps,
}
