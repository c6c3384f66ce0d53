//! The sample folder: small and large files, odd names, an empty file and directory, a symlink, an executable.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Bytes of the large file.
const LARGE: usize = 8 << 20;
/// Small files.
const SMALL: usize = 100;

pub(super) fn write(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root.join("documents/letters"))?;
    fs::create_dir_all(root.join("empty directory"))?;
    fs::write(root.join("documents/Grüße an 'alle'.txt"), "Grüße! Äpfel, Öl und Übermut.\n".repeat(20))?;
    fs::write(root.join("documents/an empty file.txt"), "")?;
    for i in 0..SMALL {
        let text =
            format!("Dear reader number {i},\nthis is a letter that only its owner's devices can read.\n");
        fs::write(root.join(format!("documents/letters/letter-{i:03}.txt")), text.repeat(1 + i % 7))?;
    }
    fs::write(root.join("backup-script.sh"), "#!/bin/sh\necho 'nothing to run, nothing to fear'\n")?;
    fs::set_permissions(root.join("backup-script.sh"), fs::Permissions::from_mode(0o755))?;
    symlink("documents/letters", root.join("shortcut-to-letters"))?;
    let mut large = fs::File::create(root.join("holiday-film.raw"))?;
    let mut noise = blake3::Hasher::new().update(b"0k-sync demo").finalize_xof();
    let mut block = vec![0; 1 << 20];
    for _ in 0..LARGE / block.len() {
        noise.fill(&mut block);
        large.write_all(&block)?;
    }
    Ok(())
}
