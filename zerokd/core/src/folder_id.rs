//! The id of a synced folder, chosen at random where it is added, and the channel of its records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zerok_protocol::{BlobId, IdError};

/// The channels of folders: this and the id in hex.
const CHANNEL: &str = "$folder/";

/// A folder. `Debug` and `Display` print only a per-process blinded token.
// Sixteen random bytes like any other: hex, MessagePack and blinding are those of the protocol's ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FolderId(BlobId);

impl FolderId {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// From a slice of exactly the right length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        BlobId::from_slice(bytes).map(Self)
    }

    /// Lowercase hex, for people and the local API; never for a log.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.to_hex()
    }

    /// The channel of the folder's records.
    #[must_use]
    pub fn channel(&self) -> String {
        format!("{CHANNEL}{}", self.to_hex())
    }

    /// The folder whose records a channel carries; `None` for every other channel.
    #[must_use]
    pub fn from_channel(channel: &str) -> Option<Self> {
        let id: Self = channel.strip_prefix(CHANNEL)?.parse().ok()?;
        (id.channel() == channel).then_some(id)
    }
}

impl From<[u8; 16]> for FolderId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes.into())
    }
}

impl FromStr for FolderId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self)
    }
}

impl fmt::Debug for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderId({})", self.0)
    }
}

impl fmt::Display for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_its_channel() {
        let id = FolderId::from([0xab; 16]);
        assert_eq!(id.channel(), format!("$folder/{}", "ab".repeat(16)));
        assert_eq!(FolderId::from_channel(&id.channel()), Some(id));
        assert!(!format!("{id} {id:?}").contains("abab"));
        for other in ["$folders", "$folder/", "$folder/ab", "folder/abababababababababababababababab"] {
            assert_eq!(FolderId::from_channel(other), None);
        }
        assert_eq!(FolderId::from_channel(&format!("$folder/{}", "AB".repeat(16))), None);
    }
}
