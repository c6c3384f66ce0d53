//! The exchange by which an invited device joins: its request to the inviter, and the inviter's grant, both sealed under
//! keys derived from the invite's secret. A relay in between learns nothing but their padded sizes.

mod name;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zerok_protocol::roster::Member;
use zerok_protocol::{
    AddressError, DeviceId, GroupId, Head, MAX_MAILBOX_MESSAGE, MailboxId, RelayAddr, Signature,
};

use crate::codec::{decode, encode};
use crate::invite::Invite;
use crate::membership::is_usable;
use crate::sealing::{NONCE, open_padded, seal_padded};
use crate::secret::{Secret, derive};

pub use name::{MAX_NAME, NameError, check_name};

const REQUEST: &[u8] = b"0k-sync v1 invite request";
const GRANT: &[u8] = b"0k-sync v1 invite grant";
const VERSION: u8 = 1;
/// Most relays in a grant.
const MAX_RELAYS: usize = 16;

/// What a joiner sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Its keys.
    pub member: Member,
    /// By its device key over the member record.
    pub signature: Signature,
    /// Its name, for people.
    pub name: String,
}

/// What the inviter answers when the joiner is a member at the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The group.
    pub group: GroupId,
    /// The roster's head after the joiner was added.
    pub head: Head,
    /// Address texts of the group's relays, tokens included.
    pub relays: Vec<String>,
    /// The group's name.
    pub group_name: String,
    /// The inviter's name.
    pub inviter_name: String,
    /// The inviter.
    pub inviter: DeviceId,
}

/// Why a request or grant is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// Larger than a mailbox takes.
    #[error("pairing message of {0} bytes is too large")]
    TooLarge(usize),
    /// Not the encoding of one.
    #[error("malformed pairing message")]
    Malformed,
    /// A version that this program does not know.
    #[error("pairing message is of version {0}, this program knows 1")]
    Version(u8),
    /// Sealed with another invite's secret, for the other direction, or changed on the way.
    #[error("pairing message does not open with this invite")]
    Sealed,
    /// The joiner's member record is not signed by itself, or its KEM key is none.
    #[error("the joiner's member record does not hold")]
    Member,
    /// A name that cannot be shown.
    #[error("{0} name: {1}")]
    Name(&'static str, NameError),
    /// No relay, or too many.
    #[error("grant with {0} relays, 1 to {MAX_RELAYS} are allowed")]
    Relays(usize),
    /// A relay's address is wrong.
    #[error("grant: {0}")]
    Relay(#[from] AddressError),
}

/// Seals the joiner's request; `nonce` is random.
#[must_use]
pub fn seal_request(invite: &Invite, nonce: [u8; NONCE], request: &JoinRequest) -> Bytes {
    seal(&invite.secret, &invite.mailbox, REQUEST, nonce, request)
}

/// Opens a request, as the inviter.
///
/// # Errors
/// It does not open with this secret and mailbox, or what it says does not hold.
pub fn open_request(
    secret: &Secret<32>,
    mailbox: &MailboxId,
    bytes: &[u8],
) -> Result<JoinRequest, PairingError> {
    let request: JoinRequest = open(secret, mailbox, REQUEST, bytes)?;
    if !request.member.verify(&request.signature) || !is_usable(&request.member.kem) {
        return Err(PairingError::Member);
    }
    check_name(&request.name).map_err(|e| PairingError::Name("device", e))?;
    Ok(request)
}

/// Seals the inviter's grant; `nonce` is random.
#[must_use]
pub fn seal_grant(secret: &Secret<32>, mailbox: &MailboxId, nonce: [u8; NONCE], grant: &Grant) -> Bytes {
    seal(secret, mailbox, GRANT, nonce, grant)
}

/// Opens the grant, as the joiner.
///
/// # Errors
/// It does not open with this invite, or what it says does not hold.
pub fn open_grant(invite: &Invite, bytes: &[u8]) -> Result<Grant, PairingError> {
    let grant: Grant = open(&invite.secret, &invite.mailbox, GRANT, bytes)?;
    check_name(&grant.group_name).map_err(|e| PairingError::Name("group", e))?;
    check_name(&grant.inviter_name).map_err(|e| PairingError::Name("inviter", e))?;
    if grant.relays.is_empty() || grant.relays.len() > MAX_RELAYS {
        return Err(PairingError::Relays(grant.relays.len()));
    }
    for relay in &grant.relays {
        let _: RelayAddr = relay.parse()?;
    }
    Ok(grant)
}

/// Version, nonce, then the padded map sealed under the direction's key.
fn seal<T: Serialize>(
    secret: &Secret<32>,
    mailbox: &MailboxId,
    label: &[u8],
    nonce: [u8; NONCE],
    value: &T,
) -> Bytes {
    let key = derive(secret.expose(), &[label]);
    let clear = [&[VERSION][..], &nonce].concat();
    seal_padded(&key, &nonce, &aad(label, mailbox), &clear, &encode(value)).into()
}

fn open<T: DeserializeOwned>(
    secret: &Secret<32>,
    mailbox: &MailboxId,
    label: &[u8],
    bytes: &[u8],
) -> Result<T, PairingError> {
    if bytes.len() > MAX_MAILBOX_MESSAGE {
        return Err(PairingError::TooLarge(bytes.len()));
    }
    let (version, rest) = bytes.split_first().ok_or(PairingError::Malformed)?;
    if *version != VERSION {
        return Err(PairingError::Version(*version));
    }
    let (nonce, sealed) = rest.split_first_chunk().ok_or(PairingError::Malformed)?;
    let key = derive(secret.expose(), &[label]);
    let text = open_padded(&key, nonce, &aad(label, mailbox), sealed).ok_or(PairingError::Sealed)?;
    decode(&text).ok_or(PairingError::Malformed)
}

/// The label (with the version in it) and the mailbox.
fn aad(label: &[u8], mailbox: &MailboxId) -> Vec<u8> {
    [label, mailbox.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
