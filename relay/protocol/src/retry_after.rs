//! The reason of a connection that a relay closes with RATE_LIMITED as its error code, where no stream could carry an
//! ERROR: when to come back.

use std::fmt;
use std::time::Duration;

const KEY: &str = "retry_after_ms=";

/// When to come back; its Display is the reason of the close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// What a reason says, if it says that.
    #[must_use]
    pub fn from_reason(reason: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(reason).ok()?;
        text.strip_prefix(KEY)?.parse().ok().map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KEY}{}", self.0.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_other_reasons_are_none() {
        let wait = RetryAfter(Duration::from_millis(1500));
        assert_eq!(wait.to_string(), "retry_after_ms=1500");
        assert_eq!(RetryAfter::from_reason(wait.to_string().as_bytes()), Some(wait));
        for other in [&b""[..], b"stopping", b"retry_after_ms=", b"retry_after_ms=-1", b"\xff"] {
            assert_eq!(RetryAfter::from_reason(other), None);
        }
    }
}
