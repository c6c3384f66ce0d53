//! Searching the relay's files for anything readable.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;

use super::show;
use super::tree::{self, Item, Tree};

/// Length of a piece of content.
const PIECE: usize = 16;
/// Shorter names could stand in random bytes by chance.
const SHORTEST_NAME: usize = 6;
/// A piece with fewer different bytes (zeros) could stand anywhere.
const DIFFERENT: usize = 8;

/// What is searched for.
pub(super) struct Needles {
    needles: Vec<Vec<u8>>,
    automaton: AhoCorasick,
}

impl Needles {
    /// Each name, and 16 bytes from the middle of each content.
    pub(super) fn of(samples: &Tree, root: &Path) -> anyhow::Result<Self> {
        let mut needles = BTreeSet::new();
        for (path, item) in &samples.0 {
            if let Some(name) = path.file_name().map(|name| name.as_encoded_bytes())
                && name.len() >= SHORTEST_NAME
            {
                needles.insert(name.to_vec());
            }
            if matches!(item, Item::File { .. }) {
                let piece = piece(&root.join(path))?;
                needles.extend(piece);
            }
        }
        let needles: Vec<Vec<u8>> = needles.into_iter().collect();
        anyhow::ensure!(!needles.is_empty(), "the folder has nothing that could be searched for");
        let automaton = AhoCorasick::new(&needles)?;
        Ok(Self { needles, automaton })
    }

    pub(super) fn count(&self) -> usize {
        self.needles.len()
    }

    /// Something that holds the first of them, among other bytes.
    pub(super) fn plant(&self) -> Vec<u8> {
        let first = self.needles.first().map_or(&[][..], Vec::as_slice);
        [&[0x5a; 5000][..], first, &[0xa5; 300]].concat()
    }

    /// The files, or files below the directories, that hold one of them.
    pub(super) fn find_below(&self, places: &[PathBuf]) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for file in files(places)? {
            for hit in self.automaton.stream_find_iter(fs::File::open(&file)?).take(1) {
                let _position = hit?;
                found.push(file.file_name().unwrap_or_default().to_string_lossy().into_owned());
            }
        }
        Ok(found)
    }
}

fn piece(path: &Path) -> io::Result<Option<Vec<u8>>> {
    use std::os::unix::fs::FileExt;
    let file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    if size < PIECE as u64 {
        return Ok(None);
    }
    let mut piece = vec![0; PIECE];
    file.read_exact_at(&mut piece, (size - PIECE as u64) / 2)?;
    let different: BTreeSet<u8> = piece.iter().copied().collect();
    Ok((different.len() >= DIFFERENT).then_some(piece))
}

/// Everything that the embedded relay keeps in a daemon's home: its database with -wal and -shm, its key, its chunks.
pub(super) fn relay_files(home: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(home)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("relay.") || name == "chunks" {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn files(places: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for place in places {
        if place.is_dir() {
            let below = tree::read(place)?.0;
            files.extend(
                below
                    .iter()
                    .filter(|(_, i)| matches!(i, Item::File { .. }))
                    .map(|(path, _)| place.join(path)),
            );
        } else {
            files.push(place.clone());
        }
    }
    Ok(files)
}

/// How many files and bytes that is, for people.
pub(super) fn described(places: &[PathBuf]) -> io::Result<String> {
    let files = files(places)?;
    let mut bytes = 0;
    for file in &files {
        bytes += fs::File::open(file)?.metadata()?.len();
    }
    Ok(format!("{} files ({})", files.len(), show::bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_piece_is_found_and_noise_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("samples");
        super::super::sample::write(&root).unwrap();
        let needles = Needles::of(&tree::read(&root).unwrap(), &root).unwrap();
        let planted = dir.path().join("planted");
        fs::write(&planted, needles.plant()).unwrap();
        let noise = dir.path().join("noise");
        fs::write(&noise, blake3::hash(b"noise").as_bytes().repeat(1000)).unwrap();
        assert_eq!(needles.find_below(&[planted]).unwrap(), ["planted"]);
        assert!(needles.find_below(&[noise]).unwrap().is_empty());
    }
}
