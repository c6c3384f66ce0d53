//! Why a session ended, and what that means for the link.

use std::fmt;

use zerok_protocol::{Code, Error};

use crate::store::StoreError;
use crate::wire::WireError;

/// Why a session ended.
pub(super) enum SessionEnd {
    /// The connection, or what came over it, is of no use any more.
    Lost(String),
    /// The relay asks to come back later.
    Busy {
        /// When.
        retry_after_ms: u64,
        /// Its words.
        text: String,
    },
    /// The relay does not serve this group.
    Refused(String),
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(text) | Self::Busy { text, .. } | Self::Refused(text) => f.write_str(text),
        }
    }
}

impl From<WireError> for SessionEnd {
    fn from(error: WireError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<StoreError> for SessionEnd {
    fn from(error: StoreError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl SessionEnd {
    /// A refusal by the relay.
    pub(super) fn refusal(error: &Error) -> Self {
        let text = format!("{}: {}", error.code, error.message);
        match error.code {
            Code::Unauthorized | Code::DeviceRevoked | Code::UnsupportedVersion => Self::Refused(text),
            Code::RelayOverloaded | Code::RelayShuttingDown | Code::RateLimited => {
                Self::Busy { retry_after_ms: error.retry_after_ms.unwrap_or(1000), text }
            }
            _ => Self::Lost(text),
        }
    }
}
