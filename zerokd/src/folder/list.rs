//! One directory's names.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::Dir;

/// The names in an open directory, unsorted, without `.` and `..`.
///
/// # Errors
/// The listing broke off: then nothing may be concluded from a name's absence.
pub(crate) fn names(dir: impl AsFd) -> io::Result<Vec<Box<[u8]>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.into());
        }
    }
    Ok(names)
}
