//! How the database is: whether it was found damaged, and that it is said once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::StoreError;

/// Shared by all who use the database.
#[derive(Clone, Default)]
pub(super) struct State(Arc<AtomicBool>);

impl State {
    /// Passes a result on, and remembers that the database is damaged if it says so.
    pub(super) fn seen<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Damaged) = &result
            && !self.0.swap(true, Ordering::AcqRel)
        {
            tracing::error!(
                "the database is damaged: stop the relay, see `zerok-relay check`, and restore a backup \
                 (`zerok-relay restore`), or move the database away, for devices to fill a new one"
            );
        }
        result
    }

    /// Was it found damaged since the start? It may be so in places that nobody asks for at the moment.
    pub(super) fn is_damaged(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
