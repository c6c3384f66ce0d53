//! One of each message, with every field set, in the order of the type numbers.

use bytes::Bytes;
use zerok_protocol::roster::{Append, Envelope, Signed};
use zerok_protocol::*;

pub(crate) fn append() -> Append {
    let envelope = Envelope {
        device: DeviceId([0x0d; 32]),
        enc: Bytes::from_static(b"enc"),
        ciphertext: Bytes::from_static(b"sealed"),
    };
    Append {
        statement: signed(),
        envelopes: vec![envelope],
        sealed_previous: vec![Bytes::from_static(b"previous")],
    }
}

fn signed() -> Signed {
    Signed {
        bytes: Bytes::from_static(b"statement"),
        signature: Signature([0x05; 64]),
        joiner: Some(Signature([0x06; 64])),
    }
}

fn head() -> Head {
    Head { n: 3, hash: Hash([0x0a; 32]) }
}

fn blob() -> Blob {
    Blob {
        blob_id: BlobId([0x0b; 16]),
        cursor: 1_790_000_000_000_000,
        pusher: DeviceId([0x0d; 32]),
        timestamp: 1_790_000_000_000,
        payload: Bytes::from_static(b"sealed"),
    }
}

const GROUP: GroupId = GroupId([0x06; 32]);
const BLOB: BlobId = BlobId([0x0b; 16]);
const BOX: MailboxId = MailboxId([0x0e; 16]);
const ADDRESS: Hash = Hash([0x0c; 32]);

pub(crate) fn every_message() -> Vec<Message> {
    let limits = Limits { max_blob: 1 << 20, max_ttl_seconds: 2_592_000, messages_per_minute: 60_000 };
    let sealed = Bytes::from_static(b"sealed");
    let device = DeviceId([0x0d; 32]);
    vec![
        Hello { versions: vec![1], group: GROUP, head: head(), last_cursor: 7, token: Some("t".into()) }
            .into(),
        Welcome {
            version: 1,
            log_id: LogId([0x10; 16]),
            head: head(),
            max_cursor: 9,
            your_acked: Some(8),
            your_last_push: Some(LastPush { blob_id: BLOB, cursor: 9 }),
            limits,
        }
        .into(),
        Bye { reason: "done".into() }.into(),
        RosterAppend { req: 1, statements: vec![append()] }.into(),
        RosterGet { req: 1, from: 2 }.into(),
        RosterNews { head: head() }.into(),
        RosterPage { req: 1, statements: vec![append()], head: head() }.into(),
        RosterOk { req: 1, head: head() }.into(),
        Push {
            req: 1,
            blob_id: BLOB,
            epoch_id: EpochId { number: 2, tag: 0x0102_0304_0506_0708 },
            recipient: Some(device),
            ttl_seconds: Some(3600),
            payload: sealed.clone(),
        }
        .into(),
        PushAck { req: 1, blob_id: BLOB, cursor: 9, timestamp: 1_790_000_000_000 }.into(),
        Pull { req: 1, after_cursor: 8, limit: Some(10) }.into(),
        PullResponse { req: 1, blobs: vec![blob()], upto: 9, has_more: true }.into(),
        Subscribe { req: 1, after_cursor: 8, mode: SubscribeMode::Blobs, credit: CREDIT_DEFAULT }.into(),
        Deliver { blob: blob() }.into(),
        Ack { cursor: 9 }.into(),
        Credit { req: 1, bytes: 65_536 }.into(),
        Delivery { group: GROUP, req: 1 }.into(),
        CaughtUp { cursor: 9 }.into(),
        Presence { online: vec![device] }.into(),
        Notify { cursor: 9, size: 6 }.into(),
        Signal { recipient: Some(device), sender: Some(device), payload: sealed.clone() }.into(),
        ChunkPut { req: 1, group: GROUP, address: ADDRESS, data: sealed.clone() }.into(),
        ChunkGet { req: 1, group: GROUP, addresses: vec![ADDRESS], wait_ms: 30_000 }.into(),
        ChunkHave { req: 1, group: GROUP, addresses: vec![ADDRESS] }.into(),
        ChunkPutAck { req: 1, outcome: ChunkOutcome::Stored }.into(),
        Chunk { req: 1, address: ADDRESS, data: Some(sealed.clone()) }.into(),
        ChunkMissing { req: 1, addresses: vec![ADDRESS] }.into(),
        MailboxOpen { req: 1, mailbox: BOX, expiry_seconds: 600, notice: Some(sealed.clone()) }.into(),
        MailboxPut { req: 1, mailbox: BOX, to: Side::Joiner, message: sealed.clone() }.into(),
        MailboxTake { req: 1, mailbox: BOX, side: Side::Opener, wait_ms: 30_000 }.into(),
        MailboxClose { req: 1, mailbox: BOX }.into(),
        MailboxOk { req: 1 }.into(),
        MailboxMessage { req: 1, message: Some(sealed) }.into(),
        Error {
            req: Some(1),
            code: Code::RosterConflict,
            message: "no".into(),
            retry_after_ms: Some(100),
            head: Some(head()),
            statement: Some(signed()),
        }
        .into(),
    ]
}
