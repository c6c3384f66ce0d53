//! Takes a bundle's bytes apart without copying any.

use rmp::Marker;
use zerok_protocol::{MAX_BUNDLE_ENTRIES, Signature};

use super::{BundleError, MAX_BUNDLE, MAX_HEADER};
use crate::entry::MAX_ENTRY;

pub(super) struct Parts<'a> {
    pub(super) header: &'a [u8],
    pub(super) signature: Signature,
    pub(super) entries: Vec<Option<&'a [u8]>>,
}

/// Reads `[header bin, signature bin, [entry bin | nil …]]` within the limits.
pub(super) fn parts(bytes: &[u8]) -> Result<Parts<'_>, BundleError> {
    if bytes.len() > MAX_BUNDLE {
        return Err(BundleError::TooLarge(bytes.len()));
    }
    let mut at = bytes;
    if array(&mut at)? != 3 {
        return Err(BundleError::Malformed);
    }
    let header = bin(&mut at)?;
    let signature = Signature::from_slice(bin(&mut at)?).ok_or(BundleError::Malformed)?;
    let count = array(&mut at)?;
    if header.len() > MAX_HEADER || count > MAX_BUNDLE_ENTRIES {
        return Err(BundleError::Malformed);
    }
    let mut entries = Vec::with_capacity(count);
    let mut total = 0;
    for _ in 0..count {
        let entry = entry(&mut at)?;
        total += entry.map_or(0, <[u8]>::len);
        entries.push(entry);
    }
    if !at.is_empty() || total > MAX_ENTRY {
        return Err(BundleError::Malformed);
    }
    Ok(Parts { header, signature, entries })
}

fn array(at: &mut &[u8]) -> Result<usize, BundleError> {
    rmp::decode::read_array_len(at).ok().and_then(|n| usize::try_from(n).ok()).ok_or(BundleError::Malformed)
}

fn bin<'a>(at: &mut &'a [u8]) -> Result<&'a [u8], BundleError> {
    let length = rmp::decode::read_bin_len(at).ok().and_then(|n| usize::try_from(n).ok());
    let (content, rest) = length.and_then(|n| at.split_at_checked(n)).ok_or(BundleError::Malformed)?;
    *at = rest;
    Ok(content)
}

fn entry<'a>(at: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BundleError> {
    match at.split_first() {
        Some((marker, rest)) if Marker::from_u8(*marker) == Marker::Null => {
            *at = rest;
            Ok(None)
        }
        _ => bin(at).map(Some),
    }
}
