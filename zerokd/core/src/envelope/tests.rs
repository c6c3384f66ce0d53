use proptest::prelude::*;
use zerok_protocol::{ChainId, DeviceId, Hash, MAX_BUNDLE_BODIES, MAX_BUNDLE_ENTRIES};

use super::*;
use crate::bundle::{Bundle, MAX_BUNDLE, Room};
use crate::entry::MAX_ENTRY;
use crate::hlc::Hlc;
use crate::padme::padded_len;
use crate::secret::{DeviceKeys, EpochSecret, GroupKeys};

const GROUP: GroupId = GroupId([1; 32]);
const EPOCH: EpochId = EpochId { number: 2, tag: 3 };
const BLOB: BlobId = BlobId([4; 16]);

fn keys(n: u8) -> EpochKeys {
    EpochKeys::derive(&EpochSecret::from([n; 32]))
}

fn sealed(text: &[u8]) -> Bytes {
    seal(&keys(1), GROUP, EPOCH, BLOB, [5; 24], text)
}

#[test]
fn an_envelope_opens_and_says_which_epoch_and_blob_it_is() {
    let outside = Sealed::parse(&sealed(b"bundle")).unwrap();
    assert_eq!((outside.epoch, outside.blob), (EPOCH, BLOB));
    assert_eq!(outside.open(&keys(1), GROUP).as_deref(), Ok(&b"bundle"[..]));
}

#[test]
fn another_group_or_key_does_not_open_it() {
    let outside = Sealed::parse(&sealed(b"bundle")).unwrap();
    assert_eq!(outside.open(&keys(2), GROUP), Err(EnvelopeError::Sealed));
    assert_eq!(outside.open(&keys(1), GroupId([9; 32])), Err(EnvelopeError::Sealed));
}

#[test]
fn every_changed_bit_is_refused() {
    let good = sealed(b"some bundle's bytes");
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        let opened = Sealed::parse(&bad.into()).and_then(|outside| outside.open(&keys(1), GROUP));
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn what_is_too_short_too_long_or_newer_is_named() {
    for length in 0..58 {
        assert_eq!(Sealed::parse(&sealed(b"x").slice(..length)).is_err(), length < 57, "{length}");
    }
    let short = Sealed::parse(&sealed(b"x").slice(..57)).unwrap();
    assert_eq!(short.open(&keys(1), GROUP), Err(EnvelopeError::Sealed));
    assert_eq!(Sealed::parse(&vec![1; MAX_BLOB + 1].into()), Err(EnvelopeError::TooLarge(MAX_BLOB + 1)));
    assert_eq!(Sealed::parse(&vec![7; 100].into()), Err(EnvelopeError::Version(7)));
}

#[test]
fn a_size_shows_only_its_leading_bits() {
    assert_eq!(sealed(&[0; 1000]).len(), sealed(&[0; 1010]).len());
    assert_eq!(sealed(&[0; 1000]).len(), 57 + padded_len(1004) + 16);
}

#[test]
fn a_repeat_is_the_same_bytes_and_another_text_has_another_nonce() {
    let group = GroupKeys::derive(&[6; 32].into());
    let id = |chain, seq, epoch| bundle_blob_id(&group, DeviceId([1; 32]), ChainId([chain; 16]), seq, epoch);
    let blob = id(2, 3, EPOCH);
    assert_eq!(blob, id(2, 3, EPOCH));
    let later = EpochId { number: 3, tag: 3 };
    assert!([id(3, 3, EPOCH), id(2, 4, EPOCH), id(2, 3, later)].iter().all(|other| *other != blob));
    let nonce = bundle_nonce(&keys(1), &blob, b"bundle");
    assert_eq!(nonce, bundle_nonce(&keys(1), &blob, b"bundle"));
    assert_ne!(nonce, bundle_nonce(&keys(1), &blob, b"bundl\0"));
    assert_ne!(nonce, bundle_nonce(&keys(1), &BLOB, b"bundle"));
    assert_ne!(nonce, bundle_nonce(&keys(2), &blob, b"bundle"));
}

#[test]
fn a_pruned_bundle_is_sealed_under_another_nonce_than_the_whole_one() {
    let device = DeviceKeys::from_seed(&[1; 32].into());
    let entries = [Bytes::from_static(b"kept"), Bytes::from_static(b"pruned")];
    let whole = Bundle::cut(&device, GROUP, ChainId([3; 16]), 1, None, 1, Hlc(1), false, &entries);
    let left = [whole.entries[0].clone(), None];
    let pruned = Bundle::parse(Bundle::assemble(whole.header_bytes(), whole.signature(), &left)).unwrap();
    assert_eq!(pruned.hash, whole.hash);
    assert_ne!(bundle_nonce(&keys(1), &BLOB, &whole.bytes), bundle_nonce(&keys(1), &BLOB, &pruned.bytes));
}

/// The largest bundles that the limits allow: one huge entry, and 256 that fill a Room.
#[test]
fn the_largest_legal_bundle_fits_a_blob() {
    let device = DeviceKeys::from_seed(&[1; 32].into());
    let each = MAX_BUNDLE_BODIES / MAX_BUNDLE_ENTRIES;
    let mut room = Room::default();
    let many: Vec<Bytes> = std::iter::repeat_n(Bytes::from(vec![7; each]), MAX_BUNDLE_ENTRIES).collect();
    assert!(many.iter().all(|entry| room.take(entry.len())));
    for entries in [many, vec![Bytes::from(vec![7; MAX_ENTRY])]] {
        let (chain, prev) = (ChainId([3; 16]), Some(Hash([9; 32])));
        let (seq, first, hlc) = (1 << 60, 1 << 61, Hlc(1 << 62));
        let bundle = Bundle::cut(&device, GROUP, chain, seq, prev, first, hlc, true, &entries);
        assert!(bundle.bytes.len() <= MAX_BUNDLE);
        let blob = sealed(&bundle.bytes);
        assert!(blob.len() <= MAX_BLOB, "{}", blob.len());
        let text = Sealed::parse(&blob).unwrap().open(&keys(1), GROUP).unwrap();
        assert_eq!(Bundle::parse(text), Ok(bundle));
    }
    assert!(sealed(&vec![0; MAX_BUNDLE]).len() <= MAX_BLOB);
}

proptest! {
    #[test]
    fn any_text_comes_back(text in prop::collection::vec(any::<u8>(), 0..3000), nonce: [u8; 24]) {
        let blob = seal(&keys(1), GROUP, EPOCH, BLOB, nonce, &text);
        prop_assert_eq!(Sealed::parse(&blob).unwrap().open(&keys(1), GROUP).unwrap(), text);
    }

    #[test]
    fn parse_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(outside) = Sealed::parse(&bytes.into()) {
            prop_assert_eq!(outside.open(&keys(1), GROUP), Err(EnvelopeError::Sealed));
        }
    }
}
