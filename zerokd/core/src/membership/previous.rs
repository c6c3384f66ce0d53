//! The previous epoch's secret sealed under the new one: with it, the newest secret opens everything.

use bytes::Bytes;
use zerok_protocol::EpochId;

use super::OpenError;
use crate::epoch::{epoch_bytes, read_epoch};
use crate::sealing::{NONCE, decrypt, encrypt};
use crate::secret::{EpochSecret, Secret, derive};

const VERSION: u8 = 1;
const INFO: &[u8] = b"0k-sync v1 previous epoch";
/// Each key seals exactly one text (the one secret of the epoch that it names), so the nonce is fixed.
const ZERO: [u8; NONCE] = [0; NONCE];

/// Version, epoch id, sealed secret, tag.
pub(super) fn seal_previous(new: &EpochSecret, id: EpochId, previous: &EpochSecret) -> Bytes {
    let clear = clear(id);
    let mut text = *previous.expose();
    let tag = encrypt(&key(new, id), &ZERO, &clear, &mut text);
    [&clear[..], &text, &tag].concat().into()
}

/// Opens the previous epoch's secret with the newer epoch's.
///
/// # Errors
/// It was sealed under another secret, or changed.
pub fn open_previous(new: &EpochSecret, sealed: &[u8]) -> Result<(EpochId, EpochSecret), OpenError> {
    let (version, rest) = sealed.split_first().ok_or(OpenError::Malformed)?;
    if *version != VERSION {
        return Err(OpenError::Version(*version));
    }
    let (id, rest) = rest.split_first_chunk::<16>().ok_or(OpenError::Malformed)?;
    let (text, tag) = rest.split_first_chunk::<32>().ok_or(OpenError::Malformed)?;
    let tag: &[u8; 16] = tag.try_into().map_err(|_| OpenError::Malformed)?;
    let (id, mut text) = (read_epoch(id), *text);
    decrypt(&key(new, id), &ZERO, &clear(id), &mut text, tag).ok_or(OpenError::Sealed)?;
    Ok((id, text.into()))
}

fn key(new: &EpochSecret, id: EpochId) -> Secret<32> {
    derive(new.expose(), &[INFO, &epoch_bytes(id)])
}

fn clear(id: EpochId) -> [u8; 17] {
    let mut out = [VERSION; 17];
    let (_, rest) = out.split_at_mut(1);
    rest.copy_from_slice(&epoch_bytes(id));
    out
}
