//! Fixed-size identifiers. On the wire they are MessagePack `bin`; for people and the local API, lowercase hex
//! (`to_hex`, `FromStr`). `Debug` and `Display` print only a per-process blinded token, so that no log line at any
//! level can carry an id.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::OnceLock;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Wrong number of hex digits.
    #[error("expected {want} hex digits, found {found}")]
    Length {
        /// Digits expected.
        want: usize,
        /// Characters found.
        found: usize,
    },
    /// A character that is no hex digit.
    #[error("not a hex digit at position {at}")]
    Digit {
        /// Index of the character, from 0.
        at: usize,
    },
}

/// Eight hex digits that are stable within this process and mean nothing outside it.
fn blind(bytes: &[u8]) -> u32 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let hash = KEY.get_or_init(RandomState::new).hash_one(bytes);
    u32::try_from(hash >> 32).unwrap_or(0)
}

struct BytesVisitor<const N: usize>;

impl<'de, const N: usize> serde::de::Visitor<'de> for BytesVisitor<N> {
    type Value = [u8; N];
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes")
    }
    fn visit_bytes<E: serde::de::Error>(self, v: &[u8]) -> Result<[u8; N], E> {
        v.try_into().map_err(|_| E::invalid_length(v.len(), &self))
    }
}

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident($n:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $n]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $n;
            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $n] { &self.0 }
            /// Lowercase hex, for people and the local API; never for a log.
            #[must_use]
            pub fn to_hex(&self) -> String { hex::encode(self.0) }
            /// From a slice of exactly the right length.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> { bytes.try_into().ok().map(Self) }
        }

        impl From<[u8; $n]> for $name { fn from(b: [u8; $n]) -> Self { Self(b) } }
        impl AsRef<[u8]> for $name { fn as_ref(&self) -> &[u8] { &self.0 } }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(~{:08x})"), blind(&self.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "~{:08x}", blind(&self.0)) }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                let mut out = [0u8; $n];
                let found = s.chars().count();
                if found != 2 * $n || s.len() != found {
                    return Err(IdError::Length { want: 2 * $n, found });
                }
                hex::decode_to_slice(s, &mut out).map_err(|e| match e {
                    hex::FromHexError::InvalidHexCharacter { index, .. } => IdError::Digit { at: index },
                    _ => IdError::Length { want: 2 * $n, found },
                })?;
                Ok(Self(out))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_bytes(&self.0) }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_bytes(BytesVisitor::<$n>).map(Self)
            }
        }
    )*};
}

id! {
    /// A device: its Ed25519 public key, which is also its iroh EndpointId. A relay has one too.
    DeviceId(32);
    /// A group: BLAKE3 over the exact signed bytes of its genesis statement.
    GroupId(32);
    /// A BLAKE3 hash.
    Hash(32);
    /// A blob, chosen at random by its pusher.
    BlobId(16);
    /// A chain of one device: made at random with its database.
    ChainId(16);
    /// A relay's log of one group: made at random with the group's row.
    LogId(16);
    /// A pairing mailbox.
    MailboxId(16);
    /// An Ed25519 signature.
    Signature(64);
    /// An X-Wing KEM public key.
    KemKey(1216);
}

impl Hash {
    /// BLAKE3 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Hash(*blake3::hash(bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_no_part_of_itself() {
        let id = DeviceId([0xab; 32]);
        assert!(!format!("{id:?} {id}").contains("abab"));
        assert_eq!(format!("{id}"), format!("{}", DeviceId([0xab; 32])));
    }

    #[test]
    fn a_wrong_text_is_named() {
        assert_eq!("ab".parse::<BlobId>(), Err(IdError::Length { want: 32, found: 2 }));
        let bad = format!("{}g0", "00".repeat(15));
        assert_eq!(bad.parse::<BlobId>(), Err(IdError::Digit { at: 30 }));
        let id = BlobId([7; 16]);
        assert_eq!(id.to_hex().parse::<BlobId>(), Ok(id));
    }
}
