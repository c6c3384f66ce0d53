//! Content-defined cutting: FastCDC (Xia et al., "The Design of Fast Content Defined Chunking for Data Deduplication
//! Based Storage Systems", IEEE TPDS 2020), its gear table keyed by the group, so that the sizes of chunks tell a relay
//! nothing about known files. Cut points are a format: change nothing here without a new one.

use fastcdc::v2020::{Normalization, cut_gear, select_masks};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Most plaintext bytes in one chunk.
pub const MAX_CHUNK_PLAIN: usize = 1 << 20;

const GIB: u64 = 1 << 30;
const LABEL: &[u8] = b"0k-sync v1 gear table\0";

/// Finds the cut points of one file.
pub struct Cutter {
    gear: Zeroizing<Vec<u64>>,
    gear_shifted: Zeroizing<Vec<u64>>,
    sizes: Sizes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    min: usize,
    normal: usize,
}

impl Sizes {
    /// Larger chunks for larger files, so that the list of their references stays in proportion.
    fn of(file_size: u64) -> Self {
        if file_size <= GIB {
            Self { min: 16 << 10, normal: 64 << 10 }
        } else if file_size <= 16 * GIB {
            Self { min: 64 << 10, normal: 256 << 10 }
        } else {
            Self { min: 128 << 10, normal: 512 << 10 }
        }
    }
}

impl Cutter {
    /// For a file of `file_size` bytes in the group with this gear key ([`GroupKeys::gear`](crate::GroupKeys)).
    #[must_use]
    pub fn new(gear: &Secret<32>, file_size: u64) -> Self {
        let mut table = Zeroizing::new(vec![0u64; 256]);
        let mut stream = blake3::Hasher::new_keyed(gear.expose()).update(LABEL).finalize_xof();
        for value in table.iter_mut() {
            let mut bytes = Zeroizing::new([0u8; 8]);
            stream.fill(&mut *bytes);
            *value = u64::from_le_bytes(*bytes);
        }
        let shifted = Zeroizing::new(table.iter().map(|value| value << 1).collect());
        Self { gear: table, gear_shifted: shifted, sizes: Sizes::of(file_size) }
    }

    /// The length of the chunk that begins where `window` does. `None`: a longer window is needed, which is never so
    /// for [`MAX_CHUNK_PLAIN`] bytes, nor for the file's `last`, but when nothing is left.
    #[must_use]
    pub fn next(&self, window: &[u8], last: bool) -> Option<usize> {
        if window.is_empty() || (window.len() < MAX_CHUNK_PLAIN && !last) {
            return None;
        }
        let Sizes { min, normal } = self.sizes;
        let (strict, loose) = select_masks(normal, Normalization::Level1);
        let (_, length) = cut_gear(
            window,
            min,
            normal,
            MAX_CHUNK_PLAIN,
            strict,
            loose,
            strict << 1,
            loose << 1,
            &self.gear,
            &self.gear_shifted,
        );
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Secret<32> {
        [n; 32].into()
    }

    /// Reproducible bytes without any structure.
    fn noise(length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut out);
        out
    }

    /// Cuts as a reader does that holds at most `window` bytes.
    fn cuts(cutter: &Cutter, data: &[u8], window: usize) -> Vec<usize> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < data.len() {
            let end = data.len().min(at + window);
            let length = cutter.next(&data[at..end], end == data.len()).unwrap();
            at += length;
            out.push(length);
        }
        out
    }

    #[test]
    fn the_cut_points_are_these() {
        let data = noise(1 << 20);
        let cutter = Cutter::new(&key(1), 1 << 20);
        let lengths = cuts(&cutter, &data, MAX_CHUNK_PLAIN);
        assert_eq!(lengths, GOLDEN);
        assert_eq!(lengths.iter().sum::<usize>(), data.len());
    }

    const GOLDEN: &[usize] =
        &[77333, 91826, 116_958, 85344, 20515, 79803, 225_112, 49402, 68659, 73063, 72048, 88513];

    #[test]
    fn the_cut_points_do_not_depend_on_how_the_file_is_read() {
        let data = noise(6 << 20);
        let cutter = Cutter::new(&key(1), 1 << 20);
        assert_eq!(cuts(&cutter, &data, MAX_CHUNK_PLAIN), cuts(&cutter, &data, data.len()));
        assert_eq!(cutter.next(&data[..MAX_CHUNK_PLAIN - 1], false), None);
        assert_eq!(cutter.next(&[], true), None);
    }

    #[test]
    fn another_group_cuts_elsewhere() {
        let data = noise(1 << 20);
        let lengths = |n| cuts(&Cutter::new(&key(n), 1 << 20), &data, MAX_CHUNK_PLAIN);
        assert_ne!(lengths(1), lengths(2));
    }

    #[test]
    fn an_inserted_byte_moves_one_or_two_chunks() {
        let mut data = noise(8 << 20);
        let cutter = Cutter::new(&key(1), 1 << 20);
        let chunks = |data: &[u8]| -> std::collections::HashSet<[u8; 32]> {
            let mut rest = data;
            let mut found = std::collections::HashSet::new();
            for length in cuts(&cutter, data, MAX_CHUNK_PLAIN) {
                let (chunk, tail) = rest.split_at(length);
                found.insert(*blake3::hash(chunk).as_bytes());
                rest = tail;
            }
            found
        };
        let before = chunks(&data);
        data.insert(4 << 20, 7);
        assert!(chunks(&data).difference(&before).count() <= 2);
    }

    #[test]
    fn larger_files_have_larger_chunks_and_none_exceeds_the_limit() {
        let data = noise(24 << 20);
        let average = |size| data.len() / cuts(&Cutter::new(&key(1), size), &data, MAX_CHUNK_PLAIN).len();
        assert!((60 << 10..110 << 10).contains(&average(GIB)), "{}", average(GIB));
        assert!((240 << 10..440 << 10).contains(&average(GIB + 1)), "{}", average(GIB + 1));
        assert!((440 << 10..800 << 10).contains(&average(17 * GIB)), "{}", average(17 * GIB));
        let zeros = vec![0; 3 << 20];
        assert!(cuts(&Cutter::new(&key(1), 0), &zeros, 2 << 20).iter().all(|n| *n <= MAX_CHUNK_PLAIN));
    }
}
