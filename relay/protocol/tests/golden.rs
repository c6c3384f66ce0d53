//! Every message and a statement byte for byte: a change here is a new protocol version.
//!
//! `vectors.txt` holds a line for each: its name and the frame in hex, length included.

#![expect(clippy::unwrap_used, reason = "in a test what cannot be is a failure")]

mod samples;

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use samples::every_message;
use zerok_protocol::roster::{Append, Change, Envelope, Member, Roster, Signed, Statement, envelopes_hash};
use zerok_protocol::{Chunk, DeviceId, GroupId, Hash, KemKey, MAX_CHUNK, Message, Signature};

const VECTORS: &str = include_str!("vectors.txt");

fn vectors() -> Vec<(String, Vec<u8>)> {
    let lines = VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, frame) = line.split_once(' ').unwrap();
            (name.to_owned(), hex::decode(frame).unwrap())
        })
        .collect()
}

fn name(message: &Message) -> String {
    let kind = message.kind();
    let (_, name) = Message::KINDS.iter().find(|(n, _)| *n == kind).unwrap();
    format!("{kind:#04x}-{name}")
}

#[test]
fn every_message_has_its_bytes() {
    let expected: Vec<_> = vectors().into_iter().map(|(name, frame)| (name, hex::encode(frame))).collect();
    let found: Vec<_> = every_message().iter().map(|m| (name(m), hex::encode(m.to_frame()))).collect();
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected, found);
    }
    assert_eq!(expected.len(), found.len());
}

#[test]
fn the_bytes_are_read_as_the_messages() {
    for ((name, frame), message) in vectors().iter().zip(every_message()) {
        let (header, body) = frame.split_at(4);
        assert_eq!(u32::from_be_bytes(header.try_into().unwrap()) as usize, body.len(), "{name}");
        assert_eq!(Message::decode(body), Ok(message), "{name}");
    }
}

#[test]
fn no_type_is_without_a_vector() {
    let kinds: Vec<u8> = every_message().iter().map(Message::kind).collect();
    let all: Vec<u8> = Message::KINDS.iter().map(|(n, _)| *n).collect();
    assert_eq!(kinds, all);
}

/// A group of one, made by the device whose seed is 32 times 0x01.
fn genesis() -> Append {
    let key = SigningKey::from_bytes(&[1; 32]);
    let device = DeviceId(key.verifying_key().to_bytes());
    let member = Member { device, kem: KemKey([2; 1216]) };
    let envelope =
        Envelope { device, enc: Bytes::from_static(b"enc"), ciphertext: Bytes::from_static(b"sealed") };
    let statement = Statement {
        v: 1,
        group: None,
        n: 0,
        prev: None,
        envelopes_hash: Some(envelopes_hash(&[envelope.hash()], &[])),
        change: Change::Genesis { member: member.clone() },
        by: device,
    };
    let bytes = statement.to_bytes();
    let signature = Signature(key.sign(&Statement::to_sign(&bytes)).to_bytes());
    let joiner = Some(Signature(key.sign(&member.to_sign()).to_bytes()));
    let statement = Signed { bytes: bytes.into(), signature, joiner };
    Append { statement, envelopes: vec![envelope], sealed_previous: vec![] }
}

#[test]
fn a_statement_has_its_bytes_its_signatures_and_its_group_id() {
    let append = genesis();
    let roster = Roster::genesis_with(&append).unwrap();
    // The bytes by their parts: field names and values as MessagePack has them.
    let device = append.envelopes[0].device;
    let mut bytes = b"\x87\xa1v\x01\xa5group\xc0\xa1n\x00\xa4prev\xc0\xa6change\x81\xa7genesis\x81".to_vec();
    bytes.extend(b"\xa6member\x82\xa6device\xc4\x20");
    bytes.extend(device.as_bytes());
    bytes.extend(b"\xa3kem\xc5\x04\xc0");
    bytes.extend([2; 1216]);
    bytes.extend(b"\xaeenvelopes_hash\xc4\x20");
    bytes.extend(hex::decode(ENVELOPES_HASH).unwrap());
    bytes.extend(b"\xa2by\xc4\x20");
    bytes.extend(device.as_bytes());
    assert_eq!(hex::encode(&append.statement.bytes), hex::encode(&bytes));
    assert_eq!(append.statement.signature.to_hex(), SIGNATURE);
    assert_eq!(append.statement.joiner.unwrap().to_hex(), JOINER);
    assert_eq!(roster.group(), GroupId(Hash::of(&bytes).0));
    assert_eq!(roster.group().to_hex(), GROUP);
    assert_eq!((roster.epoch().number, format!("{:016x}", roster.epoch().tag)), (0, GROUP[..16].to_owned()));
}

const ENVELOPES_HASH: &str = "ca0b90d519c90de0afe15e4df86723ffcdada4d2ba5317e0a8485e6de8c4c68a";
/// By an implementation other than ours.
const SIGNATURE: &str = "360aa84976bd451e4a8cbb99b1f41f28ea22028093711225f6adafc3d76c39a371726de53f65f4547292c5e94d3e9ba26cdf624010dfd147433bd13a9b078a0a";
const JOINER: &str = "494a313a33ddc8e9aa97722121946eaf19b23c9c141845766c9a59453308f99ec8e14d5a3f10271cab9d0794104b51834543a0045534fe49ec71940446d3eb01";
const GROUP: &str = "0ca2699cee0a9bd71b807251d863d804bd15bcd72f6be94b6c245389cf03d3ae";

#[test]
fn a_frame_in_parts_is_the_same_frame() {
    for message in every_message() {
        let whole = message.to_frame();
        let [head, data] = message.into_parts();
        assert_eq!([head, data].concat(), whole);
    }
    for size in [0, 1, 255, 256, 65_535, 65_536, MAX_CHUNK] {
        let data = Bytes::from(vec![7; size]);
        let chunk = Message::from(Chunk { req: 1, address: Hash([1; 32]), data: Some(data) });
        let whole = chunk.to_frame();
        let [head, data] = chunk.into_parts();
        assert!(head.len() < 100 && [head, data].concat() == whole);
    }
}
