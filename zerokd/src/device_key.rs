//! `device.key`: the device's 32-byte seed, 0600 in a 0700 directory.
//!
//! A new identity is made only where there is no database yet: a missing or unreadable key beside an existing
//! `state.db` stops the start, because a silent new identity would be a member of nothing. The key is written to a
//! temporary file, synced, renamed, and the directory synced, all before the database is made: a kill in between
//! leaves a key without a database, which the next start takes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroize;
use zerok_core::{DeviceKeys, Secret};

use crate::clock;
use crate::paths::Paths;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The data directory cannot be made or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The key is gone but the database is there.
    #[error("{} is missing beside an existing state.db: restore it from a backup. Without it this device cannot act as the member it was; to begin anew as another device, move the whole directory away", .0.display())]
    Missing(PathBuf),
    /// The file is no key.
    #[error("{} is damaged ({found} bytes, expected 32): restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// Others can read it.
    #[error("{} can be read by others (mode {mode:o}): chmod {want:o} {}", path.display(), path.display())]
    Loose {
        /// Which file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it must have.
        want: u32,
    },
}

/// Makes the data directory, and reads or makes the key.
pub(crate) fn load(paths: &Paths) -> Result<DeviceKeys, KeyError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::Io { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&paths.data).map_err(io_error(&paths.data))?;
    if is_fresh(&paths.data).map_err(io_error(&paths.data))? {
        fs::set_permissions(&paths.data, fs::Permissions::from_mode(0o700)).map_err(io_error(&paths.data))?;
    }
    tight(&paths.data, 0o700)?;
    let path = paths.device_key();
    let mut seed = match File::open(&path) {
        Ok(file) => {
            tight(&path, 0o600)?;
            read(&path, file)?
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if paths.database().exists() {
                return Err(KeyError::Missing(path));
            }
            create(&paths.data, &path).map_err(io_error(&path))?
        }
        Err(source) => return Err(KeyError::Io { path, source }),
    };
    let keys = DeviceKeys::from_seed(&Secret::from(seed));
    seed.zeroize();
    Ok(keys)
}

/// A directory made for the daemon holds nothing yet, or only its configuration.
fn is_fresh(data: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(data)? {
        if entry?.file_name() != "config.toml" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn tight(path: &Path, want: u32) -> Result<(), KeyError> {
    let metadata = fs::metadata(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 { Err(KeyError::Loose { path: path.to_owned(), mode, want }) } else { Ok(()) }
}

fn read(path: &Path, mut file: File) -> Result<[u8; 32], KeyError> {
    let mut bytes = Vec::with_capacity(64);
    let limited = Read::by_ref(&mut file).take(64).read_to_end(&mut bytes);
    let found = limited.map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
    let seed =
        <[u8; 32]>::try_from(&bytes[..]).map_err(|_| KeyError::Damaged { path: path.to_owned(), found });
    bytes.zeroize();
    seed
}

fn create(data: &Path, path: &Path) -> io::Result<[u8; 32]> {
    let seed: [u8; 32] = clock::random();
    let temporary = path.with_extension("key.new");
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&seed)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(data)?.sync_all()?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(dir: &Path) -> Paths {
        Paths { config: dir.join("c"), data: dir.join("data"), socket: dir.join("s") }
    }

    #[test]
    fn a_key_is_made_once_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        let id = load(&paths).unwrap().id();
        assert_eq!(load(&paths).unwrap().id(), id);
        assert_eq!(fs::metadata(paths.device_key()).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_key_beside_a_database_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        load(&paths).unwrap();
        fs::write(paths.database(), b"").unwrap();
        fs::remove_file(paths.device_key()).unwrap();
        assert!(matches!(load(&paths), Err(KeyError::Missing(_))));
        assert!(!paths.device_key().exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        load(&paths).unwrap();
        fs::set_permissions(paths.device_key(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load(&paths).map(|_| ()).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn an_empty_directory_is_closed_to_others_and_one_with_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        fs::create_dir(&paths.data).unwrap();
        fs::set_permissions(&paths.data, fs::Permissions::from_mode(0o755)).unwrap();
        load(&paths).unwrap();
        assert_eq!(fs::metadata(&paths.data).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&paths.data, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(load(&paths), Err(KeyError::Loose { .. })));
    }

    #[test]
    fn a_cut_off_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        load(&paths).unwrap();
        fs::write(paths.device_key(), [1; 31]).unwrap();
        assert!(matches!(load(&paths), Err(KeyError::Damaged { found: 31, .. })));
    }
}
