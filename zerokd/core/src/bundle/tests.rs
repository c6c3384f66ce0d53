use proptest::prelude::*;

use super::*;

fn keys() -> DeviceKeys {
    DeviceKeys::from_seed(&[1; 32].into())
}

fn cut(seq: u64, prev: Option<Hash>, first: u64, entries: &[Bytes]) -> Bundle {
    Bundle::cut(&keys(), GroupId([2; 32]), ChainId([3; 16]), seq, prev, first, Hlc(4 << 16), false, entries)
}

fn entries(n: u8) -> Vec<Bytes> {
    (0..n).map(|i| Bytes::from(vec![i; usize::from(i) * 40 + 1])).collect()
}

/// A header as someone with keys could sign it, whatever it says.
fn forged(change: impl FnOnce(&mut Header)) -> Result<Bundle, BundleError> {
    let entries = entries(2);
    let mut header = cut(2, Some(Hash([9; 32])), 3, &entries).header;
    change(&mut header);
    let bytes = encode(&header);
    let signature = keys().sign(LABEL, &bytes);
    let entries: Vec<_> = entries.into_iter().map(Some).collect();
    Bundle::parse(Bundle::assemble(&bytes, signature, &entries))
}

#[test]
fn a_bundle_comes_back_as_it_was_cut_and_its_entries_are_slices_of_it() {
    let cut = cut(2, Some(Hash([9; 32])), 3, &entries(5));
    let parsed = Bundle::parse(cut.bytes.clone()).unwrap();
    assert_eq!(parsed, cut);
    assert_eq!(parsed.header_bytes(), cut.header_bytes());
    let inside = parsed.bytes.as_ptr_range();
    assert!(parsed.entries.iter().flatten().all(|entry| inside.contains(&entry.as_ptr())));
    let again = Bundle::assemble(parsed.header_bytes(), parsed.signature(), &parsed.entries);
    assert_eq!(again, cut.bytes);
}

#[test]
fn bundles_are_chained_by_header_and_signature() {
    let one = cut(1, None, 1, &entries(3));
    let expected = [one.header_bytes(), one.signature().as_bytes()].concat();
    assert_eq!(one.hash, Hash::of(&expected));
    assert_eq!(cut(2, Some(one.hash), 4, &entries(1)).header.prev, Some(one.hash));
}

#[test]
fn a_pruned_entry_leaves_a_bundle_that_still_verifies() {
    let cut = cut(1, None, 1, &entries(3));
    let mut left = cut.entries.clone();
    left[1] = None;
    let bytes = Bundle::assemble(cut.header_bytes(), cut.signature(), &left);
    let parsed = Bundle::parse(bytes).unwrap();
    assert_eq!(parsed.entries[1], None);
    assert_eq!(parsed.hash, cut.hash);
}

#[test]
fn another_entry_in_its_place_is_refused() {
    let cut = cut(1, None, 1, &entries(3));
    let mut swapped = cut.entries.clone();
    swapped.swap(0, 2);
    let bytes = Bundle::assemble(cut.header_bytes(), cut.signature(), &swapped);
    assert_eq!(Bundle::parse(bytes), Err(BundleError::Entry(0)));
    let fewer = Bundle::assemble(cut.header_bytes(), cut.signature(), &cut.entries[..2]);
    assert_eq!(Bundle::parse(fewer), Err(BundleError::Count { named: 3, found: 2 }));
}

#[test]
fn a_bundle_is_its_authors_or_nobodys() {
    let other = DeviceKeys::from_seed(&[8; 32].into());
    assert_eq!(forged(|header| header.device = other.id()), Err(BundleError::Signature));
    assert!(forged(|_| {}).is_ok());
    let good = cut(1, None, 1, &entries(2));
    let statement_label = keys().sign(b"0k-sync v1 statement\0", good.header_bytes());
    let bytes = Bundle::assemble(good.header_bytes(), statement_label, &good.entries);
    assert_eq!(Bundle::parse(bytes), Err(BundleError::Signature));
}

#[test]
fn a_header_that_contradicts_itself_is_refused_though_signed() {
    let wrong = |change: fn(&mut Header)| match forged(change) {
        Err(BundleError::Header(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(wrong(|h| h.prev = None).contains("prev"));
    assert!(wrong(|h| (h.seq, h.first) = (1, 1)).contains("prev"));
    assert!(wrong(|h| h.seq = 0).contains("seq"));
    assert!(wrong(|h| h.seq = u64::MAX).contains("seq"));
    assert!(wrong(|h| h.hlc = Hlc(u64::MAX)).contains("hlc"));
    assert!(wrong(|h| h.first = 0).contains("first"));
    assert!(wrong(|h| h.first = 1).contains("first"));
    assert!(wrong(|h| (h.seq, h.prev, h.first) = (1, None, 2)).contains("first"));
    assert!(wrong(|h| h.first = u64::MAX).contains("first"));
    assert!(wrong(|h| h.first = MAX_NUMBER - 1).contains("first"));
    assert!(wrong(|h| h.entries.clear()).contains("256"));
    assert!(wrong(|h| h.entries = vec![Hash([0; 32]); 257]).contains("256"));
    assert_eq!(forged(|h| h.v = 2), Err(BundleError::Version(2)));
}

#[test]
fn every_changed_bit_of_a_bundle_is_refused() {
    let good = cut(1, None, 1, &entries(3)).bytes;
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Bundle::parse(bad.into()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_bundle_cut_short_or_with_something_behind_it_is_refused() {
    let good = cut(1, None, 1, &entries(3)).bytes;
    for length in 0..good.len() {
        assert!(Bundle::parse(good.slice(..length)).is_err(), "{length}");
    }
    let behind = [&good[..], &[0]].concat();
    assert_eq!(Bundle::parse(behind.into()), Err(BundleError::Malformed));
    let large = vec![0; MAX_BUNDLE + 1];
    assert_eq!(Bundle::parse(large.into()), Err(BundleError::TooLarge(MAX_BUNDLE + 1)));
}

#[test]
fn room_is_full_at_256_entries_or_900_kib() {
    let mut small = Room::default();
    assert_eq!((0..300).filter(|_| small.take(10)).count(), 256);
    let mut large = Room::default();
    assert!(large.take(900 << 10));
    assert!(!large.take(1));
    let mut first = Room::default();
    assert!(first.take(MAX_ENTRY));
    assert!(!first.take(1));
}

proptest! {
    #[test]
    fn any_entries_within_the_limits_come_back(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..=256),
        seq in 2u64..1 << 40,
        receipt in any::<bool>(),
    ) {
        let entries: Vec<Bytes> = bodies.into_iter().map(Bytes::from).collect();
        let chain = ChainId([3; 16]);
        let prev = Some(Hash([9; 32]));
        let cut = Bundle::cut(&keys(), GroupId([2; 32]), chain, seq, prev, seq + 5, Hlc(7), receipt, &entries);
        prop_assert_eq!(Bundle::parse(cut.bytes.clone()), Ok(cut));
    }

    #[test]
    fn parse_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Bundle::parse(bytes.into()).is_err());
    }

    #[test]
    fn lengths_that_lie_are_refused(count in any::<u32>(), length in any::<u32>()) {
        let announced = [&[0x93, 0xc6][..], &length.to_be_bytes(), &[0xdd], &count.to_be_bytes()].concat();
        prop_assert!(Bundle::parse(announced.into()).is_err());
    }
}
