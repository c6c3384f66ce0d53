//! Large contents through the daemon's content engine.

use std::fs::File;
use std::io;
use std::sync::Arc;

use zerok_core::ContentRef;

use super::contents::{Contents, Fetching, Ingested, Unfetched};
use crate::content::{Content, FetchError, IngestError};
use crate::group::Group;

/// The contents of one group.
pub(crate) struct Chunks {
    /// The engine.
    pub(crate) content: Content,
    /// The group.
    pub(crate) group: Arc<Group>,
}

impl Contents for Chunks {
    fn ingest(&self, file: &File, size: u64) -> io::Result<Ingested> {
        let ingested = self.content.ingest_blocking(&self.group, file, size).map_err(|e| match e {
            IngestError::Io(e) => e,
            other => io::Error::other(other),
        })?;
        let zerok_core::Content::Chunked(content) = ingested.content else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let rows = ingested.rows;
        let store =
            move |connection: &rusqlite::Connection| rows.map_or(Ok(()), |rows| rows.insert(connection));
        Ok(Ingested { content, store: Box::new(store) })
    }

    fn fetch(&self, content: &ContentRef, staged: File) -> Fetching {
        let (engine, group, content) = (self.content.clone(), self.group.clone(), content.clone());
        Box::pin(async move {
            match engine.fetch(&group, &content, staged).await {
                Ok(rows) => {
                    Ok(Box::new(move |connection: &rusqlite::Connection| rows.insert(connection)) as _)
                }
                Err(e) if e.is_final() => Err(Unfetched::Wrong),
                Err(FetchError::Io(e)) => Err(Unfetched::Io(e)),
                Err(FetchError::Stopped) => Err(Unfetched::Stopping),
                Err(e) => {
                    tracing::debug!(error = %e, "contents could not be fetched");
                    Err(Unfetched::Unavailable)
                }
            }
        })
    }

    fn committed(&self) {
        self.content.wake();
    }
}
