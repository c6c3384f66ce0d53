//! Seals and opens signals.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zerok_protocol::roster::verify;
use zerok_protocol::{DeviceId, EpochId, GroupId, MAX_SIGNAL, Signature};

use super::{Signal, SignalError};
use crate::codec::{decode, encode};
use crate::epoch::{epoch_bytes, read_epoch};
use crate::sealing::{NONCE, open_padded, seal_padded};
use crate::secret::{DeviceKeys, EpochKeys};

/// What stands before a body's bytes when its sender signs them.
const LABEL: &[u8] = b"0k-sync v1 signal\0";
const VERSION: u8 = 1;

/// What the sender signs. Group and epoch are in it, so that no member can pass it on elsewhere as new.
#[derive(Serialize)]
struct Out<'a> {
    group: GroupId,
    device: DeviceId,
    epoch: EpochId,
    sent_at: u64,
    signal: &'a Signal,
}

#[derive(Deserialize)]
struct In {
    group: GroupId,
    device: DeviceId,
    epoch: EpochId,
    sent_at: u64,
    signal: Signal,
}

/// Signs and seals a signal; `nonce` is random. A caller keeps its lists so short that the result stays below
/// `MAX_SIGNAL` (400 vector positions, 256 ranges or 1024 addresses do).
#[must_use]
pub fn seal_signal(
    keys: &DeviceKeys,
    epoch_keys: &EpochKeys,
    group: GroupId,
    epoch: EpochId,
    nonce: [u8; NONCE],
    sent_at_ms: u64,
    signal: &Signal,
) -> Bytes {
    let body = encode(&Out { group, device: keys.id(), epoch, sent_at: sent_at_ms, signal });
    let text = [&keys.sign(LABEL, &body).as_bytes()[..], &body].concat();
    let clear = [&[VERSION][..], &epoch_bytes(epoch), &nonce].concat();
    seal_padded(&epoch_keys.signal, &nonce, &aad(group, epoch), &clear, &text).into()
}

/// Opens a signal: its sender, when it was sent (Unix milliseconds, by the sender's clock), and what it says. Whether the
/// sender is a member, and whether the time is newer than the last one taken from it, is for the caller to judge.
///
/// # Errors
/// It is too large, malformed, of an unknown epoch, for another group, changed on the way or not signed by its sender.
pub fn open_signal(
    payload: &[u8],
    lookup: impl Fn(EpochId) -> Option<EpochKeys>,
    group: GroupId,
) -> Result<(DeviceId, u64, Signal), SignalError> {
    if payload.len() > MAX_SIGNAL {
        return Err(SignalError::TooLarge(payload.len()));
    }
    let (version, rest) = payload.split_first().ok_or(SignalError::Malformed)?;
    if *version != VERSION {
        return Err(SignalError::Version(*version));
    }
    let (epoch, rest) = rest.split_first_chunk().ok_or(SignalError::Malformed)?;
    let (nonce, sealed) = rest.split_first_chunk().ok_or(SignalError::Malformed)?;
    let epoch = read_epoch(epoch);
    let keys = lookup(epoch).ok_or(SignalError::Epoch(epoch))?;
    let text = open_padded(&keys.signal, nonce, &aad(group, epoch), sealed).ok_or(SignalError::Sealed)?;
    let (signature, body) = text.split_first_chunk().ok_or(SignalError::Malformed)?;
    let read: In = decode(body).ok_or(SignalError::Malformed)?;
    if read.group != group
        || read.epoch != epoch
        || !verify(&read.device, LABEL, body, &Signature(*signature))
    {
        return Err(SignalError::Signature);
    }
    if !read.signal.is_sound() {
        return Err(SignalError::Malformed);
    }
    Ok((read.device, read.sent_at, read.signal))
}

fn aad(group: GroupId, epoch: EpochId) -> Vec<u8> {
    [&[VERSION][..], group.as_bytes(), &epoch_bytes(epoch)].concat()
}
