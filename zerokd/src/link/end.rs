//! Why a session ended, and what that means for the link.

use std::fmt;
use std::time::Duration;

use iroh::endpoint::ConnectionError;
use zerok_protocol::{Code, Error, RetryAfter};

use crate::store::StoreError;
use crate::wire::WireError;

/// The longest that a relay's word for when to come back is believed.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How long a refusal asks to wait.
pub(super) fn pause(error: &Error) -> Duration {
    Duration::from_millis(error.retry_after_ms.unwrap_or(1000)).min(MAX_PAUSE)
}

/// How long to wait, if the relay closed the connection because of too many.
pub(super) fn closed_for_rate(reason: &ConnectionError) -> Option<Duration> {
    let ConnectionError::ApplicationClosed(close) = reason else { return None };
    let limited = close.error_code.into_inner() == u64::from(Code::RateLimited.number());
    let told = RetryAfter::from_reason(&close.reason).map_or(Duration::from_secs(1), |RetryAfter(wait)| wait);
    limited.then(|| told.min(MAX_PAUSE))
}

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
    /// The relay asks for less haste, which is no failure.
    Paced(Duration),
    /// The relay does not serve this group.
    Refused(String),
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(text) | Self::Busy { text, .. } | Self::Refused(text) => f.write_str(text),
            Self::Paced(wait) => write!(f, "again in {} ms", wait.as_millis()),
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
            Code::RateLimited => Self::Paced(pause(error)),
            Code::RelayOverloaded | Code::RelayShuttingDown => {
                Self::Busy { retry_after_ms: error.retry_after_ms.unwrap_or(1000), text }
            }
            _ => Self::Lost(text),
        }
    }
}
