//! The thread of one folder, from its start to its stop: opens the folder, keeps it in step, and when that is not
//! possible says why and tries again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zerok_client::types::FolderState;

use super::engine::{Engine, Spec};
use super::engine_error::EngineError;
use super::index::problems::{self, FolderProblem};
use super::refuse;
use super::trouble::problem;
use crate::store::StoreError;

/// How long a folder that cannot be used is left alone.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// What must not overlap with the folder.
pub(crate) struct Apart {
    /// The other folders.
    pub(crate) folders: Vec<PathBuf>,
    /// The daemon's own directories.
    pub(crate) daemon: Vec<PathBuf>,
}

/// Runs until the folder is told to stop; blocks its thread.
pub(crate) fn keep(spec: &Spec, path: &Path, apart: &Apart) {
    let mut told: Option<FolderProblem> = None;
    while !spec.inbox.is_stopped() {
        match run(spec, path, apart, &mut told) {
            Ok(()) => return,
            Err(EngineError::Store(StoreError::Closed)) => return,
            Err(e) => tell(spec, &e, &mut told),
        }
        spec.inbox.wait_stopped(Instant::now() + TRY_AGAIN);
    }
}

fn run(spec: &Spec, path: &Path, apart: &Apart, told: &mut Option<FolderProblem>) -> Result<(), EngineError> {
    refuse::check(path, &apart.folders, &apart.daemon).map_err(|e| match e {
        refuse::Refused::Io(e) if e.kind() == std::io::ErrorKind::NotFound => EngineError::Moved,
        refuse::Refused::Io(e) => EngineError::Io(e),
        _ => EngineError::Overlaps,
    })?;
    let mut engine = Engine::open(spec, path)?;
    if let Some(problem) = told.take() {
        clear(spec, &problem)?;
    }
    spec.live.set(FolderState::Scanning);
    engine.run()
}

/// Says once why the folder is not kept in step.
fn tell(spec: &Spec, error: &EngineError, told: &mut Option<FolderProblem>) {
    let (code, hint) = match error {
        EngineError::Moved => ("root_missing", "bring the directory back, or mount what it is on"),
        EngineError::Unmarked => (
            "marker_missing",
            "bring .zerok/folder back; if this is another directory now: zerokctl folder remove, then join again",
        ),
        EngineError::Overlaps => ("overlap", "remove this folder and add it again elsewhere"),
        EngineError::Io(_) => ("io", "check the disk and the permissions of the folder's directory"),
        EngineError::Store(_) => ("database", "free space on the disk, or look at the daemon's log"),
    };
    let new = problem("", code, error.to_string(), hint);
    spec.live.set(FolderState::Stopped);
    if told.as_ref() == Some(&new) {
        return;
    }
    tracing::warn!(code, "a folder is stopped");
    spec.live.problem(&new);
    let (folder, stored) = (spec.info.row, new.clone());
    let put = spec.store.write_blocking(move |connection| problems::put(connection, folder, &stored));
    *told = put.ok().map(|()| new);
}

fn clear(spec: &Spec, problem: &FolderProblem) -> Result<(), StoreError> {
    let (folder, code) = (spec.info.row, problem.code.clone());
    spec.store.write_blocking(move |connection| problems::clear_code(connection, folder, "", &code))
}
