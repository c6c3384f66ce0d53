use std::collections::HashMap;

use zerok_protocol::{EpochId, GroupId};

use super::*;
use crate::chunk::{open_chunk, open_root};
use crate::entry::ContentRef;
use crate::secret::{EpochKeys, EpochSecret};

const GROUP: GroupId = GroupId([7; 32]);
const EPOCH: EpochId = EpochId { number: 1, tag: 2 };

fn keys() -> EpochKeys {
    EpochKeys::derive(&EpochSecret::from([9; 32]))
}

fn chunk(n: u64) -> ChunkRef {
    let epoch = EpochId { number: n % 3, tag: 5 };
    ChunkRef { address: Hash::of(&n.to_be_bytes()), epoch, length: 65_536 }
}

/// A relay's cache, and the name of what was put there.
struct Built {
    store: HashMap<Hash, SealedChunk>,
    content: ContentRef,
}

fn build(chunks: &[ChunkRef]) -> Built {
    let mut sealer = ChunkSealer::new(&keys(), GROUP, EPOCH);
    let (mut builder, mut sealed) = (ListBuilder::new(), Vec::new());
    for chunk in chunks {
        sealed.extend(builder.push(*chunk, &mut sealer).unwrap());
    }
    let finished = builder.finish(&mut sealer).unwrap();
    sealed.extend(finished.sealed);
    let size = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
    let content = ContentRef { root: finished.root.address, epoch: EPOCH, size, hash: Hash([0; 32]) };
    Built { store: sealed.into_iter().map(|s| (s.chunk.address, s)).collect(), content }
}

fn read(built: &Built) -> Result<Vec<ChunkRef>, ListError> {
    let root = open_root(&keys(), &GROUP, &built.content, &built.store[&built.content.root].sealed).unwrap();
    match parse_root(&root, built.content.size)? {
        Root::Chunks(chunks) => Ok(chunks),
        Root::Leaves(leaves) => {
            let mut chunks = Vec::new();
            for leaf in leaves {
                let sealed = &built.store[&leaf.chunk.address].sealed;
                let leaf_bytes = open_chunk(&keys(), &GROUP, &leaf.chunk, ChunkKind::List, sealed).unwrap();
                chunks.extend(parse_leaf(&leaf_bytes, &leaf)?);
            }
            Ok(chunks)
        }
    }
}

#[test]
fn a_list_of_any_length_comes_back() {
    for count in [1, 2, 32, 256, 257, 5000] {
        let chunks: Vec<_> = (0..count).map(chunk).collect();
        let built = build(&chunks);
        assert_eq!(read(&built).unwrap(), chunks, "{count}");
    }
}

#[test]
fn a_small_file_has_one_list_chunk() {
    assert_eq!(build(&[chunk(0)]).store.len(), 1);
    // A leaf that ends exactly with the file is the root, not a second one above it.
    let chunks = vec![ChunkRef { address: Hash([0xff; 32]), ..chunk(0) }; MAX_LEAF];
    let built = build(&chunks);
    assert_eq!((built.store.len(), read(&built).unwrap()), (1, chunks));
}

#[test]
fn a_file_without_chunks_has_no_list() {
    let mut sealer = ChunkSealer::new(&keys(), GROUP, EPOCH);
    assert_eq!(ListBuilder::new().finish(&mut sealer).unwrap_err(), ListError::Count(0));
}

#[test]
fn an_edit_in_the_middle_moves_one_or_two_leaves_and_the_root() {
    let mut chunks: Vec<_> = (0..10_000).map(chunk).collect();
    let before = build(&chunks);
    assert!(before.store.len() > 40, "{}", before.store.len());
    chunks.splice(5000..5002, [chunk(70_000), chunk(70_001), chunk(70_002)]);
    let after = build(&chunks);
    let moved = after.store.keys().filter(|address| !before.store.contains_key(address)).count();
    assert!((2..=4).contains(&moved), "{moved}");
}

#[test]
fn the_bytes_are_these() {
    let leaf = encode_leaf(&[chunk(1)]);
    let want = format!("0100000000 01{}{:016x}{:016x}00010000", Hash::of(&1u64.to_be_bytes()).to_hex(), 1, 5);
    assert_eq!(hex::encode(&leaf), want.replace(' ', ""));
    let root = encode_root(&[LeafRef { chunk: chunk(1), bytes: 7 }]);
    let want = format!("010100000001{}0000000000000007", hex::encode(&leaf[HEADER..]));
    assert_eq!(hex::encode(root), want);
    assert_eq!(
        build(&(0..5000).map(chunk).collect::<Vec<_>>()).content.root.to_hex(),
        "ee05afdb87fec9054d59f623eb1c051d108cceaefeacbfefa1b5d2e85ef9e4a8"
    );
}

#[test]
fn a_list_that_does_not_add_up_is_refused() {
    let leaf = encode_leaf(&[chunk(1), chunk(2)]);
    assert_eq!(parse_root(&leaf, 131_072), Ok(Root::Chunks(vec![chunk(1), chunk(2)])));
    let wrong = |expected| Err(ListError::Size { found: 131_072, expected });
    assert_eq!(parse_root(&leaf, 131_071), wrong(131_071));
    let named = |bytes| LeafRef { chunk: chunk(9), bytes };
    assert_eq!(parse_leaf(&leaf, &named(1)).map(Root::Chunks), wrong(1));
    let root = encode_root(&[named(u64::MAX), named(u64::MAX)]);
    assert_eq!(parse_root(&root, 5), Err(ListError::Size { found: u64::MAX, expected: 5 }));
    assert_eq!(parse_leaf(&root, &named(1)), Err(ListError::Depth));
}

#[test]
fn a_list_that_is_none_is_refused() {
    let none = ChunkRef { length: 0, ..chunk(1) };
    let huge = ChunkRef { length: (1 << 20) + 1, ..chunk(1) };
    assert_eq!(parse_root(&encode_leaf(&[none]), 0), Err(ListError::Length(0)));
    assert_eq!(parse_root(&encode_leaf(&[huge]), (1 << 20) + 1), Err(ListError::Length((1 << 20) + 1)));
    assert_eq!(parse_root(&encode_leaf(&[]), 0), Err(ListError::Count(0)));
    assert_eq!(parse_root(&encode_leaf(&vec![chunk(1); 257]), 257 << 16), Err(ListError::Count(257)));
    let lone = encode_root(&[LeafRef { chunk: chunk(1), bytes: 7 }]);
    assert_eq!(parse_root(&lone, 7), Err(ListError::Count(1)));
    assert_eq!(parse_root(&[2, 0, 0, 0, 0, 0], 0), Err(ListError::Version(2)));
    assert_eq!(parse_root(&[1, 2, 0, 0, 0, 0], 0), Err(ListError::Malformed));
    assert_eq!(parse_root(&[1, 0, 0xff, 0xff, 0xff, 0xff], 0), Err(ListError::Malformed));
    assert_eq!(parse_root(b"", 0), Err(ListError::Malformed));
    let mut longer = encode_leaf(&[chunk(1)]);
    longer.push(0);
    assert_eq!(parse_root(&longer, 65_536), Err(ListError::Malformed));
}

#[test]
fn the_largest_root_fits_a_chunk() {
    let leaves = vec![LeafRef { chunk: chunk(1), bytes: 1 }; MAX_LEAVES];
    let root = encode_root(&leaves);
    assert!(root.len() <= MAX_CHUNK_PLAIN);
    assert!(parse_root(&root, 17_476).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), size in 0u64..9) {
        let _ = parse_root(&bytes, size);
        let leaf = [&[1, 0, 0, 0, 0, 1][..], &bytes].concat();
        let _ = parse_leaf(&leaf, &LeafRef { chunk: chunk(1), bytes: size });
    }
}
