//! A bundle: entries of one chain, cut together, under one signed header. Its bytes are made once and never again:
//! stored, sent, handed on and repaired as they are.

mod read;

use bytes::{BufMut, Bytes, BytesMut};
use rmp::encode::{write_array_len, write_bin_len, write_nil};
use serde::{Deserialize, Serialize};
use zerok_protocol::roster::verify;
use zerok_protocol::{ChainId, DeviceId, GroupId, Hash, MAX_BUNDLE_BODIES, MAX_BUNDLE_ENTRIES, Signature};

use crate::codec::{decode, encode};
use crate::entry::{MAX_ENTRY, MAX_NUMBER};
use crate::hlc::Hlc;
use crate::secret::DeviceKeys;

/// What stands before a header's bytes when its author signs them.
const LABEL: &[u8] = b"0k-sync v1 bundle\0";
const VERSION: u8 = 1;
/// Largest header: 256 hashes of 34 bytes and everything else.
const MAX_HEADER: usize = 12 << 10;
/// Largest bundle in bytes: entries, header, signature, and the lengths between.
pub const MAX_BUNDLE: usize = MAX_ENTRY + MAX_HEADER + 4096;

/// What an author signs for a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Format version, 1.
    pub v: u8,
    /// The group.
    pub group: GroupId,
    /// The author.
    pub device: DeviceId,
    /// The author's chain.
    pub chain: ChainId,
    /// Number of the bundle in its chain, from 1.
    pub seq: u64,
    /// Hash of the bundle before; absent in the first.
    pub prev: Option<Hash>,
    /// Number of its first entry in the chain, from 1.
    pub first: u64,
    /// When it was cut, by the author's hybrid clock.
    pub hlc: Hlc,
    /// The author waits for a receipt.
    pub receipt: bool,
    /// BLAKE3 of each entry's bytes.
    pub entries: Vec<Hash>,
}

/// Why bytes are no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Larger than any bundle can be.
    #[error("bundle of {0} bytes exceeds the limit of {MAX_BUNDLE}")]
    TooLarge(usize),
    /// Not `[header, signature, [entry | nil …]]`, or the header does not have its fields.
    #[error("malformed bundle")]
    Malformed,
    /// A version that this program does not know.
    #[error("bundle is of version {0}, this program knows 1")]
    Version(u8),
    /// The header contradicts itself.
    #[error("bundle header: {0}")]
    Header(&'static str),
    /// As many entries as hashes should stand there.
    #[error("bundle of {found} entries, the header names {named}")]
    Count {
        /// In the header.
        named: usize,
        /// Beside it.
        found: usize,
    },
    /// The header is not signed by the device that it names.
    #[error("bad signature on bundle")]
    Signature,
    /// An entry that is not the one that was signed.
    #[error("entry {0} of the bundle is not the one that its header names")]
    Entry(usize),
}

/// Fills a bundle up to its limits. Ask before each entry that is put into one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room {
    entries: usize,
    bytes: usize,
}

impl Room {
    /// Does an entry of `length` encoded bytes fit? If so it is counted. The first one always does.
    pub fn take(&mut self, length: usize) -> bool {
        let (entries, bytes) = (self.entries + 1, self.bytes.saturating_add(length));
        let fits = self.entries == 0 || (entries <= MAX_BUNDLE_ENTRIES && bytes <= MAX_BUNDLE_BODIES);
        if fits {
            *self = Self { entries, bytes };
        }
        fits
    }
}

/// A bundle that is well-formed, signed by the device it names, and whole but for pruned entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What was signed.
    pub header: Header,
    /// BLAKE3 of the header's bytes and the signature: the next bundle's `prev`.
    pub hash: Hash,
    /// The exact bytes.
    pub bytes: Bytes,
    /// The entries' bytes; `None` was pruned.
    pub entries: Vec<Option<Bytes>>,
    header_bytes: Bytes,
    signature: Signature,
}

impl Bundle {
    /// Cuts a bundle from encoded entries that were counted into one [`Room`].
    ///
    /// # Panics
    /// There are none or too many entries, or `seq`, `prev` and `first` contradict each other.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "these are the fields of a header")]
    pub fn cut(
        keys: &DeviceKeys,
        group: GroupId,
        chain: ChainId,
        seq: u64,
        prev: Option<Hash>,
        first: u64,
        hlc: Hlc,
        receipt: bool,
        entries: &[Bytes],
    ) -> Self {
        let hashes: Vec<Hash> = entries.iter().map(|entry| Hash::of(entry)).collect();
        let device = keys.id();
        let header =
            Header { v: VERSION, group, device, chain, seq, prev, first, hlc, receipt, entries: hashes };
        check_header(&header).expect("the store counts its chain without gaps");
        let total: usize = entries.iter().map(Bytes::len).sum();
        assert!(total <= MAX_ENTRY, "entries were counted into a Room");
        let header_bytes = encode(&header);
        let signature = keys.sign(LABEL, &header_bytes);
        let (bytes, header_bytes, entries) = join(&header_bytes, signature, entries.iter().map(Some), total);
        Self { header, hash: hash(&header_bytes, &signature), bytes, entries, header_bytes, signature }
    }

    /// Reads a bundle. The entries are slices of `bytes`: nothing is copied. Whether it is of the right group, its author a
    /// member, and its place in the chain free, is for the caller to judge.
    ///
    /// # Errors
    /// It breaks a limit or a rule, is not signed by the device that it names, or an entry is not the one signed.
    pub fn parse(bytes: Bytes) -> Result<Self, BundleError> {
        let parts = read::parts(&bytes)?;
        let header: Header = decode(parts.header).ok_or(BundleError::Malformed)?;
        check_header(&header)?;
        if header.entries.len() != parts.entries.len() {
            return Err(BundleError::Count { named: header.entries.len(), found: parts.entries.len() });
        }
        if !verify(&header.device, LABEL, parts.header, &parts.signature) {
            return Err(BundleError::Signature);
        }
        for (i, (hash, entry)) in header.entries.iter().zip(&parts.entries).enumerate() {
            if entry.is_some_and(|entry| Hash::of(entry) != *hash) {
                return Err(BundleError::Entry(i));
            }
        }
        let entries = parts.entries.iter().map(|entry| entry.map(|entry| bytes.slice_ref(entry))).collect();
        let (header_bytes, signature) = (bytes.slice_ref(parts.header), parts.signature);
        Ok(Self { hash: hash(&header_bytes, &signature), header, entries, header_bytes, signature, bytes })
    }

    /// Puts a bundle together again from what was stored of it, with `None` for pruned entries.
    #[must_use]
    pub fn assemble(header_bytes: &[u8], signature: Signature, entries: &[Option<Bytes>]) -> Bytes {
        let total = entries.iter().flatten().map(Bytes::len).sum();
        join(header_bytes, signature, entries.iter().map(Option::as_ref), total).0
    }

    /// The exact bytes that were signed (after the label).
    #[must_use]
    pub fn header_bytes(&self) -> &[u8] {
        &self.header_bytes
    }

    /// The author's signature.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.signature
    }
}

fn hash(header: &[u8], signature: &Signature) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header).update(signature.as_bytes());
    Hash(*hasher.finalize().as_bytes())
}

fn check_header(header: &Header) -> Result<(), BundleError> {
    let wrong = |why| Err(BundleError::Header(why));
    let count = header.entries.len();
    let last = u64::try_from(count).ok().and_then(|count| header.first.checked_add(count));
    if header.v != VERSION {
        return Err(BundleError::Version(header.v));
    }
    if count == 0 || count > MAX_BUNDLE_ENTRIES {
        return wrong("1 to 256 entries make a bundle");
    }
    if header.seq == 0 || header.seq > MAX_NUMBER || header.hlc.0 > MAX_NUMBER {
        return wrong("seq or hlc is out of range");
    }
    if (header.seq == 1) != header.prev.is_none() {
        return wrong("the first bundle of a chain, and no other, has no prev");
    }
    if header.first < header.seq || (header.seq == 1 && header.first != 1) {
        return wrong("first is too low for seq, or not 1 in the first bundle");
    }
    if last.is_none_or(|last| last > MAX_NUMBER) {
        return wrong("first is out of range");
    }
    Ok(())
}

/// `[header bin, signature bin, [entry bin | nil …]]`: the bytes, and the header and entries as slices of them.
fn join<'a>(
    header: &[u8],
    signature: Signature,
    entries: impl ExactSizeIterator<Item = Option<&'a Bytes>>,
    total: usize,
) -> (Bytes, Bytes, Vec<Option<Bytes>>) {
    const PLAIN: &str = "writing to memory cannot fail";
    let mut out = BytesMut::with_capacity(header.len() + total + 5 * entries.len() + 128).writer();
    let mut spans = Vec::with_capacity(entries.len());
    write_array_len(&mut out, 3).expect(PLAIN);
    let header = put(&mut out, header);
    put(&mut out, signature.as_bytes());
    write_array_len(&mut out, u32::try_from(entries.len()).expect("at most 256 entries")).expect(PLAIN);
    for entry in entries {
        match entry {
            Some(entry) => spans.push(Some(put(&mut out, entry))),
            None => {
                write_nil(&mut out).expect(PLAIN);
                spans.push(None);
            }
        }
    }
    let bytes = out.into_inner().freeze();
    let header = bytes.slice(header);
    let entries = spans.into_iter().map(|span| span.map(|span| bytes.slice(span))).collect();
    (bytes, header, entries)
}

/// Writes a bin and says where its content stands.
fn put(out: &mut bytes::buf::Writer<BytesMut>, content: &[u8]) -> std::ops::Range<usize> {
    let length = u32::try_from(content.len()).expect("at most 900 KiB");
    write_bin_len(out, length).expect("writing to memory cannot fail");
    let start = out.get_ref().len();
    out.get_mut().put_slice(content);
    start..start + content.len()
}

#[cfg(test)]
mod tests;
