//! Looking for what must not be there: pieces of plaintext in every file of a directory, in the forms in which they
//! could hide.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Where a piece was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// In which file.
    pub file: PathBuf,
    /// Which piece, by its place in the list.
    pub needle: usize,
    /// In which form.
    pub form: &'static str,
}

/// The first bytes of a zstd frame.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The most that one compressed frame may unfold to here.
const UNFOLDED: u64 = 64 << 20;

/// Searches files and whole directories for any of the needles: as they are, in hex, in base64 at each alignment, in
/// UTF-16, and each of these within any zstd frame.
///
/// # Panics
/// A file that is there cannot be read.
#[must_use]
pub fn search(places: &[&Path], needles: &[&[u8]]) -> Vec<Hit> {
    let forms: Vec<_> = needles.iter().map(|needle| forms(needle)).collect();
    let mut hits = Vec::new();
    for place in places {
        visit(place, &mut |file, contents| {
            let frames = unfold(contents);
            for (needle, forms) in forms.iter().enumerate() {
                for (form, bytes) in forms {
                    if contains(contents, bytes) || frames.iter().any(|frame| contains(frame, bytes)) {
                        hits.push(Hit { file: file.to_owned(), needle, form });
                    }
                }
            }
        });
    }
    hits
}

fn forms(needle: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let lower = hex::encode(needle);
    let wide = needle.iter().flat_map(|byte| [*byte, 0]).collect();
    let mut forms = vec![
        ("plain", needle.to_vec()),
        ("hex", lower.clone().into_bytes()),
        ("hex", lower.to_uppercase().into_bytes()),
        ("utf-16", wide),
    ];
    for shift in 0..3 {
        let shifted = [&[0; 3][..shift], needle].concat();
        for text in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            // Only the characters that the needle alone decides: those at either end mix with its neighbours.
            let from = [0, 2, 3][shift];
            let to = shifted.len() / 3 * 4;
            if let Some(inner) = text.get(from..to) {
                forms.push(("base64", inner.as_bytes().to_vec()));
            }
        }
    }
    forms
}

fn unfold(contents: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for at in 0..contents.len().saturating_sub(ZSTD.len()) {
        if contents[at..].starts_with(&ZSTD)
            && let Ok(decoder) = zstd::stream::read::Decoder::new(&contents[at..])
        {
            let mut frame = Vec::new();
            // What follows the frame is no zstd: what was unfolded until then counts.
            let _ = decoder.take(UNFOLDED).read_to_end(&mut frame);
            frames.push(frame);
        }
    }
    frames
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some((first, _)) = needle.split_first() else { return true };
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

fn visit(place: &Path, found: &mut dyn FnMut(&Path, &[u8])) {
    if place.is_dir() {
        for entry in std::fs::read_dir(place).expect("a directory can be listed").flatten() {
            visit(&entry.path(), found);
        }
    } else if place.is_file() {
        found(place, &std::fs::read(place).expect("a file can be read"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_piece_is_found_in_every_form_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let needle = b"a canary that sings 0123456789";
        let around = |inner: &[u8]| [b"xy".as_slice(), inner, b"tail".as_slice()].concat();
        let texts: Vec<(&str, Vec<u8>)> = vec![
            ("plain", around(needle)),
            ("hex", hex::encode(around(needle)).into_bytes()),
            ("base64-0", STANDARD_NO_PAD.encode([needle.as_slice(), b"z"].concat()).into_bytes()),
            ("base64-1", STANDARD_NO_PAD.encode([b"z".as_slice(), needle, b"z"].concat()).into_bytes()),
            ("base64-2", URL_SAFE_NO_PAD.encode(around(needle)).into_bytes()),
            ("zstd", around(&zstd::encode_all(needle.repeat(20).as_slice(), 3).unwrap())),
        ];
        for (name, text) in &texts {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            assert_eq!(search(&[&file], &[b"something else here", needle])[0].needle, 1, "{name}");
        }
        let other = dir.path().join("other");
        std::fs::write(&other, crate::noise("other", 1 << 20)).unwrap();
        assert_eq!(search(&[&other], &[needle]), []);
        assert!(search(&[dir.path()], &[needle]).len() >= texts.len());
    }
}
