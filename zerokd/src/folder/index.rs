//! The index of a folder: what its disk held last, what its records say, and what is still to be done.
//!
//! `folder_path` has a row for every path that was put on or taken from this disk. `folder_record` has the undominated
//! records of every path, and the conflict copies derived from them. Where the two differ the path stands in
//! `folder_pending`, written in the transaction that made them differ; so a kill at any point leaves the work listed.
//! Only the folder's own thread writes these tables.

pub(crate) mod content;
pub(crate) mod folders;
pub(crate) mod intents;
pub(crate) mod pending;
pub(crate) mod problems;
pub(crate) mod records;
pub(crate) mod rows;

/// A folder's row in the database.
pub(crate) type FolderRow = i64;

/// The directory part and the name of a path's key.
pub(crate) fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

/// The key of `name` in `parent`.
pub(crate) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

/// The keys strictly below a directory: `parent` is the directory itself, or lies between these two.
pub(crate) fn below(directory: &str) -> (String, String) {
    // '0' is the character after '/'.
    (format!("{directory}/"), format!("{directory}0"))
}
