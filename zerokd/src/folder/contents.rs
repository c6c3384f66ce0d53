//! What the folder needs of content transfer: files above 32 KiB leave as chunks and come back as files.

use std::fs::File;
use std::future::Future;
use std::io;
use std::pin::Pin;

use rusqlite::Connection;
use zerok_core::ContentRef;

use crate::store::StoreError;

/// Something to be stored in a transaction of the folder's.
pub(crate) type InTransaction = Box<dyn FnOnce(&Connection) -> Result<(), StoreError> + Send>;

/// A file that was cut and sealed.
pub(crate) struct Ingested {
    /// How the others get it.
    pub(crate) content: ContentRef,
    /// What is needed to serve it; belongs in the transaction of the record that names it.
    pub(crate) store: InTransaction,
}

/// Why contents could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfetched {
    /// Nobody who is online has them now; worth another try.
    #[error("the contents are on no device that is online")]
    Unavailable,
    /// They are not what the record says.
    #[error("the contents are not what the record says")]
    Wrong,
    /// This disk refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Contents on their way; when they are there, what belongs in the transaction of the file's row.
pub(crate) type Fetching = Pin<Box<dyn Future<Output = Result<InTransaction, Unfetched>> + Send>>;

/// See the module.
pub(crate) trait Contents: Send + Sync {
    /// Cuts and seals a file of more than 32 KiB; blocks. The caller checks afterwards that the file did not change.
    ///
    /// # Errors
    /// The file cannot be read, or is not of this size any more.
    fn ingest(&self, file: &File, size: u64) -> io::Result<Ingested>;

    /// Fills `staged` (empty) with the contents, checked against their hash; not synced.
    fn fetch(&self, content: &ContentRef, staged: File) -> Fetching;

    /// What was ingested is committed.
    fn committed(&self);
}
