//! Every message of the protocol. A frame body is the MessagePack array `[type, body]`, the body a map with named
//! fields. Unknown fields are ignored; an unknown type is [`DecodeError::UnknownType`], which is answered with
//! ERROR 1000 and does not end the session.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::frame::put_frame;
use crate::id::{BlobId, DeviceId, GroupId, Hash, LogId, MailboxId};
use crate::roster::Append;

/// Why a frame body is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not `[type, body]`, or the body does not have the type's fields.
    #[error("malformed message of type {kind:#04x}: {reason}")]
    Malformed {
        /// The type number, 0 if it could not be read.
        kind: u8,
        /// The decoder's words. Never contains field contents.
        reason: String,
    },
    /// A type that this version does not know.
    #[error("unknown message type {0:#04x}")]
    UnknownType(u8),
}

/// The newest epoch: its number and the first 8 bytes of the hash of the statement that made it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct EpochId {
    /// Counts up from 0 (genesis).
    pub number: u64,
    /// First 8 bytes of the statement's hash, big-endian.
    pub tag: u64,
}

/// A roster position: the number of the last statement and its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// Number of the statement, genesis is 0.
    pub n: u64,
    /// BLAKE3 of its exact signed bytes.
    pub hash: Hash,
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident = $n:literal { $($(#[$fdoc:meta])* $(@$attr:ident)? $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $name { $($(#[$fdoc])* pub $field: $ty,)* }

            impl From<$name> for Message { fn from(m: $name) -> Self { Message::$name(m) } }
        )*

        /// One message.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Message { $($(#[$doc])* $name($name),)* }

        impl Message {
            /// Every type number with its name.
            pub const KINDS: &'static [(u8, &'static str)] = &[$(($n, stringify!($name))),*];

            /// The type number.
            #[must_use]
            pub fn kind(&self) -> u8 { match self { $(Message::$name(_) => $n,)* } }

            fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), rmp_serde::encode::Error> {
                match self { $(Message::$name(m) => rmp_serde::encode::write_named(out, m),)* }
            }

            fn decode_body(kind: u8, body: &[u8]) -> Result<Self, DecodeError> {
                match kind {
                    $($n => rmp_serde::from_slice::<$name>(body).map(Message::$name)
                        .map_err(|e| DecodeError::Malformed { kind, reason: reason(&e) }),)*
                    other => Err(DecodeError::UnknownType(other)),
                }
            }
        }
    };
}

/// The decoder's words without any contents.
fn reason(e: &rmp_serde::decode::Error) -> String {
    use rmp_serde::decode::Error as E;
    match e {
        E::InvalidMarkerRead(_) | E::InvalidDataRead(_) => "truncated".into(),
        E::TypeMismatch(_) => "wrong type".into(),
        E::LengthMismatch(_) => "wrong length".into(),
        E::OutOfRange => "number out of range".into(),
        E::DepthLimitExceeded => "nested too deeply".into(),
        E::Utf8Error(_) => "not UTF-8".into(),
        // serde's "missing field `x`" and "invalid length 3, expected 32 bytes": field names and lengths only.
        E::Syntax(text) if text.starts_with("missing field") || text.starts_with("invalid length") => {
            text.clone()
        }
        _ => "invalid body".into(),
    }
}

impl Message {
    /// Appends this message as one frame, length included.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, |out| {
            out.push(0x92); // fixarray of 2
            match self.kind() {
                kind @ 0..=0x7f => out.push(kind),
                kind => out.extend_from_slice(&[0xcc, kind]),
            }
            self.encode_body(out).expect("writing plain data to a Vec cannot fail");
        });
    }

    /// This message as one frame, length included.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.room());
        self.put(&mut out);
        out
    }

    /// About as many bytes as its frame will have, so that a large one is not moved while it grows.
    fn room(&self) -> usize {
        let blob = |payload: &Bytes| payload.len() + 192;
        match self {
            Message::Push(m) => blob(&m.payload),
            Message::Deliver(m) => blob(&m.blob.payload),
            Message::PullResponse(m) => m.blobs.iter().map(|b| blob(&b.payload)).sum::<usize>() + 64,
            Message::ChunkPut(m) => blob(&m.data),
            Message::Chunk(m) => m.data.as_ref().map_or(128, blob),
            _ => 64,
        }
    }

    /// Reads a frame's body (without the length).
    ///
    /// # Errors
    /// The body is malformed or of an unknown type; it never panics.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let bad = |reason: &str| DecodeError::Malformed { kind: 0, reason: reason.into() };
        match body {
            [0x92, 0xcc, kind, rest @ ..] if *kind > 0x7f => Self::decode_body(*kind, rest),
            [0x92, kind, rest @ ..] if *kind <= 0x7f => Self::decode_body(*kind, rest),
            [0x92, ..] => Err(bad("no type number")),
            _ => Err(bad("not [type, body]")),
        }
    }
}

/// What the relay allows, told in WELCOME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest payload of a PUSH, in bytes.
    pub max_blob: u64,
    /// Longest TTL of a blob, in seconds.
    pub max_ttl_seconds: u64,
    /// PUSH, PULL, ROSTER and MAILBOX messages per minute and device.
    pub messages_per_minute: u64,
}

/// The last PUSH that the relay acknowledged to this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPush {
    /// Its blob id.
    pub blob_id: BlobId,
    /// Its cursor.
    pub cursor: u64,
}

/// A stored blob as it is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The pusher's id for it.
    pub blob_id: BlobId,
    /// Its place in the group's stream.
    pub cursor: u64,
    /// The device whose connection pushed it, as the relay says; a device believes only the signature inside.
    pub pusher: DeviceId,
    /// When the relay stored it, Unix milliseconds.
    pub timestamp: u64,
    /// The sealed envelope.
    pub payload: Bytes,
}

/// How a subscription is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubscribeMode {
    /// DELIVER frames on a stream of their own.
    Blobs,
    /// NOTIFY messages on the session only.
    Notify,
}

/// Which end of a mailbox: the opener or whoever else knows the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The device that opened it.
    Opener,
    /// The other side.
    Joiner,
}

/// What became of a chunk that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChunkOutcome {
    /// The relay has it.
    Stored,
    /// No room now: try again later.
    Full,
    /// The address is not the hash of the bytes.
    Mismatch,
}

messages! {
    /// Opens a session for one group.
    Hello = 0x01 {
        /// Protocol versions that the device speaks.
        versions: Vec<u16>,
        /// The group.
        group: GroupId,
        /// The newest statement that the device knows.
        head: Head,
        /// The device's contiguous cursor, 0 at first.
        last_cursor: u64,
        /// Admission token for a group that the relay does not know yet.
        token: Option<String>,
    }
    /// The session is open.
    Welcome = 0x02 {
        /// The version chosen.
        version: u16,
        /// Names this relay's log of the group.
        log_id: LogId,
        /// The relay's newest statement.
        head: Head,
        /// The newest cursor that was assigned.
        max_cursor: u64,
        /// The last cursor that this device acknowledged.
        your_acked: Option<u64>,
        /// The last PUSH that was acknowledged to this device.
        your_last_push: Option<LastPush>,
        /// What the relay allows.
        limits: Limits,
    }
    /// Ends a session in order.
    Bye = 0x03 {
        /// For people.
        reason: String,
    }
    /// Appends statements; one transaction, compare-and-set on `prev`.
    RosterAppend = 0x04 {
        /// Answered with the same number.
        req: u32,
        /// The statements in order, with their envelopes.
        statements: Vec<Append>,
    }
    /// Asks for statements.
    RosterGet = 0x05 {
        /// Answered with the same number.
        req: u32,
        /// The first statement wanted.
        from: u64,
    }
    /// The roster has a new head.
    RosterNews = 0x06 {
        /// The head.
        head: Head,
    }
    /// Answers ROSTER_GET.
    RosterPage = 0x07 {
        /// The request's number.
        req: u32,
        /// Statements from the one asked for with all that stands beside them, as many as fit a frame.
        statements: Vec<Append>,
        /// The head, so that the device knows whether to ask on.
        head: Head,
    }
    /// Answers ROSTER_APPEND: everything is stored.
    RosterOk = 0x08 {
        /// The request's number.
        req: u32,
        /// The new head.
        head: Head,
    }
    /// Stores a blob.
    Push = 0x10 {
        /// Answered with the same number.
        req: u32,
        /// Random; a repeat with the same payload is answered with the first cursor.
        blob_id: BlobId,
        /// The epoch under which it is sealed.
        epoch_id: EpochId,
        /// Delivers to this device only (repairs).
        recipient: Option<DeviceId>,
        /// How long to keep it; the relay clamps.
        ttl_seconds: Option<u64>,
        /// The sealed envelope, at most MAX_BLOB.
        payload: Bytes,
    }
    /// The blob is durable.
    PushAck = 0x11 {
        /// The request's number.
        req: u32,
        /// The blob.
        blob_id: BlobId,
        /// Its cursor.
        cursor: u64,
        /// When it was stored, Unix milliseconds.
        timestamp: u64,
    }
    /// Asks for a page of blobs.
    Pull = 0x20 {
        /// Answered with the same number.
        req: u32,
        /// Blobs after this cursor.
        after_cursor: u64,
        /// At most so many; the relay clamps.
        limit: Option<u32>,
    }
    /// Answers PULL.
    PullResponse = 0x21 {
        /// The request's number.
        req: u32,
        /// In cursor order.
        blobs: Vec<Blob>,
        /// Everything up to here that this device may see was offered.
        upto: u64,
        /// There is more after `upto`.
        has_more: bool,
    }
    /// Starts a delivery.
    Subscribe = 0x22 {
        /// Names the subscription in DELIVERY and CREDIT.
        req: u32,
        /// Blobs after this cursor.
        after_cursor: u64,
        /// Blobs or notices.
        mode: SubscribeMode,
        /// Bytes of payload that the device is ready to take.
        credit: u64,
    }
    /// One blob on a delivery stream.
    Deliver = 0x23 {
        /// The blob.
        blob: Blob,
    }
    /// All up to here is durable on this device.
    Ack = 0x24 {
        /// The device's contiguous cursor.
        cursor: u64,
    }
    /// The device is ready to take more.
    Credit = 0x25 {
        /// The subscription.
        req: u32,
        /// Bytes more.
        bytes: u64,
    }
    /// First frame of a delivery stream: which subscription it serves.
    Delivery = 0x26 {
        /// The group, because a connection carries many.
        group: GroupId,
        /// The SUBSCRIBE's number.
        req: u32,
    }
    /// Everything stored up to here that this device may see was delivered (on a delivery stream).
    CaughtUp = 0x27 {
        /// The newest cursor at that time.
        cursor: u64,
    }
    /// Members that have a session, on change; a hint only.
    Presence = 0x30 {
        /// Who is online.
        online: Vec<DeviceId>,
    }
    /// A blob was stored (mode notify).
    Notify = 0x31 {
        /// Its cursor.
        cursor: u64,
        /// Its size in bytes.
        size: u64,
    }
    /// A sealed message between devices that are online; not stored.
    Signal = 0x33 {
        /// To this device only.
        recipient: Option<DeviceId>,
        /// Set by the relay towards the device.
        sender: Option<DeviceId>,
        /// At most MAX_SIGNAL.
        payload: Bytes,
    }
    /// Stores a chunk (on a chunk stream).
    ChunkPut = 0x70 {
        /// Answered with the same number.
        req: u32,
        /// The group whose cache it is for.
        group: GroupId,
        /// BLAKE3 of `data`.
        address: Hash,
        /// The sealed chunk.
        data: Bytes,
    }
    /// Asks for chunks (on a chunk stream); one CHUNK answers each address, in any order.
    ChunkGet = 0x71 {
        /// Answered with the same number.
        req: u32,
        /// The group.
        group: GroupId,
        /// At most 256.
        addresses: Vec<Hash>,
        /// How long to wait for one that is not there, at most 30,000.
        wait_ms: u32,
    }
    /// Asks which chunks are missing (on a chunk stream).
    ChunkHave = 0x72 {
        /// Answered with the same number.
        req: u32,
        /// The group.
        group: GroupId,
        /// At most 8192.
        addresses: Vec<Hash>,
    }
    /// Answers CHUNK_PUT.
    ChunkPutAck = 0x73 {
        /// The request's number.
        req: u32,
        /// What became of it.
        outcome: ChunkOutcome,
    }
    /// Answers one address of CHUNK_GET.
    Chunk = 0x74 {
        /// The request's number.
        req: u32,
        /// The address.
        address: Hash,
        /// The sealed chunk; absent when the relay does not have it and the wait is over.
        data: Option<Bytes>,
    }
    /// Answers CHUNK_HAVE.
    ChunkMissing = 0x75 {
        /// The request's number.
        req: u32,
        /// Of those asked for, the ones that the relay lacks.
        addresses: Vec<Hash>,
    }
    /// Opens a mailbox; only on a connection that has an admitted session.
    MailboxOpen = 0x80 {
        /// Answered with the same number.
        req: u32,
        /// Its name: whoever knows it may use it.
        mailbox: MailboxId,
        /// Seconds until it goes.
        expiry_seconds: u32,
        /// A first message for the joiner (cost and salt of the password), shown to every TAKE before others.
        notice: Option<Bytes>,
    }
    /// Leaves a message for the other side.
    MailboxPut = 0x81 {
        /// Answered with the same number.
        req: u32,
        /// The mailbox.
        mailbox: MailboxId,
        /// Who should take it.
        to: Side,
        /// At most MAX_MAILBOX_MESSAGE.
        message: Bytes,
    }
    /// Takes the next message for one side. What is for the opener is removed by it; what is for the joiner's side each
    /// device is given once, so that of two that join at once neither takes what is meant for the other.
    MailboxTake = 0x82 {
        /// Answered with the same number.
        req: u32,
        /// The mailbox.
        mailbox: MailboxId,
        /// Whose messages.
        side: Side,
        /// How long to wait for one, at most 30,000.
        wait_ms: u32,
    }
    /// Closes a mailbox; later uses are answered MAILBOX_GONE.
    MailboxClose = 0x83 {
        /// Answered with the same number.
        req: u32,
        /// The mailbox.
        mailbox: MailboxId,
    }
    /// Answers MAILBOX_OPEN, PUT and CLOSE.
    MailboxOk = 0x84 {
        /// The request's number.
        req: u32,
    }
    /// Answers MAILBOX_TAKE.
    MailboxMessage = 0x85 {
        /// The request's number.
        req: u32,
        /// The message; absent when none came in time.
        message: Option<Bytes>,
    }
    /// A refusal.
    Error = 0xff {
        /// The request it answers; absent for the session as a whole.
        req: Option<u32>,
        /// Why.
        code: Code,
        /// For people.
        message: String,
        /// When to try again.
        retry_after_ms: Option<u64>,
        /// With ROSTER_CONFLICT: the head.
        head: Option<Head>,
        /// With DEVICE_REVOKED: the statement.
        statement: Option<crate::roster::Signed>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_wire() {
        for message in [
            Message::from(Ack { cursor: 7 }),
            Message::from(MailboxOk { req: 3 }),
            Message::from(Push {
                req: 1,
                blob_id: BlobId([1; 16]),
                epoch_id: EpochId { number: 0, tag: 9 },
                recipient: None,
                ttl_seconds: None,
                payload: Bytes::from_static(b"sealed"),
            }),
        ] {
            let frame = message.to_frame();
            assert_eq!(Message::decode(&frame[4..]), Ok(message));
        }
    }

    #[test]
    fn an_unknown_type_is_told_apart_from_garbage() {
        assert_eq!(Message::decode(&[0x92, 0x6f, 0x80]), Err(DecodeError::UnknownType(0x6f)));
        assert!(matches!(Message::decode(b"garbage"), Err(DecodeError::Malformed { kind: 0, .. })));
        assert!(matches!(
            Message::decode(&[0x92, 0x24, 0x80]),
            Err(DecodeError::Malformed { kind: 0x24, .. })
        ));
    }

    #[test]
    fn unknown_fields_are_ignored() {
        // {"cursor": 7, "new": 1}
        let body = b"\x92\x24\x82\xa6cursor\x07\xa3new\x01";
        assert_eq!(Message::decode(body), Ok(Ack { cursor: 7 }.into()));
    }
}
