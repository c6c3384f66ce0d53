//! What is derived from an epoch's secret and from a group's constant secret.

use super::{ConstantSecret, EpochSecret, Secret, derive};

/// The keys of one epoch.
#[derive(Clone, Debug)]
pub struct EpochKeys {
    /// Seals envelopes round bundles.
    pub envelope: Secret<32>,
    /// Seals chunks of large content.
    pub content: Secret<32>,
    /// Makes the nonce of a chunk from its plaintext.
    pub chunk_nonce: Secret<32>,
    /// Seals signals.
    pub signal: Secret<32>,
}

impl EpochKeys {
    /// The keys of the epoch with this secret.
    #[must_use]
    pub fn derive(secret: &EpochSecret) -> Self {
        let key = |info: &[u8]| derive(secret.expose(), &[info]);
        Self {
            envelope: key(b"0k-sync v1 envelope key"),
            content: key(b"0k-sync v1 content key"),
            chunk_nonce: key(b"0k-sync v1 chunk nonce key"),
            signal: key(b"0k-sync v1 signal key"),
        }
    }
}

/// The keys that a group keeps through all its epochs.
#[derive(Clone, Debug)]
pub struct GroupKeys {
    /// Makes the gear table by which content is cut into chunks.
    pub gear: Secret<32>,
    /// Keys the fingerprints by which a device knows content again.
    pub fingerprint: Secret<32>,
}

impl GroupKeys {
    /// The keys of the group with this constant secret.
    #[must_use]
    pub fn derive(secret: &ConstantSecret) -> Self {
        let key = |info: &[u8]| derive(secret.expose(), &[info]);
        Self { gear: key(b"0k-sync v1 gear table"), fingerprint: key(b"0k-sync v1 fingerprint key") }
    }
}
