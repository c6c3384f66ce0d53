//! Sizes that both ends agree on, held together by compile-time checks.

/// ALPN of the protocol over QUIC.
pub const ALPN: &[u8] = b"/0k-sync/1";
/// The protocol version that HELLO offers and WELCOME answers.
pub const VERSION: u16 = 1;

/// Bytes of the length prefix of a frame.
pub const HEADER_LEN: usize = 4;
/// Largest payload of PUSH, DELIVER, in bytes.
pub const MAX_BLOB: usize = 1 << 20;
/// Largest frame body in bytes: a blob and what stands around it. Checked before anything is allocated.
pub const MAX_FRAME: usize = MAX_BLOB + (64 << 10);
/// Largest sealed payload of a SIGNAL, in bytes.
pub const MAX_SIGNAL: usize = 64 << 10;
/// Largest mailbox message, in bytes.
pub const MAX_MAILBOX_MESSAGE: usize = 64 << 10;
/// Largest sealed chunk in bytes: 1 MiB of content, its padding and the tag.
pub const MAX_CHUNK: usize = MAX_BLOB + (48 << 10);
/// Most blobs in one PULL_RESPONSE.
pub const MAX_PAGE_BLOBS: u32 = 1000;
/// Bytes a device is ready to take on a delivery stream unless it says otherwise.
pub const CREDIT_DEFAULT: u64 = 4 << 20;
/// Most entries in a bundle.
pub const MAX_BUNDLE_ENTRIES: usize = 256;
/// Most bytes of entry bodies in a bundle; also the largest single entry body.
pub const MAX_BUNDLE_BODIES: usize = 900 << 10;

/// What a bundle may add to its bodies: header, hashes (34 bytes an entry), entry fields, seal.
const BUNDLE_OVERHEAD: usize = 64 << 10;
/// Padmé pads a length below 2^20 by less than 2^15 (its last 15 bits are cleared upwards).
const PADDING: usize = 1 << 15;

const _: () = assert!(MAX_BUNDLE_BODIES + BUNDLE_OVERHEAD + PADDING <= MAX_BLOB);
const _: () = assert!(MAX_BLOB < MAX_FRAME);
const _: () = assert!(MAX_CHUNK < MAX_FRAME);
const _: () = assert!(MAX_FRAME < 1 << 31);
