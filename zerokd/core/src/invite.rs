//! The one-time invite text: `zerok:` and, in base64url, a MessagePack map with a checksum behind it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zerok_protocol::{AddressError, MailboxId, RelayAddr};

use crate::codec::{decode, encode};
use crate::secret::Secret;

const PREFIX: &str = "zerok:";
const VERSION: u8 = 1;
/// Longest invite text.
const MAX_TEXT: usize = 4096;
/// Bytes of BLAKE3 behind the map.
const CHECKSUM: usize = 4;

/// What lets one device join a group. Whoever holds the text can use it once, so it never prints itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// Keys the exchange in the mailbox.
    pub secret: Secret<32>,
    /// Where at the relay the exchange takes place.
    pub mailbox: MailboxId,
    /// The relay's address text, token included.
    pub relay: String,
    /// When it dies, Unix milliseconds.
    pub expires_at: u64,
}

/// Why a text is no invite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It does not begin with `zerok:`.
    #[error("invite: does not begin with 'zerok:'")]
    Prefix,
    /// Far longer than an invite.
    #[error("invite: longer than {MAX_TEXT} characters")]
    TooLong,
    /// A character that no invite has.
    #[error("invite: character {0} does not belong in an invite")]
    Character(usize),
    /// The checksum does not fit: cut short, or mistyped.
    #[error("invite: cut short or mistyped (its checksum does not fit); copy it again, whole")]
    Checksum,
    /// Made by a newer program.
    #[error("invite: of version {0}, this program knows 1; update it")]
    Version(u8),
    /// A field is missing or wrong.
    #[error("invite: field {0} is missing or malformed")]
    Field(&'static str),
    /// The relay's address is wrong.
    #[error("invite: {0}")]
    Relay(#[from] AddressError),
}

#[derive(Serialize)]
struct Out<'a> {
    v: u8,
    #[serde(with = "serde_bytes")]
    secret: &'a [u8],
    mailbox: MailboxId,
    relay: &'a str,
    expires_at: u64,
}

/// Read leniently, so that a missing field can be named.
#[derive(Deserialize)]
struct In {
    v: u8,
    secret: Option<serde_bytes::ByteBuf>,
    mailbox: Option<serde_bytes::ByteBuf>,
    relay: Option<String>,
    expires_at: Option<u64>,
}

impl Invite {
    /// The text to hand over.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { secret, mailbox, relay, expires_at } = self;
        let mut bytes = encode(&Out {
            v: VERSION,
            secret: secret.expose(),
            mailbox: *mailbox,
            relay,
            expires_at: *expires_at,
        });
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads an invite; white space round it is ignored. Whether it has expired is asked with [`Invite::is_expired`].
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(InviteError::TooLong);
        }
        let code = text.strip_prefix(PREFIX).ok_or(InviteError::Prefix)?;
        let foreign = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if let Some(at) = code.chars().position(foreign) {
            return Err(InviteError::Character(PREFIX.len() + at + 1));
        }
        let bytes = URL_SAFE_NO_PAD.decode(code).map_err(|_| InviteError::Checksum)?;
        let (map, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(InviteError::Checksum)?;
        if checksum(map) != *sum {
            return Err(InviteError::Checksum);
        }
        let read: In = decode(map).ok_or(InviteError::Field("v, or the type of another,"))?;
        if read.v != VERSION {
            return Err(InviteError::Version(read.v));
        }
        let field = |bytes: Option<serde_bytes::ByteBuf>| bytes.unwrap_or_default();
        let secret = Secret::from_slice(&field(read.secret)).ok_or(InviteError::Field("secret"))?;
        let mailbox = MailboxId::from_slice(&field(read.mailbox)).ok_or(InviteError::Field("mailbox"))?;
        let relay = read.relay.ok_or(InviteError::Field("relay"))?;
        let _: RelayAddr = relay.parse()?;
        let expires_at = read.expires_at.ok_or(InviteError::Field("expires_at"))?;
        Ok(Self { secret, mailbox, relay, expires_at })
    }

    /// Is its time over?
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        now_ms >= self.expires_at
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invite([REDACTED])")
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    let mut hash = blake3::Hasher::new();
    hash.update(bytes).finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests;
