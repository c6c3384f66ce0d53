//! Folders full of the things that folders are full of.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// What a sample holds.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Small files, of 0 to 8 KiB each.
    pub files: usize,
    /// Bytes of one large file; 0 for none.
    pub large: usize,
}

impl Sample {
    /// Writes it below `root`: nested and empty directories, names with spaces, umlauts and quotes, an empty file, a
    /// symlink and an executable among the rest.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(self, root: &Path) {
        let plain = ["notes", "photos/2026/süß & warm", "deep/er/and/deep/er", "quo\"tes 'and' more"];
        for directory in plain.iter().chain(&["empty", "deep/empty one"]) {
            fs::create_dir_all(root.join(directory)).expect("a sample directory");
        }
        for (i, directory) in (0..self.files).zip(plain.iter().cycle()) {
            let name = match i % 4 {
                0 => format!("file {i}.txt"),
                1 => format!("Übersicht-{i}.md"),
                2 => format!("it's \"{i}\".dat"),
                _ => format!("plain{i}"),
            };
            let contents = noise(&format!("{}/{i}", root.display()), (i * 37) % 8192);
            fs::write(root.join(directory).join(name), contents).expect("a sample file");
        }
        fs::write(root.join("nothing in it"), b"").expect("an empty file");
        fs::write(root.join("run.sh"), b"#!/bin/sh\necho hello\n").expect("a script");
        fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).expect("an executable");
        symlink("notes/../run.sh", root.join("a link")).expect("a symlink");
        if self.large > 0 {
            fs::write(root.join("large.bin"), noise("large", self.large)).expect("a large file");
        }
    }
}

/// Bytes that look random and are the same every time.
#[must_use]
pub fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
