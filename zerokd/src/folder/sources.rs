//! Where plaintext lies: the folders' own files, found by hash in their indexes.

use std::fs::File;

use zerok_protocol::Hash;

use super::disk_path::DiskPath;
use super::index::{folders, rows};
use super::root::{Dirs, Root};
use crate::content::Sources;
use crate::store::log::GroupRow;
use crate::store::{Store, StoreError};

/// See the module.
pub(crate) struct FolderSources {
    /// The database.
    pub(crate) store: Store,
}

impl Sources for FolderSources {
    fn open(&self, grp: GroupRow, hash: &Hash, size: u64) -> Option<File> {
        let found = self.store.read_blocking(|connection| {
            let mut found = Vec::new();
            for folder in folders::all(connection, Some(grp))? {
                let Some(path) = folder.path else { continue };
                let rows = rows::with_content(connection, folder.row, hash)?;
                found.extend(rows.into_iter().map(|row| (path.clone(), row)));
            }
            Ok::<_, StoreError>(found)
        });
        found.ok()?.into_iter().find_map(|(path, row)| {
            let root = Root::open(&path).ok()?;
            let file = root.open_file(&mut Dirs::new(&root), &DiskPath::of(&row.path).ok()?).ok()?;
            (file.metadata().ok()?.len() == size).then_some(file)
        })
    }
}
