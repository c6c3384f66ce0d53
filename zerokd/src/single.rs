//! One daemon for each data directory: a lock that the system lets go of when its holder dies, with the holder's pid.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SingleError {
    /// Another daemon runs here.
    #[error("another zerokd is running with this data directory (pid {0})")]
    Running(String),
    /// The lock file cannot be used.
    #[error("lock file: {0}")]
    Io(#[from] io::Error),
}

/// Held while the daemon runs.
pub(crate) struct Lock {
    _file: File,
}

/// Takes the lock, or names who holds it.
pub(crate) fn lock(path: &Path) -> Result<Lock, SingleError> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            Read::by_ref(&mut file).take(32).read_to_string(&mut pid)?;
            return Err(SingleError::Running(pid.trim().to_owned()));
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Lock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_first_ones_pid() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = lock(&path).unwrap();
        match lock(&path) {
            Err(SingleError::Running(pid)) => assert_eq!(pid, std::process::id().to_string()),
            _ => panic!("the lock was given twice"),
        }
        drop(first);
        assert!(lock(&path).is_ok());
    }
}
