//! Signals: sealed, signed, unstored messages between devices that are online.

mod seal;

use serde::{Deserialize, Serialize};
use zerok_protocol::{ChainId, DeviceId, EpochId, Hash};

use crate::entry::MAX_NUMBER;
use crate::vector::Vector;

pub use seal::{open_signal, seal_signal};

/// Most ranges in one signal.
const MAX_RANGES: usize = 512;
/// Most chunk addresses in one signal.
const MAX_ADDRESSES: usize = 1024;

/// A range of bundles of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Want {
    /// The author.
    pub device: DeviceId,
    /// Its chain.
    pub chain: ChainId,
    /// First bundle.
    pub from: u64,
    /// Last bundle.
    pub to: u64,
}

/// What a device tells others that are online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// What the sender holds; in a group with very many chains, one part of it.
    Vector(Vector),
    /// Asks for bundles.
    Want {
        /// Which.
        chains: Vec<Want>,
    },
    /// Asks whoever holds these chunks to put them to the relay.
    WantChunks {
        /// Which.
        addresses: Vec<Hash>,
    },
    /// Answers a Want: what the sender will send, and what it lacks too.
    Have {
        /// Follows as repairs.
        chains: Vec<Want>,
        /// The sender does not have it.
        lacking: Vec<Want>,
    },
    /// Answers a Want: the sender no longer has these, they were pruned by retention.
    Pruned {
        /// Which.
        chains: Vec<Want>,
    },
    /// The sender holds what the recipient lacks, and its author is away.
    Offer {
        /// Which.
        chains: Vec<Want>,
    },
    /// A bundle that asked for a receipt is durable at the sender, and everything before it in its chain.
    Receipt {
        /// The bundle's author.
        device: DeviceId,
        /// Its chain.
        chain: ChainId,
        /// Its number.
        seq: u64,
        /// Its hash.
        hash: Hash,
    },
}

impl Signal {
    /// Are its counts and numbers such as this program would send?
    fn is_sound(&self) -> bool {
        let sound = |ranges: &[Want]| {
            ranges.len() <= MAX_RANGES
                && ranges.iter().all(|r| 1 <= r.from && r.from <= r.to && r.to <= MAX_NUMBER)
        };
        match self {
            Signal::Vector(vector) => vector.is_sound(),
            Signal::Want { chains } | Signal::Pruned { chains } | Signal::Offer { chains } => sound(chains),
            Signal::Have { chains, lacking } => sound(chains) && sound(lacking),
            Signal::WantChunks { addresses } => addresses.len() <= MAX_ADDRESSES,
            Signal::Receipt { seq, .. } => (1..=MAX_NUMBER).contains(seq),
        }
    }
}

/// Why a signal is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// Larger than a signal may be.
    #[error("signal of {0} bytes is too large")]
    TooLarge(usize),
    /// Not the encoding of a signal, or of a kind that this program does not know.
    #[error("malformed or unknown signal")]
    Malformed,
    /// A version that this program does not know.
    #[error("signal is of version {0}, this program knows 1")]
    Version(u8),
    /// Sealed under an epoch whose secret is not here.
    #[error("signal of an epoch whose secret is not here")]
    Epoch(EpochId),
    /// Sealed under another key, for another group, or changed on the way.
    #[error("signal does not open")]
    Sealed,
    /// Not signed by the device that it names, or for another group or epoch.
    #[error("bad signature on signal")]
    Signature,
}

#[cfg(test)]
mod tests;
