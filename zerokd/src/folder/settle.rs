//! What a kill left behind, put right before anything else looks at the folder.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::RenameFlags;

use super::disk_path::DiskPath;
use super::engine::Engine;
use super::engine_error::EngineError;
use super::index::intents::{self, Intent};
use super::index::rows;
use super::list;
use super::root::Dirs;
use super::stat::{Stat, now_ns};
use crate::store::StoreError;

impl Engine {
    /// Settles begun exchanges and empties the directory of temporaries. The paths themselves stand in the pending
    /// list: looked at again, each is found to hold what it should, or is brought there.
    ///
    /// # Errors
    /// The database, or the directory of temporaries cannot be listed.
    pub(crate) fn settle(&self) -> Result<(), EngineError> {
        let folder = self.info.row;
        let begun: Vec<Intent> = self.store.read_blocking(|connection| intents::all(connection, folder))?;
        for intent in &begun {
            self.settle_one(intent)?;
        }
        for name in list::names(self.stage.dir())? {
            if let Ok(name) = std::str::from_utf8(&name)
                && !begun.iter().any(|intent| intent.tmp == name)
                && !self.stage.may_go_on(name, now_ns())
            {
                self.stage.discard(name);
            }
        }
        if !begun.is_empty() {
            self.store.write_blocking(move |connection| {
                begun.iter().try_for_each(|intent| intents::remove(connection, folder, &intent.tmp))
            })?;
        }
        Ok(())
    }

    fn settle_one(&self, intent: &Intent) -> Result<(), EngineError> {
        let Some(standing) = Stat::of(self.stage.dir(), OsStr::new(&intent.tmp))? else { return Ok(()) };
        if standing.inode == intent.inode {
            // The exchange was not done, or was taken back.
            self.stage.discard(&intent.tmp);
            return Ok(());
        }
        let folder = self.info.row;
        let row = self.store.read_blocking(|connection| rows::get(connection, folder, &intent.key))?;
        let Some(row) = row else { return self.keep_as(intent, &intent.key) };
        let as_indexed = row.row.state.is_some() && row.stat.same_content_as(&standing);
        if !as_indexed && self.exchange_back(intent, &row.path) {
            return Ok(());
        }
        self.keep_as(intent, row.path.on_disk())
    }

    /// What was displaced is a local edit: it goes back to its path if the path still holds what displaced it, so that
    /// it is found there and becomes a record like any other edit.
    fn exchange_back(&self, intent: &Intent, path: &zerok_core::RelPath) -> bool {
        let swap = || -> std::io::Result<bool> {
            let at = DiskPath::of(path).map_err(|_| std::io::ErrorKind::InvalidInput)?;
            let (parent, name) = at.split().ok_or(std::io::ErrorKind::InvalidInput)?;
            let root = self.root.clone();
            let dir = Dirs::new(&root).open(&parent)?;
            if Stat::of(&*dir, name)?.is_none_or(|there| there.inode != intent.inode) {
                return Ok(false);
            }
            rustix::fs::renameat_with(self.stage.dir(), &*intent.tmp, &*dir, name, RenameFlags::EXCHANGE)?;
            Ok(true)
        };
        if !swap().unwrap_or(false) {
            return false;
        }
        // What came out was put there by this daemon, but may have been written to since.
        self.keep_displaced(&intent.tmp, &DiskPath::of(path).unwrap_or_else(|_| DiskPath::root()));
        true
    }

    fn keep_as(&self, intent: &Intent, path: &str) -> Result<(), EngineError> {
        let at =
            DiskPath::parse(OsStr::new(path).as_bytes()).map_err(|_| StoreError::Damaged("an intent"))?;
        self.keep_displaced(&intent.tmp, &at);
        Ok(())
    }
}
