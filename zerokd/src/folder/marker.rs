//! `.zerok/folder`: says which folder this directory is, and on which device. A folder whose marker is missing or
//! another's is not touched: it may be an empty mount point, or a copy.

use std::ffi::OsStr;
use std::io::{self, Read, Write};

use rustix::fs::{AtFlags, Mode, OFlags};
use zerok_core::FolderId;
use zerok_protocol::DeviceId;

use super::root::{Root, open_dir, open_regular};

const NAME: &str = "folder";
/// Largest marker that is read.
const MAX_BYTES: u64 = 4096;

/// What a directory says it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// No folder.
    No,
    /// This folder, on this device.
    As(FolderId, DeviceId),
    /// There is a marker that nobody can read.
    Unreadable,
}

/// Reads the marker.
///
/// # Errors
/// The disk refuses.
pub(crate) fn read(root: &Root) -> io::Result<Marked> {
    let own = match open_dir(root, OsStr::new(super::disk_path::OWN_DIR)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Marked::No),
        other => other?,
    };
    let file = match open_regular(&own, OsStr::new(NAME)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Marked::No),
        other => other?,
    };
    let mut text = String::new();
    if file.take(MAX_BYTES).read_to_string(&mut text).is_err() {
        return Ok(Marked::Unreadable);
    }
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    let folder = field("folder").and_then(|t| t.parse().ok());
    let device = field("device").and_then(|t| t.parse().ok());
    Ok(match (folder, device) {
        (Some(folder), Some(device)) => Marked::As(folder, device),
        _ => Marked::Unreadable,
    })
}

/// Writes the marker, in one step.
///
/// # Errors
/// The disk refuses.
pub(crate) fn write(root: &Root, folder: &FolderId, device: &DeviceId) -> io::Result<()> {
    let own = root.own_dir("")?;
    let text = format!(
        "# 0k-Sync keeps this directory in step; do not edit or copy this file.\nfolder {}\ndevice {}\n",
        folder.to_hex(),
        device.to_hex()
    );
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let new = "folder.new";
    let mut file = std::fs::File::from(rustix::fs::openat(&own, new, flags, Mode::from_raw_mode(0o600))?);
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    rustix::fs::renameat(&own, new, &own, NAME)?;
    rustix::fs::fsync(&own)?;
    Ok(rustix::fs::fsync(root)?)
}

/// Removes the marker, because the directory is no folder any more.
///
/// # Errors
/// The disk refuses.
pub(crate) fn remove(root: &Root) -> io::Result<()> {
    match rustix::fs::unlinkat(&root.own_dir("")?, NAME, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_comes_back_and_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let (folder, device) = (FolderId::from([1; 16]), DeviceId([2; 32]));
        assert_eq!(read(&root).unwrap(), Marked::No);
        write(&root, &folder, &device).unwrap();
        assert_eq!(read(&root).unwrap(), Marked::As(folder, device));
        std::fs::write(dir.path().join(".zerok/folder"), "garbage").unwrap();
        assert_eq!(read(&root).unwrap(), Marked::Unreadable);
        remove(&root).unwrap();
        assert_eq!(read(&root).unwrap(), Marked::No);
    }
}
