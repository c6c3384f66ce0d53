//! Where a relay keeps its files: in the data directory unless the configuration says otherwise.

use std::path::PathBuf;

use super::Config;

impl Config {
    /// The database.
    #[must_use]
    pub fn database_path(&self) -> PathBuf {
        self.storage.database.clone().unwrap_or_else(|| self.data.join("relay.db"))
    }

    /// The relay's key.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.server.secret_key_path.clone().unwrap_or_else(|| self.data.join("relay.key"))
    }

    /// Directory of the chunk cache.
    #[must_use]
    pub fn chunks_dir(&self) -> PathBuf {
        self.content.dir.clone().unwrap_or_else(|| self.data.join("chunks"))
    }
}
