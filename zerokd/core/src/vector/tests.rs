use proptest::prelude::*;

use super::*;

/// A position whose hash follows from chain and number, as without a fork.
fn at(chain: u8, seq: u64) -> Position {
    Position { seq, hash: Hash::of(&[&[chain][..], &seq.to_be_bytes()].concat()) }
}

fn vector(rows: &[(u8, u8, u64)]) -> Vector {
    let mut vector = Vector::default();
    for (device, chain, seq) in rows {
        vector.set(DeviceId([*device; 32]), ChainId([*chain; 16]), at(*chain, *seq));
    }
    vector
}

fn any_vector() -> impl Strategy<Value = Vector> {
    prop::collection::vec((0u8..4, 0u8..3, 1u64..6), 0..8).prop_map(|rows| vector(&rows))
}

/// Vectors in which two bundles may stand under one number.
fn forked_vector() -> impl Strategy<Value = Vector> {
    prop::collection::vec((0u8..3, 0u8..3, 1u64..4, 0u8..3), 0..8).prop_map(|rows| {
        let mut vector = Vector::default();
        for (device, chain, seq, hash) in rows {
            let position = Position { seq, hash: Hash([hash; 32]) };
            vector.set(DeviceId([device; 32]), ChainId([chain; 16]), position);
        }
        vector
    })
}

fn joined(a: &Vector, b: &Vector) -> Vector {
    let mut out = a.clone();
    out.merge(b);
    out
}

#[test]
fn equal_vectors_have_equal_bytes_whatever_the_order_of_setting() {
    let one = vector(&[(1, 1, 5), (1, 2, 3), (2, 1, 9)]);
    let other = vector(&[(2, 1, 9), (1, 2, 3), (1, 1, 5)]);
    assert_eq!(one.to_bytes(), other.to_bytes());
    assert_eq!(one.digest(), other.digest());
    assert_ne!(one.digest(), vector(&[(1, 1, 5), (1, 2, 3)]).digest());
}

#[test]
fn another_encoding_of_a_vector_is_refused() {
    let good = vector(&[(1, 1, 5)]).to_bytes();
    assert!(Vector::from_bytes(&good).is_ok());
    assert_eq!(Vector::from_bytes(b"\x92\x02\x80"), Err(VectorError::Version(2)));
    assert_eq!(Vector::from_bytes(b"\x92\x01\xde\x00\x00"), Err(VectorError::Malformed));
    assert_eq!(Vector::from_bytes(&[&good[..], &[0]].concat()), Err(VectorError::Malformed));
    assert_eq!(Vector::from_bytes(&vec![0; MAX_BYTES + 1]), Err(VectorError::TooLarge(MAX_BYTES + 1)));
    for bad in [0, u64::MAX] {
        assert_eq!(Vector::from_bytes(&vector(&[(1, 1, bad)]).to_bytes()), Err(VectorError::Malformed));
    }
    let mut empty = Vector::default();
    empty.0.entry(DeviceId([1; 32])).or_default();
    assert_eq!(Vector::from_bytes(&empty.to_bytes()), Err(VectorError::Malformed));
}

#[test]
fn what_the_other_has_and_we_lack_is_a_list_of_ranges() {
    let own = vector(&[(1, 1, 5), (2, 1, 2)]);
    let other = vector(&[(1, 1, 4), (2, 1, 6), (3, 2, 1)]);
    let range = |device, chain, from, to| Want {
        device: DeviceId([device; 32]),
        chain: ChainId([chain; 16]),
        from,
        to,
    };
    assert_eq!(own.missing(&other), [range(2, 1, 3, 6), range(3, 2, 1, 1)]);
    assert!(!own.covers(&other));
    assert!(joined(&own, &other).covers(&other));
}

#[test]
fn two_bundles_under_one_number_cover_neither_each_other() {
    let mut a = vector(&[(1, 1, 5)]);
    let mut b = a.clone();
    a.set(DeviceId([1; 32]), ChainId([1; 16]), Position { seq: 5, hash: Hash([1; 32]) });
    b.set(DeviceId([1; 32]), ChainId([1; 16]), Position { seq: 5, hash: Hash([2; 32]) });
    assert!(!a.covers(&b) && !b.covers(&a));
}

proptest! {
    #[test]
    fn a_vector_comes_back(v in forked_vector()) {
        prop_assert_eq!(Vector::from_bytes(&v.to_bytes()), Ok(v));
    }

    #[test]
    fn merging_is_a_join(a in forked_vector(), b in forked_vector(), c in forked_vector()) {
        prop_assert_eq!(joined(&a, &a), a.clone());
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &Vector::default()), a);
    }

    #[test]
    fn covering_is_an_order(a in forked_vector(), b in forked_vector(), c in forked_vector()) {
        prop_assert!(a.covers(&a));
        prop_assert!(!(a.covers(&b) && b.covers(&c)) || a.covers(&c));
        prop_assert!(!(a.covers(&b) && b.covers(&a)) || a == b);
    }

    #[test]
    fn the_join_is_the_least_that_covers_both(a in any_vector(), b in any_vector(), c in any_vector()) {
        let join = joined(&a, &b);
        prop_assert!(join.covers(&a) && join.covers(&b));
        prop_assert!(!(c.covers(&a) && c.covers(&b)) || c.covers(&join));
        prop_assert_eq!(a.missing(&b).is_empty(), a.covers(&b));
    }

    #[test]
    fn from_bytes_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Vector::from_bytes(&bytes);
    }
}
