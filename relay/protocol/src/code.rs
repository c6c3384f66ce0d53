//! Error codes of the ERROR message.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// Why a relay refuses. The numbers are the contract (PROTOCOL.md, "Errors").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)* /// A code that this version does not know.
            Unknown(u16) }

        impl Code {
            /// Every code this version knows, for metrics and tests.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];
            /// The number on the wire.
            #[must_use]
            pub fn number(self) -> u16 { match self { $(Code::$name => $n,)* Code::Unknown(n) => n } }
            /// The name in PROTOCOL.md.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Code::$name => $text,)* Code::Unknown(_) => "UNKNOWN" } }
        }

        impl From<u16> for Code {
            fn from(n: u16) -> Self { match n { $($n => Code::$name,)* n => Code::Unknown(n) } }
        }
    };
}

codes! {
    /// The message breaks the protocol.
    InvalidMessage = 1000, "INVALID_MESSAGE";
    /// The relay does not know the group, or the head that the device names.
    UnknownGroup = 1001, "UNKNOWN_GROUP";
    /// The device may not use this group or relay.
    Unauthorized = 1002, "UNAUTHORIZED";
    /// The device is no longer a member; the statement is attached.
    DeviceRevoked = 1003, "DEVICE_REVOKED";
    /// No common protocol version.
    UnsupportedVersion = 1005, "UNSUPPORTED_VERSION";
    /// The blob is sealed under an epoch that is not the newest.
    StaleEpoch = 1006, "STALE_EPOCH";
    /// The same blob id with another payload.
    BlobConflict = 1007, "BLOB_CONFLICT";
    /// Another statement has the same `prev`; the head is attached.
    RosterConflict = 1008, "ROSTER_CONFLICT";
    /// Too fast: pace, not failure.
    RateLimited = 2000, "RATE_LIMITED";
    /// The blob exceeds the relay's limit.
    BlobTooLarge = 2001, "BLOB_TOO_LARGE";
    /// The group's storage is full.
    GroupQuotaExceeded = 2002, "GROUP_QUOTA_EXCEEDED";
    /// The mailbox expired, was used or was cancelled.
    MailboxGone = 2004, "MAILBOX_GONE";
    /// The relay is at its limits.
    RelayOverloaded = 3000, "RELAY_OVERLOADED";
    /// The relay is stopping.
    RelayShuttingDown = 3001, "RELAY_SHUTTING_DOWN";
    /// The relay failed; its log says why.
    Internal = 3002, "INTERNAL";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.number())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u16(self.number())
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        u16::deserialize(d).map(Code::from)
    }
}
