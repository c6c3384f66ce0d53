//! Folders that are kept in step.

use serde::{Deserialize, Serialize};

/// What a folder is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderState {
    /// Shared by another device and not joined here.
    Offered,
    /// Looking at what is on disk.
    Scanning,
    /// Taking in or giving out changes.
    Syncing,
    /// In step with what is known here.
    Idle,
    /// Stopped by a problem.
    Stopped,
    /// A state that this version of the SDK does not know.
    #[serde(other)]
    Unknown,
}

/// A folder, in `folder.list` and in the answers of `folder.add` and `folder.join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Folder id, in hex.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is on this device; null while it is only offered.
    pub path: Option<String>,
    /// What it is doing.
    pub state: FolderState,
}

/// The answer to `folder.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderList {
    /// Every folder of the group, offered ones included.
    pub folders: Vec<Folder>,
}

/// How far a folder's work is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Items done.
    pub files_done: u64,
    /// Items known to be there to do.
    pub files_total: u64,
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes known to be there to do.
    pub bytes_total: u64,
}

/// An item of a folder that cannot be kept in step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderProblem {
    /// A stable word for programs.
    pub code: String,
    /// The item, `/`-separated below the folder; null when it is the folder itself.
    pub path: Option<String>,
    /// What is wrong, for people.
    pub text: String,
    /// What to do next, for people.
    pub hint: String,
}

/// The answer to `folder.status`, and a row of `daemon.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderStatus {
    /// Folder id, in hex.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is on this device; null while it is only offered.
    pub path: Option<String>,
    /// What it is doing.
    pub state: FolderState,
    /// Number of files and symlinks that it holds here.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How far the work is; null when there is none.
    pub progress: Option<Progress>,
    /// What stands in the way, at most the first 100.
    pub problems: Vec<FolderProblem>,
}
