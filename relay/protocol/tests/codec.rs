//! Properties of the codec: what was written is read as it was, and nothing that comes makes it panic.

#![expect(clippy::unwrap_used, reason = "in a test what cannot be is a failure")]

mod samples;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use samples::every_message;
use zerok_protocol::roster::{Append, Envelope, Signed};
use zerok_protocol::*;

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn device() -> impl Strategy<Value = DeviceId> {
    any::<[u8; 32]>().prop_map(DeviceId)
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn group() -> impl Strategy<Value = GroupId> {
    any::<[u8; 32]>().prop_map(GroupId)
}

fn blob_id() -> impl Strategy<Value = BlobId> {
    any::<[u8; 16]>().prop_map(BlobId)
}

fn mailbox() -> impl Strategy<Value = MailboxId> {
    any::<[u8; 16]>().prop_map(MailboxId)
}

fn head() -> impl Strategy<Value = Head> {
    (any::<u64>(), hash()).prop_map(|(n, hash)| Head { n, hash })
}

fn signature() -> impl Strategy<Value = Signature> {
    vec(any::<u8>(), 64).prop_map(|v| Signature::from_slice(&v).unwrap())
}

fn signed() -> impl Strategy<Value = Signed> {
    (bytes(300), signature(), option::of(signature())).prop_map(|(bytes, signature, joiner)| Signed {
        bytes,
        signature,
        joiner,
    })
}

fn append() -> impl Strategy<Value = Append> {
    let envelope = (device(), bytes(50), bytes(50)).prop_map(|(device, enc, ciphertext)| Envelope {
        device,
        enc,
        ciphertext,
    });
    (signed(), vec(envelope, 0..4), vec(bytes(60), 0..3))
        .prop_map(|(statement, envelopes, sealed_previous)| Append { statement, envelopes, sealed_previous })
}

fn blob() -> impl Strategy<Value = Blob> {
    (blob_id(), any::<u64>(), device(), any::<u64>(), bytes(300)).prop_map(
        |(blob_id, cursor, pusher, timestamp, payload)| Blob { blob_id, cursor, pusher, timestamp, payload },
    )
}

fn session_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (vec(any::<u16>(), 0..5), group(), head(), any::<u64>(), option::of(".{0,20}")).prop_map(
            |(versions, group, head, last_cursor, token)| {
                Hello { versions, group, head, last_cursor, token }.into()
            }
        ),
        (
            any::<u16>(),
            any::<[u8; 16]>().prop_map(LogId),
            head(),
            any::<u64>(),
            option::of(any::<u64>()),
            option::of((blob_id(), any::<u64>()).prop_map(|(blob_id, cursor)| LastPush { blob_id, cursor })),
            any::<(u64, u64, u64)>(),
        )
            .prop_map(|(version, log_id, head, max_cursor, your_acked, your_last_push, l)| {
                let limits = Limits { max_blob: l.0, max_ttl_seconds: l.1, messages_per_minute: l.2 };
                Welcome { version, log_id, head, max_cursor, your_acked, your_last_push, limits }.into()
            }),
        ".{0,40}".prop_map(|reason| Bye { reason }.into()),
        (any::<u32>(), vec(append(), 0..4))
            .prop_map(|(req, statements)| RosterAppend { req, statements }.into()),
        (any::<u32>(), any::<u64>()).prop_map(|(req, from)| RosterGet { req, from }.into()),
        head().prop_map(|head| RosterNews { head }.into()),
        (any::<u32>(), vec(append(), 0..4), head()).prop_map(|(req, statements, head)| RosterPage {
            req,
            statements,
            head
        }
        .into()),
        (any::<u32>(), head()).prop_map(|(req, head)| RosterOk { req, head }.into()),
        (
            option::of(any::<u32>()),
            any::<u16>().prop_map(Code::from),
            ".{0,40}",
            option::of(any::<u64>()),
            option::of(head()),
            option::of(signed()),
        )
            .prop_map(|(req, code, message, retry_after_ms, head, statement)| {
                Error { req, code, message, retry_after_ms, head, statement }.into()
            }),
    ]
}

fn blob_message() -> impl Strategy<Value = Message> {
    let mode = prop_oneof![Just(SubscribeMode::Blobs), Just(SubscribeMode::Notify)];
    prop_oneof![
        (
            any::<u32>(),
            blob_id(),
            any::<(u64, u64)>(),
            option::of(device()),
            option::of(any::<u64>()),
            bytes(500)
        )
            .prop_map(|(req, blob_id, (number, tag), recipient, ttl_seconds, payload)| {
                let epoch_id = EpochId { number, tag };
                Push { req, blob_id, epoch_id, recipient, ttl_seconds, payload }.into()
            }),
        (any::<u32>(), blob_id(), any::<u64>(), any::<u64>()).prop_map(
            |(req, blob_id, cursor, timestamp)| { PushAck { req, blob_id, cursor, timestamp }.into() }
        ),
        (any::<u32>(), any::<u64>(), option::of(any::<u32>())).prop_map(|(req, after_cursor, limit)| Pull {
            req,
            after_cursor,
            limit
        }
        .into()),
        (any::<u32>(), vec(blob(), 0..4), any::<u64>(), any::<bool>())
            .prop_map(|(req, blobs, upto, has_more)| PullResponse { req, blobs, upto, has_more }.into()),
        (any::<u32>(), any::<u64>(), mode, any::<u64>()).prop_map(|(req, after_cursor, mode, credit)| {
            Subscribe { req, after_cursor, mode, credit }.into()
        }),
        blob().prop_map(|blob| Deliver { blob }.into()),
        any::<u64>().prop_map(|cursor| Ack { cursor }.into()),
        any::<(u32, u64)>().prop_map(|(req, bytes)| Credit { req, bytes }.into()),
        (group(), any::<u32>()).prop_map(|(group, req)| Delivery { group, req }.into()),
        any::<u64>().prop_map(|cursor| CaughtUp { cursor }.into()),
        vec(device(), 0..5).prop_map(|online| Presence { online }.into()),
        any::<(u64, u64)>().prop_map(|(cursor, size)| Notify { cursor, size }.into()),
        (option::of(device()), option::of(device()), bytes(200))
            .prop_map(|(recipient, sender, payload)| Signal { recipient, sender, payload }.into()),
    ]
}

fn stream_message() -> impl Strategy<Value = Message> {
    let outcome =
        prop_oneof![Just(ChunkOutcome::Stored), Just(ChunkOutcome::Full), Just(ChunkOutcome::Mismatch)];
    let side = || prop_oneof![Just(Side::Opener), Just(Side::Joiner)];
    prop_oneof![
        (any::<u32>(), group(), hash(), bytes(500)).prop_map(|(req, group, address, data)| ChunkPut {
            req,
            group,
            address,
            data
        }
        .into()),
        (any::<u32>(), group(), vec(hash(), 0..5), any::<u32>())
            .prop_map(|(req, group, addresses, wait_ms)| ChunkGet { req, group, addresses, wait_ms }.into()),
        (any::<u32>(), group(), vec(hash(), 0..5)).prop_map(|(req, group, addresses)| ChunkHave {
            req,
            group,
            addresses
        }
        .into()),
        (any::<u32>(), outcome).prop_map(|(req, outcome)| ChunkPutAck { req, outcome }.into()),
        (any::<u32>(), hash(), option::of(bytes(500))).prop_map(|(req, address, data)| Chunk {
            req,
            address,
            data
        }
        .into()),
        (any::<u32>(), vec(hash(), 0..5)).prop_map(|(req, addresses)| ChunkMissing { req, addresses }.into()),
        (any::<u32>(), mailbox(), any::<u32>(), option::of(bytes(50))).prop_map(
            |(req, mailbox, expiry_seconds, notice)| {
                MailboxOpen { req, mailbox, expiry_seconds, notice }.into()
            }
        ),
        (any::<u32>(), mailbox(), side(), bytes(50)).prop_map(|(req, mailbox, to, message)| MailboxPut {
            req,
            mailbox,
            to,
            message
        }
        .into()),
        (any::<u32>(), mailbox(), side(), any::<u32>())
            .prop_map(|(req, mailbox, side, wait_ms)| MailboxTake { req, mailbox, side, wait_ms }.into()),
        (any::<u32>(), mailbox()).prop_map(|(req, mailbox)| MailboxClose { req, mailbox }.into()),
        any::<u32>().prop_map(|req| MailboxOk { req }.into()),
        (any::<u32>(), option::of(bytes(50)))
            .prop_map(|(req, message)| MailboxMessage { req, message }.into()),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![session_message(), blob_message(), stream_message()]
}

proptest! {
    #[test]
    fn what_was_written_is_read_as_it_was(messages in vec(message(), 1..4)) {
        let mut stream = Vec::new();
        for message in &messages {
            message.put(&mut stream);
        }
        let mut rest = &stream[..];
        for message in messages {
            let (header, after) = rest.split_first_chunk::<HEADER_LEN>().unwrap();
            let (body, after) = after.split_at(frame_length(*header).unwrap());
            prop_assert_eq!(Message::decode(body), Ok(message));
            rest = after;
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..2000)) {
        let _ = Message::decode(&body);
        let _ = Signed { bytes: body.into(), signature: Signature([0; 64]), joiner: None }.statement();
    }

    #[test]
    fn a_known_type_with_an_arbitrary_body_never_panics(
        kind in proptest::sample::select(Message::KINDS.iter().map(|(n, _)| *n).collect::<Vec<_>>()),
        body in vec(any::<u8>(), 0..500),
    ) {
        let mut frame = if kind > 0x7f { vec![0x92, 0xcc, kind] } else { vec![0x92, kind] };
        frame.extend(body);
        let _ = Message::decode(&frame);
    }

    #[test]
    fn a_damaged_message_is_an_error_or_another_message_and_never_a_panic(
        message in message(),
        at in any::<proptest::sample::Index>(),
        bit in 0u8..8,
        cut in any::<bool>(),
    ) {
        let mut frame = message.to_frame();
        let body = &mut frame[HEADER_LEN..];
        let at = at.index(body.len());
        if cut {
            prop_assert!(Message::decode(&body[..at]).is_err());
        } else {
            body[at] ^= 1 << bit;
            let _ = Message::decode(body);
        }
    }
}

/// A length that promises more than there is must not make the decoder reserve it.
#[test]
fn promised_lengths_are_not_believed() {
    for message in every_message() {
        let kind = message.kind();
        let mut frame = if kind > 0x7f { vec![0x92, 0xcc, kind] } else { vec![0x92, kind] };
        for promise in [&[0xdf, 0xff, 0xff, 0xff, 0xff][..], &[0xdd, 0xff, 0xff, 0xff, 0xff]] {
            frame.extend_from_slice(promise);
            assert!(Message::decode(&frame).is_err());
        }
    }
}
