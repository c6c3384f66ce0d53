//! What a folder is doing right now, for status and events.

use std::sync::{Arc, Mutex};

use serde_json::json;
use zerok_client::types::{FolderState, kind};
use zerok_core::FolderId;
use zerok_protocol::GroupId;

use super::index::problems::FolderProblem;
use crate::events::Events;

/// Handle to a folder's state; cheap to clone.
#[derive(Clone)]
pub(crate) struct Live {
    state: Arc<Mutex<FolderState>>,
    events: Events,
    group: GroupId,
    folder: FolderId,
}

impl Live {
    /// A folder that begins by scanning.
    pub(crate) fn new(events: Events, group: GroupId, folder: FolderId) -> Self {
        Self { state: Arc::new(Mutex::new(FolderState::Scanning)), events, group, folder }
    }

    /// What it is doing.
    pub(crate) fn state(&self) -> FolderState {
        *self.state.lock().expect("nobody panics while holding it")
    }

    /// It does something else now.
    pub(crate) fn set(&self, state: FolderState) {
        let before =
            std::mem::replace(&mut *self.state.lock().expect("nobody panics while holding it"), state);
        if before == state {
            return;
        }
        let kind = match state {
            FolderState::Scanning => kind::FOLDER_SCANNING,
            FolderState::Syncing => kind::FOLDER_SYNCING,
            FolderState::Idle => kind::FOLDER_IDLE,
            _ => return,
        };
        self.emit(kind, json!({"folder": self.folder.to_hex()}));
    }

    /// A path was put in place or removed.
    pub(crate) fn item(&self, path: &str, bytes: Option<u64>) {
        let change = if bytes.is_some() { "changed" } else { "removed" };
        let data = json!({
            "folder": self.folder.to_hex(), "path": path, "change": change, "bytes": bytes.unwrap_or(0)
        });
        self.emit(kind::FOLDER_ITEM, data);
    }

    /// A conflict copy was derived.
    pub(crate) fn conflict(&self, path: &str, copy: &str) {
        self.emit(kind::FOLDER_CONFLICT, json!({"folder": self.folder.to_hex(), "path": path, "copy": copy}));
    }

    /// Something stands in the way.
    pub(crate) fn problem(&self, problem: &FolderProblem) {
        let path = Some(&problem.path).filter(|path| !path.is_empty());
        let data = json!({
            "folder": self.folder.to_hex(),
            "path": path,
            "code": problem.code,
            "text": problem.text,
            "hint": problem.hint,
        });
        self.emit(kind::FOLDER_PROBLEM, data);
    }

    fn emit(&self, kind: &'static str, data: serde_json::Value) {
        self.events.emit(kind, Some(self.group), data);
    }
}
