//! The file that says where the relay is: there whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use zerok_protocol::RelayAddr;

/// Writes the address beside `path` and renames it into place.
pub(crate) fn write(path: &Path, address: &RelayAddr) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary)?;
    writeln!(file, "{}", address.expose())?;
    file.sync_all()?;
    std::fs::rename(temporary, path)
}
