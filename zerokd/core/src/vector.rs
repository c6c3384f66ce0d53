//! Version vectors: how far each chain of each device is known, without a gap.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zerok_protocol::{ChainId, DeviceId, Hash};

use crate::codec::{decode, encode};
use crate::entry::MAX_NUMBER;
use crate::signal::Want;

const VERSION: u8 = 1;
/// Largest encoded vector, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// Positions that fit one signal beside everything else (at most 97 bytes each in 64 KiB with its padding).
const PER_SIGNAL: usize = 400;

/// How far a chain is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, Hash)", into = "(u64, Hash)")]
pub struct Position {
    /// The last bundle before the first gap.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl From<(u64, Hash)> for Position {
    fn from((seq, hash): (u64, Hash)) -> Self {
        Self { seq, hash }
    }
}

impl From<Position> for (u64, Hash) {
    fn from(position: Position) -> Self {
        (position.seq, position.hash)
    }
}

/// Device, chain, position. Two devices have converged when theirs are byte-identical.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vector(pub BTreeMap<DeviceId, BTreeMap<ChainId, Position>>);

/// Why bytes are no vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// Larger than 1 MiB.
    #[error("version vector of {0} bytes is too large")]
    TooLarge(usize),
    /// Not the one encoding that a vector has.
    #[error("malformed version vector")]
    Malformed,
    /// A version that this program does not know.
    #[error("version vector is of version {0}, this program knows 1")]
    Version(u8),
}

impl Vector {
    /// The one encoding: the array `[1, {device: {chain: [seq, hash]}}]`, keys ascending.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&(VERSION, self))
    }

    /// Reads what [`Vector::to_bytes`] wrote.
    ///
    /// # Errors
    /// It is anything else, or too large.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VectorError> {
        if bytes.len() > MAX_BYTES {
            return Err(VectorError::TooLarge(bytes.len()));
        }
        let (version, vector): (u8, Self) = decode(bytes).ok_or(VectorError::Malformed)?;
        if version != VERSION {
            return Err(VectorError::Version(version));
        }
        if vector.is_sound() && vector.to_bytes() == bytes { Ok(vector) } else { Err(VectorError::Malformed) }
    }

    /// What `status` shows: equal digests mean equal vectors.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Hash::of(&self.to_bytes())
    }

    /// How far a chain is known; `None` if not at all.
    #[must_use]
    pub fn get(&self, device: &DeviceId, chain: &ChainId) -> Option<Position> {
        self.0.get(device)?.get(chain).copied()
    }

    /// Sets how far a chain is known.
    pub fn set(&mut self, device: DeviceId, chain: ChainId, position: Position) {
        self.0.entry(device).or_default().insert(chain, position);
    }

    /// Every chain with its position, in order.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, ChainId, Position)> {
        self.0.iter().flat_map(|(device, chains)| chains.iter().map(|(chain, p)| (*device, *chain, *p)))
    }

    /// Is everything that `other` knows known here? Two different bundles under one number cover neither each other.
    #[must_use]
    pub fn covers(&self, other: &Vector) -> bool {
        other.iter().all(|(device, chain, theirs)| {
            self.get(&device, &chain).is_some_and(|own| own.seq > theirs.seq || own == theirs)
        })
    }

    /// Takes in what `other` knows: the further position of each chain (of two under one number, the greater hash).
    pub fn merge(&mut self, other: &Vector) {
        for (device, chain, theirs) in other.iter() {
            let own = self.0.entry(device).or_default().entry(chain).or_insert(theirs);
            *own = (*own).max(theirs);
        }
    }

    /// What `other` knows and is unknown here, as ranges of bundles.
    #[must_use]
    pub fn missing(&self, other: &Vector) -> Vec<Want> {
        let ranges = other.iter().filter_map(|(device, chain, theirs)| {
            let known = self.get(&device, &chain).map_or(0, |own| own.seq);
            (known < theirs.seq).then(|| Want { device, chain, from: known + 1, to: theirs.seq })
        });
        ranges.collect()
    }

    /// The vector in parts that each fit one signal; one part for nearly every group, and one if it is empty.
    #[must_use]
    pub fn parts(&self) -> Vec<Vector> {
        let mut parts = vec![Vector::default()];
        for (i, (device, chain, position)) in self.iter().enumerate() {
            if i > 0 && i % PER_SIGNAL == 0 {
                parts.push(Vector::default());
            }
            if let Some(part) = parts.last_mut() {
                part.set(device, chain, position);
            }
        }
        parts
    }

    /// No device without a chain, and numbers that a chain can have. To be asked of a vector from outside.
    pub(crate) fn is_sound(&self) -> bool {
        let positions = |chains: &BTreeMap<ChainId, Position>| {
            !chains.is_empty() && chains.values().all(|p| (1..=MAX_NUMBER).contains(&p.seq))
        };
        self.0.values().all(positions)
    }
}

#[cfg(test)]
mod tests;
