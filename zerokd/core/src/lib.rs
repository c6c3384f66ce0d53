//! What a device does without touching the world: keys and what is derived from them, sealing, the log's bundles and
//! vectors, pairing messages, folder records and how they merge, chunks.
//!
//! This crate does no I/O, starts nothing, reads neither clock nor files: time and random bytes come in as arguments
//! (only HPKE draws its own). It must never import tokio, iroh, rusqlite or notify, nor `std::{fs, net, thread}`.

#![warn(clippy::indexing_slicing, clippy::as_conversions)]

mod backoff;
mod bundle;
mod codec;
mod entry;
mod envelope;
mod epoch;
mod hlc;
mod invite;
mod link;
mod membership;
mod padme;
mod pairing;
mod sealing;
mod secret;
mod signal;
mod vector;

pub use backoff::Backoff;
pub use bundle::{Bundle, BundleError, Header, MAX_BUNDLE, Room};
pub use entry::{
    ContentRef, Entry, EntryError, EntryKind, MAX_CHANNEL, MAX_ENTRY, MAX_KEY, MAX_REFS, check_channel,
};
pub use envelope::{EnvelopeError, Sealed, seal};
pub use hlc::Hlc;
pub use invite::{Invite, InviteError};
pub use link::{Action, Event, Link, State};
pub use membership::{OpenError, add, genesis, next_epoch, open_envelope, open_previous};
pub use padme::{PaddingError, pad, padded_len, unpad};
pub use pairing::{
    Grant, JoinRequest, MAX_NAME, NameError, PairingError, check_name, open_grant, open_request, seal_grant,
    seal_request,
};
pub use secret::{ConstantSecret, DeviceKeys, EpochKeys, EpochSecret, GroupKeys, Secret};
pub use signal::{Signal, SignalError, Want, open_signal, seal_signal};
pub use vector::{Position, Vector, VectorError};
