//! The relay's identity: 32 bytes in a file (`relay.key`, unless configured), made once, 0600 from creation, on disk before it is used.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use iroh::SecretKey;

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Reading or writing failed.
    #[error("relay.key")]
    Io(#[from] std::io::Error),
    /// The file does not hold 32 bytes.
    #[error(
        "relay.key holds {found} bytes, expected 32: restore it from a backup, or remove it to get a new identity"
    )]
    Length {
        /// Bytes found, at most 33.
        found: usize,
    },
    /// Others can read it.
    #[error("relay.key can be read by others (mode {mode:o}): chmod 600 it")]
    Mode {
        /// The permission bits.
        mode: u32,
    },
    /// The system's random source failed.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// The key in the file, made now if there is none.
pub(crate) fn load_or_create(path: &Path) -> Result<SecretKey, KeyError> {
    match File::open(path) {
        Ok(file) => load(file),
        Err(e) if e.kind() == ErrorKind::NotFound => create(path),
        Err(e) => Err(e.into()),
    }
}

fn load(file: File) -> Result<SecretKey, KeyError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let mode = file.metadata()?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Mode { mode });
        }
    }
    let mut bytes = Vec::with_capacity(33);
    file.take(33).read_to_end(&mut bytes)?;
    let raw: [u8; 32] = bytes.try_into().map_err(|b: Vec<u8>| KeyError::Length { found: b.len() })?;
    Ok(SecretKey::from_bytes(&raw))
}

/// Written under another name first, so that a crash leaves no half key behind.
fn create(path: &Path) -> Result<SecretKey, KeyError> {
    let mut raw = [0u8; 32];
    getrandom::fill(&mut raw).map_err(KeyError::Random)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    match std::fs::remove_file(&temporary) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(&raw)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    #[cfg(unix)]
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        File::open(dir)?.sync_all()?;
    }
    Ok(SecretKey::from_bytes(&raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay.key");
        let first = load_or_create(&path).unwrap();
        let second = load_or_create(&path).unwrap();
        assert_eq!(first.to_bytes(), second.to_bytes());
        let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_or_exposed_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay.key");
        load_or_create(&path).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyError::Length { found: 5 })));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyError::Mode { mode: 0o644 })));
    }
}
