use super::*;
use crate::secret::EpochSecret;

const GROUP: GroupId = GroupId([7; 32]);
const EPOCH: EpochId = EpochId { number: 3, tag: 0x0102_0304_0506_0708 };

fn keys() -> EpochKeys {
    EpochKeys::derive(&EpochSecret::from([9; 32]))
}

fn sealer() -> ChunkSealer {
    ChunkSealer::new(&keys(), GROUP, EPOCH)
}

fn noise(length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut out);
    out
}

fn seal(plaintext: &[u8]) -> SealedChunk {
    sealer().seal(ChunkKind::Data, plaintext).unwrap()
}

fn open_data(chunk: &ChunkRef, sealed: &[u8]) -> Result<Vec<u8>, ChunkError> {
    open_chunk(&keys(), &GROUP, chunk, ChunkKind::Data, sealed)
}

/// A chunk whose inside is exactly `body`, sealed as a member could who does not keep to the rules.
fn forged(body: &[u8]) -> SealedChunk {
    let aad = associated_data(&GROUP, EPOCH, ChunkKind::Data);
    let nonce = nonce(&keys().chunk_nonce, &aad, body);
    let mut out = body.to_vec();
    let tag = XChaCha20Poly1305::new(keys().content.expose().into())
        .encrypt_inout_detached((&nonce).into(), &aad, out.as_mut_slice().into())
        .unwrap();
    let sealed = Bytes::from([&[VERSION], &nonce[..], &out, &tag].concat());
    SealedChunk { chunk: ChunkRef { address: Hash::of(&sealed), epoch: EPOCH, length: 5 }, sealed }
}

fn body(how: u8, plain: u32, stored: u32, rest: &[u8]) -> Vec<u8> {
    [&[how][..], &plain.to_be_bytes(), &stored.to_be_bytes(), rest].concat()
}

#[test]
fn a_chunk_opens_to_what_was_sealed() {
    for plaintext in
        [noise(1), noise(4096), noise(70_001), noise(MAX_CHUNK_PLAIN), vec![b'a'; MAX_CHUNK_PLAIN]]
    {
        let SealedChunk { chunk, sealed } = seal(&plaintext);
        assert!(sealed.len() <= MAX_CHUNK);
        assert_eq!(open_data(&chunk, &sealed).unwrap(), plaintext);
    }
    assert_eq!(sealer().seal(ChunkKind::Data, &[]), None);
    assert_eq!(sealer().seal(ChunkKind::Data, &vec![0; MAX_CHUNK_PLAIN + 1]), None);
}

#[test]
fn the_bytes_are_these() {
    let short = seal(b"hello");
    assert_eq!(
        hex::encode(&short.sealed),
        concat!(
            "01db8c4e679bfcec85210b6332ceae9f15ce37beba6eae1561",
            "fa402d815eb269da25752cf29b6e020da28d3c73f6576101e8caada7e78f"
        )
    );
    assert_eq!(
        seal(&noise(70_001)).chunk.address.to_hex(),
        "db0b516e11f293ee613b8608487a1b2b36554ac91110c345c90813914832a3e0"
    );
    // Another zstd that compresses otherwise moves this address: then equal pieces are stored twice, and devices of
    // both kinds cannot stand in for each other as a source.
    assert_eq!(
        seal(&b"compressible ".repeat(5000)).chunk.address.to_hex(),
        "7302edd12c960c7f42bfb4b165f9254799f1b6817ae3688a031125af36c8a32e"
    );
}

#[test]
fn equal_pieces_are_equal_bytes_within_a_group_and_epoch_only() {
    let plaintext = noise(20_000);
    let mut used = sealer();
    let _ = used.seal(ChunkKind::Data, &b"something else ".repeat(1000));
    let chunk = used.seal(ChunkKind::Data, &plaintext).unwrap();
    assert_eq!(chunk, seal(&plaintext));
    let elsewhere = [
        sealer().seal(ChunkKind::List, &plaintext),
        ChunkSealer::new(&keys(), GroupId([8; 32]), EPOCH).seal(ChunkKind::Data, &plaintext),
        ChunkSealer::new(&keys(), GROUP, EpochId { number: 4, ..EPOCH }).seal(ChunkKind::Data, &plaintext),
        ChunkSealer::new(&EpochKeys::derive(&EpochSecret::from([1; 32])), GROUP, EPOCH)
            .seal(ChunkKind::Data, &plaintext),
    ];
    for other in elsewhere {
        let other = other.unwrap();
        assert_ne!(other.chunk.address, chunk.chunk.address);
        let claimed = ChunkRef { address: other.chunk.address, ..chunk.chunk };
        assert_eq!(open_data(&claimed, &other.sealed), Err(ChunkError::Sealed));
    }
}

#[test]
fn only_what_shrinks_is_compressed_and_only_a_size_class_shows() {
    assert!(seal(&vec![0; MAX_CHUNK_PLAIN]).sealed.len() < 1000);
    let (a, b) = (seal(&noise(70_000)).sealed.len(), seal(&noise(70_900)).sealed.len());
    assert_eq!(a, b);
    assert!(a >= 70_000);
    let text = [noise(PROBE), vec![0; 60_000]].concat();
    assert!(seal(&text).sealed.len() > 64_000);
}

#[test]
fn other_bytes_than_those_asked_for_are_refused() {
    let SealedChunk { chunk, sealed } = seal(b"hello");
    let mut damaged = sealed.to_vec();
    damaged[30] ^= 1;
    assert_eq!(open_data(&chunk, &damaged), Err(ChunkError::Address));
    let renamed = ChunkRef { address: Hash::of(&damaged), ..chunk };
    assert_eq!(open_data(&renamed, &damaged), Err(ChunkError::Sealed));
    let other = seal(b"other");
    assert_eq!(open_data(&chunk, &other.sealed), Err(ChunkError::Address));
    let longer = ChunkRef { length: 6, ..chunk };
    assert_eq!(open_data(&longer, &sealed), Err(ChunkError::Size { found: 5, expected: 6 }));
    for bytes in [&b""[..], b"\x01", &[1; 40]] {
        let short = ChunkRef { address: Hash::of(bytes), ..chunk };
        assert_eq!(open_data(&short, bytes), Err(ChunkError::Length(bytes.len())));
    }
    let big = vec![0; MAX_CHUNK + 1];
    assert_eq!(open_data(&chunk, &big), Err(ChunkError::Length(big.len())));
    let newer = [&[2], &sealed[1..]].concat();
    let renamed = ChunkRef { address: Hash::of(&newer), ..chunk };
    assert_eq!(open_data(&renamed, &newer), Err(ChunkError::Version(2)));
}

#[test]
fn a_member_who_breaks_the_rules_is_refused() {
    let good = forged(&body(RAW, 5, 5, b"hello"));
    assert_eq!(open_data(&good.chunk, &good.sealed).unwrap(), b"hello");
    let bomb = zstd::bulk::compress(&vec![0; 8 << 20], 3).unwrap();
    let length = u32::try_from(bomb.len()).unwrap();
    for inside in [
        body(RAW, 5, 5, b"hello\x01"),
        body(RAW, 6, 5, b"hello"),
        body(RAW, 5, 6, b"hello"),
        body(RAW, 0, 0, b""),
        body(2, 5, 5, b"hello"),
        body(ZSTD, 5, 5, b"hello"),
        body(ZSTD, 8 << 20, length, &bomb),
        body(ZSTD, 1 << 20, length, &bomb),
        body(ZSTD, u32::MAX, length, &bomb),
        b"short".to_vec(),
        Vec::new(),
    ] {
        let chunk = forged(&inside);
        assert_eq!(open_data(&chunk.chunk, &chunk.sealed), Err(ChunkError::Malformed), "{inside:?}");
    }
}

#[test]
fn a_chosen_nonce_is_refused() {
    let aad = associated_data(&GROUP, EPOCH, ChunkKind::Data);
    let nonce = [5; NONCE];
    let mut out = body(RAW, 5, 5, b"hello");
    let tag = XChaCha20Poly1305::new(keys().content.expose().into())
        .encrypt_inout_detached((&nonce).into(), &aad, out.as_mut_slice().into())
        .unwrap();
    let sealed = [&[VERSION], &nonce[..], &out, &tag].concat();
    let chunk = ChunkRef { address: Hash::of(&sealed), epoch: EPOCH, length: 5 };
    assert_eq!(open_data(&chunk, &sealed), Err(ChunkError::Malformed));
}

#[test]
fn a_list_is_not_taken_for_data() {
    let list = sealer().seal(ChunkKind::List, b"hello").unwrap();
    assert_eq!(open_data(&list.chunk, &list.sealed), Err(ChunkError::Sealed));
    let content = ContentRef { root: list.chunk.address, epoch: EPOCH, size: 9, hash: Hash([0; 32]) };
    assert_eq!(open_root(&keys(), &GROUP, &content, &list.sealed).unwrap(), b"hello");
}

proptest::proptest! {
    #[test]
    fn what_is_sealed_opens(plaintext in proptest::collection::vec(0u8..4, 1..6000)) {
        let SealedChunk { chunk, sealed } = seal(&plaintext);
        proptest::prop_assert_eq!(open_data(&chunk, &sealed).unwrap(), plaintext);
    }
}
