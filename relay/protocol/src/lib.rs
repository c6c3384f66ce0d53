//! The wire protocol between a device and a relay: identifiers, messages, framing, limits, the relay address
//! text, and the roster's statements and rules.
//!
//! This crate does no I/O, reads no clock, holds no secret and can decrypt nothing: relay and daemon share it, so
//! that both judge a message and a membership alike.

#![warn(clippy::indexing_slicing, clippy::as_conversions)]

mod address;
mod code;
mod frame;
mod id;
mod limits;
mod message;
mod parts;
mod retry_after;
pub mod roster;

pub use address::{AddressError, RelayAddr, Token};
pub use code::Code;
pub use frame::{FrameError, frame_length, put_frame};
pub use id::{BlobId, ChainId, DeviceId, GroupId, Hash, IdError, KemKey, LogId, MailboxId, Signature};
pub use limits::{
    ALPN, CREDIT_DEFAULT, HEADER_LEN, MAX_BLOB, MAX_BUNDLE_BODIES, MAX_BUNDLE_ENTRIES, MAX_CHUNK, MAX_FRAME,
    MAX_MAILBOX_MESSAGE, MAX_PAGE_BLOBS, MAX_SIGNAL, VERSION,
};
pub use message::*;
pub use retry_after::RetryAfter;
