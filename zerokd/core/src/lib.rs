//! What a device does without touching the world: keys and what is derived from them, sealing, the log's bundles and
//! vectors, pairing messages, folder records and how they merge, chunks.
//!
//! This crate does no I/O, starts nothing, reads neither clock nor files: time and random bytes come in as arguments
//! (only HPKE draws its own). It must never import tokio, iroh, rusqlite or notify, nor `std::{fs, net, thread}`.

#![warn(clippy::indexing_slicing, clippy::as_conversions)]

mod backoff;
mod bundle;
mod chunk;
mod chunk_list;
mod codec;
mod conflict_name;
mod cut;
mod entry;
mod envelope;
mod epoch;
mod folder_id;
mod hlc;
mod invite;
mod link;
mod membership;
mod padme;
mod pairing;
mod path;
pub mod reconcile;
mod record;
mod resolve;
mod sealing;
mod secret;
mod signal;
mod vector;
mod version;

pub use backoff::Backoff;
pub use bundle::{Bundle, BundleError, Header, MAX_BUNDLE, Room};
pub use chunk::{ChunkError, ChunkKind, ChunkRef, ChunkSealer, SealedChunk, open_chunk, open_root};
pub use chunk_list::{
    Finished, LeafRef, ListBuilder, ListError, MAX_FILE, MAX_LEAF, MAX_LEAVES, Root, parse_leaf, parse_root,
};
pub use cut::{Cutter, MAX_CHUNK_PLAIN};
pub use entry::{
    ContentRef, Entry, EntryError, EntryKind, MAX_CHANNEL, MAX_ENTRY, MAX_KEY, MAX_REFS, check_channel,
};
pub use envelope::{EnvelopeError, Sealed, bundle_blob_id, bundle_nonce, seal};
pub use folder_id::FolderId;
pub use hlc::Hlc;
pub use invite::{Invite, InviteError};
pub use link::{Action, Event, Link, State};
pub use membership::{OpenError, add, genesis, next_epoch, open_envelope, open_previous};
pub use padme::{PaddingError, pad, padded_len, unpad};
pub use pairing::{
    Grant, JoinRequest, MAX_NAME, NameError, PairingError, check_name, open_grant, open_request, seal_grant,
    seal_request,
};
pub use path::{MAX_FILE_NAME, MAX_PATH, PathError, RelPath};
pub use record::{Content, INLINE_MAX, Kind, MAX_RECORD, MAX_TARGET, Record, RecordError};
pub use resolve::{Resolution, resolve, undominated};
pub use secret::{ConstantSecret, DeviceKeys, EpochKeys, EpochSecret, GroupKeys, Secret};
pub use signal::{Signal, SignalError, Want, open_signal, seal_signal};
pub use vector::{Position, Vector, VectorError};
pub use version::{MAX_VERSION_CHAINS, Relation, Version, VersionError};
