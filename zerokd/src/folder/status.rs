//! A folder as `status` shows it.

use zerok_client::types::{FolderProblem, FolderState, FolderStatus, Progress};

use super::index::folders::FolderInfo;
use super::index::{pending, problems, rows};
use crate::store::{Store, StoreError};

/// Problems that are shown.
const SHOWN: u32 = 100;

/// A folder with counts and problems.
///
/// # Errors
/// The database.
pub(crate) async fn of(
    store: &Store,
    info: FolderInfo,
    state: FolderState,
) -> Result<FolderStatus, StoreError> {
    let row = info.row;
    let ((files, bytes), (waiting, waiting_bytes), listed) = store
        .read(move |connection| {
            Ok::<_, StoreError>((
                rows::count(connection, row)?,
                pending::count(connection, row)?,
                problems::list(connection, row, SHOWN)?,
            ))
        })
        .await?;
    let progress = (waiting > 0 && info.path.is_some()).then(|| Progress {
        files_done: files,
        files_total: files.saturating_add(waiting),
        bytes_done: bytes,
        bytes_total: bytes.saturating_add(waiting_bytes),
    });
    // What waits for its turn is not in step, whatever the thread does at this moment.
    let state = if progress.is_some() && state == FolderState::Idle { FolderState::Syncing } else { state };
    let problem = |p: problems::FolderProblem| FolderProblem {
        code: p.code,
        path: Some(p.path).filter(|path| !path.is_empty()),
        text: p.text,
        hint: p.hint,
    };
    Ok(FolderStatus {
        id: info.id.to_hex(),
        name: info.name,
        path: info.path.map(|p| p.to_string_lossy().into_owned()),
        state,
        files,
        bytes,
        progress,
        problems: listed.into_iter().map(problem).collect(),
    })
}
