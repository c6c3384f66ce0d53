//! The version of a record: a counter per chain. Versions form a join semilattice; every merge rests on its laws.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zerok_protocol::ChainId;

/// Most chains in one version.
pub const MAX_VERSION_CHAINS: usize = 1024;
/// Counters end here, far from overflow.
const MAX_COUNTER: u64 = 1 << 62;

/// How two versions stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Equal,
    /// The first has seen everything of the second, and more.
    Newer,
    /// The second has seen everything of the first, and more.
    Older,
    /// Each has something that the other has not seen.
    Concurrent,
}

/// Why bytes are no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not an array of [chain, counter].
    #[error("version: malformed")]
    Malformed,
    /// More than [`MAX_VERSION_CHAINS`].
    #[error("version: {0} chains, more than {MAX_VERSION_CHAINS}")]
    TooMany(usize),
    /// Chains must be strictly ascending, so that equal versions are equal bytes.
    #[error("version: chains are not in ascending order")]
    Order,
    /// Counters run from 1 to 2^62.
    #[error("version: counter out of range")]
    Counter,
}

/// A version vector; an absent chain counts 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<(ChainId, u64)>", into = "Vec<(ChainId, u64)>")]
pub struct Version(BTreeMap<ChainId, u64>);

impl Version {
    /// The version of what nobody has written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter of a chain, 0 if absent.
    #[must_use]
    pub fn get(&self, chain: &ChainId) -> u64 {
        self.0.get(chain).copied().unwrap_or(0)
    }

    /// Nobody has written it yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Chains and counters, by chain.
    pub fn iter(&self) -> impl Iterator<Item = (&ChainId, u64)> {
        self.0.iter().map(|(chain, counter)| (chain, *counter))
    }

    /// Counts one change by `chain`.
    pub fn bump(&mut self, chain: ChainId) {
        let counter = self.0.entry(chain).or_insert(0);
        *counter = counter.saturating_add(1).min(MAX_COUNTER);
    }

    /// This version after one change by `chain`.
    #[must_use]
    pub fn with_bump(&self, chain: ChainId) -> Self {
        let mut next = self.clone();
        next.bump(chain);
        next
    }

    /// The version of a change made by `own` on top of this one, beside `merged`, which it need not have seen; and
    /// the id under which it counts: `own`, or `fresh` (random) where `own` already counts in `merged` for what this
    /// change has not seen (a folder joined again, a copy that kept its author's version). Under `own` it would be
    /// taken for older than that, or for its successor, and one of the two would be lost.
    #[must_use]
    pub fn after(&self, merged: &Self, own: ChainId, fresh: ChainId) -> (Self, ChainId) {
        let by = if merged.get(&own) > self.get(&own) { fresh } else { own };
        (self.with_bump(by), by)
    }

    /// The least version that dominates both.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        for (chain, counter) in &other.0 {
            let here = joined.0.entry(*chain).or_insert(0);
            *here = (*here).max(*counter);
        }
        joined
    }

    /// Has it seen everything that `other` has? Equal versions dominate each other.
    #[must_use]
    pub fn dominates(&self, other: &Self) -> bool {
        other.0.iter().all(|(chain, counter)| self.get(chain) >= *counter)
    }

    /// How this one stands to `other`.
    #[must_use]
    pub fn relation(&self, other: &Self) -> Relation {
        match (self.dominates(other), other.dominates(self)) {
            (true, true) => Relation::Equal,
            (true, false) => Relation::Newer,
            (false, true) => Relation::Older,
            (false, false) => Relation::Concurrent,
        }
    }

    /// A MessagePack array of [chain, counter], ascending.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        rmp_serde::to_vec(self).expect("writing plain data to a Vec cannot fail")
    }

    /// Reads what [`Version::to_bytes`] wrote.
    ///
    /// # Errors
    /// See [`VersionError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VersionError> {
        let pairs: Vec<(ChainId, u64)> = rmp_serde::from_slice(bytes).map_err(|_| VersionError::Malformed)?;
        Self::try_from(pairs)
    }
}

impl TryFrom<Vec<(ChainId, u64)>> for Version {
    type Error = VersionError;

    fn try_from(pairs: Vec<(ChainId, u64)>) -> Result<Self, VersionError> {
        if pairs.len() > MAX_VERSION_CHAINS {
            return Err(VersionError::TooMany(pairs.len()));
        }
        if !pairs.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(VersionError::Order);
        }
        if pairs.iter().any(|(_, counter)| *counter == 0 || *counter > MAX_COUNTER) {
            return Err(VersionError::Counter);
        }
        Ok(Self(pairs.into_iter().collect()))
    }
}

impl From<Version> for Vec<(ChainId, u64)> {
    fn from(version: Version) -> Self {
        version.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chain(n: u8) -> ChainId {
        ChainId([n; 16])
    }

    fn versions() -> impl Strategy<Value = Version> {
        prop::collection::btree_map((0u8..4).prop_map(chain), 1u64..4, 0..4).prop_map(Version)
    }

    proptest! {
        #[test]
        fn join_is_associative_commutative_idempotent(a in versions(), b in versions(), c in versions()) {
            prop_assert_eq!(a.join(&b), b.join(&a));
            prop_assert_eq!(a.join(&b).join(&c), a.join(&b.join(&c)));
            prop_assert_eq!(a.join(&a), a.clone());
            prop_assert!(a.join(&b).dominates(&a) && a.join(&b).dominates(&b));
        }

        #[test]
        fn join_is_the_least_that_dominates_both(a in versions(), b in versions(), c in versions()) {
            prop_assert_eq!(c.dominates(&a) && c.dominates(&b), c.dominates(&a.join(&b)));
        }

        #[test]
        fn relations_mirror_each_other(a in versions(), b in versions()) {
            let mirrored = match b.relation(&a) {
                Relation::Newer => Relation::Older,
                Relation::Older => Relation::Newer,
                same => same,
            };
            prop_assert_eq!(a.relation(&b), mirrored);
            prop_assert_eq!(a.relation(&b) == Relation::Equal, a == b);
        }

        #[test]
        fn a_bump_is_newer_and_two_bumps_apart_are_concurrent(a in versions()) {
            let (mine, yours) = (a.with_bump(chain(7)), a.with_bump(chain(8)));
            prop_assert_eq!(mine.relation(&a), Relation::Newer);
            prop_assert_eq!(mine.relation(&yours), Relation::Concurrent);
        }

        #[test]
        fn a_change_is_never_older_than_what_it_has_not_seen(a in versions(), b in versions(), c in 0u8..4) {
            let (next, by) = a.after(&b, chain(c), chain(9));
            prop_assert_eq!(next.relation(&a), Relation::Newer);
            prop_assert_eq!(next.dominates(&b), a.dominates(&b));
            prop_assert!(!b.dominates(&next) && next.get(&by) > 0);
        }

        #[test]
        fn bytes_come_back(a in versions()) {
            prop_assert_eq!(Version::from_bytes(&a.to_bytes()), Ok(a));
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let version = Version::new().with_bump(chain(2)).with_bump(chain(1)).with_bump(chain(2));
        let want = format!("9292c410{}0192c410{}02", "01".repeat(16), "02".repeat(16));
        assert_eq!(hex::encode(version.to_bytes()), want);
    }

    #[test]
    fn bad_versions_are_refused() {
        let read = |pairs: &[(ChainId, u64)]| Version::from_bytes(&rmp_serde::to_vec(pairs).unwrap());
        assert_eq!(read(&[(chain(2), 1), (chain(1), 1)]), Err(VersionError::Order));
        assert_eq!(read(&[(chain(1), 1), (chain(1), 2)]), Err(VersionError::Order));
        assert_eq!(read(&[(chain(1), 0)]), Err(VersionError::Counter));
        assert_eq!(read(&[(chain(1), u64::MAX)]), Err(VersionError::Counter));
        let many: Vec<_> = (0..=1024u64).map(|n| (ChainId(u128::from(n).to_be_bytes()), 1)).collect();
        assert_eq!(read(&many), Err(VersionError::TooMany(1025)));
        assert_eq!(Version::from_bytes(b"\xdd\xff\xff\xff\xff"), Err(VersionError::Malformed));
        assert_eq!(Version::from_bytes(&[]), Err(VersionError::Malformed));
    }
}
