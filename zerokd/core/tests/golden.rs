//! The exact bytes of every format, from fixed seeds. A change here is a new version of the format: devices in the field
//! would not understand each other. `tests/golden/v1.json` holds the bytes as hex.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::BTreeMap;

use bytes::Bytes;
use zerok_core::*;
use zerok_protocol::roster::{Envelope, Roster, Statement};
use zerok_protocol::{BlobId, ChainId, EpochId, GroupId, Hash, Head, MailboxId};

const GROUP: GroupId = GroupId([0x11; 32]);
const EPOCH: EpochId = EpochId { number: 2, tag: 0x0102_0304_0506_0708 };
const NONCE: [u8; 24] = [0x24; 24];
const NOW: u64 = 1_800_000_000_000;

fn golden(name: &str) -> Vec<u8> {
    let all: BTreeMap<String, String> = serde_json::from_str(include_str!("golden/v1.json")).unwrap();
    hex::decode(all.get(name).unwrap_or_else(|| panic!("v1.json has no {name}"))).unwrap()
}

#[track_caller]
fn same(name: &str, bytes: &[u8]) {
    assert!(golden(name) == bytes, "{name} is now {}", hex::encode(bytes));
}

fn device() -> DeviceKeys {
    DeviceKeys::from_seed(&[0x01; 32].into())
}

fn epoch_secret() -> EpochSecret {
    [0x02; 32].into()
}

fn constant_secret() -> ConstantSecret {
    [0x03; 32].into()
}

fn epoch_keys() -> EpochKeys {
    EpochKeys::derive(&epoch_secret())
}

fn entry() -> Entry {
    let content =
        ContentRef { root: Hash([0x41; 32]), epoch: EPOCH, size: 5_000_000, hash: Hash([0x42; 32]) };
    Entry {
        channel: "notes".into(),
        key: Some("a".into()),
        kind: EntryKind::Data,
        hlc: Hlc(NOW << 16),
        refs: vec![content],
        body: Bytes::from_static(b"hello"),
    }
}

fn bundle() -> Bundle {
    let plain = Entry { key: None, refs: vec![], ..entry() };
    let entries = [entry().to_bytes(), plain.to_bytes()];
    let (chain, prev) = (ChainId([0x51; 16]), Some(Hash([0x52; 32])));
    Bundle::cut(&device(), GROUP, chain, 7, prev, 300, Hlc(NOW << 16), true, &entries)
}

fn vector() -> Vector {
    let mut vector = Vector::default();
    vector.set(device().id(), ChainId([0x51; 16]), Position { seq: 7, hash: Hash([0x53; 32]) });
    vector
}

fn invite() -> Invite {
    let relay = format!("{}@192.0.2.1:4433?token=t0ken", "ab".repeat(32));
    Invite { secret: [0x61; 32].into(), mailbox: MailboxId([0x62; 16]), relay, expires_at: NOW }
}

fn grant() -> Grant {
    Grant {
        group: GROUP,
        head: Head { n: 1, hash: Hash([0x63; 32]) },
        relays: vec![invite().relay],
        group_name: "home".into(),
        inviter_name: "desk".into(),
        inviter: device().id(),
    }
}

#[test]
fn keys_are_derived_as_ever() {
    let keys = device();
    same("device id", keys.id().as_bytes());
    same("device signing key", keys.ed25519_seed().expose());
    same("device kem key, hashed", blake3::hash(keys.member().kem.as_bytes()).as_bytes());
    same("member signature", keys.sign_member().as_bytes());
    let epoch = epoch_keys();
    same("envelope key", epoch.envelope.expose());
    same("content key", epoch.content.expose());
    same("chunk nonce key", epoch.chunk_nonce.expose());
    same("signal key", epoch.signal.expose());
    let group = GroupKeys::derive(&constant_secret());
    same("gear table", group.gear.expose());
    same("fingerprint key", group.fingerprint.expose());
}

#[test]
fn an_entry_is_written_as_ever() {
    same("entry", &entry().to_bytes());
    assert_eq!(Entry::parse(&golden("entry")), Ok(entry()));
}

#[test]
fn a_bundle_is_cut_as_ever() {
    same("bundle", &bundle().bytes);
    same("bundle hash", bundle().hash.as_bytes());
    assert_eq!(Bundle::parse(golden("bundle").into()), Ok(bundle()));
}

#[test]
fn an_envelope_is_sealed_as_ever() {
    let blob = BlobId([0x71; 16]);
    same("envelope", &seal(&epoch_keys(), GROUP, EPOCH, blob, NONCE, b"a bundle's bytes"));
    let sealed = Sealed::parse(&golden("envelope").into()).unwrap();
    assert_eq!((sealed.epoch, sealed.blob), (EPOCH, blob));
    assert_eq!(sealed.open(&epoch_keys(), GROUP).unwrap(), &b"a bundle's bytes"[..]);
}

#[test]
fn an_own_bundle_gets_its_blob_id_and_nonce_as_ever() {
    let group = GroupKeys::derive(&constant_secret());
    let header = bundle().header;
    let blob = bundle_blob_id(&group, header.device, header.chain, header.seq, EPOCH);
    same("bundle blob id", blob.as_bytes());
    same("bundle nonce", &bundle_nonce(&epoch_keys(), &blob, &bundle().bytes));
}

#[test]
fn a_vector_is_written_as_ever() {
    same("vector", &vector().to_bytes());
    same("vector digest", vector().digest().as_bytes());
    assert_eq!(Vector::from_bytes(&golden("vector")), Ok(vector()));
}

#[test]
fn signals_are_sealed_as_ever() {
    let (device, chain) = (device().id(), ChainId([0x51; 16]));
    let chains = vec![Want { device, chain, from: 1, to: 9 }];
    let all = [
        ("signal vector", Signal::Vector(vector())),
        ("signal want", Signal::Want { chains: chains.clone() }),
        ("signal want_chunks", Signal::WantChunks { addresses: vec![Hash([0x54; 32])] }),
        ("signal have", Signal::Have { chains: chains.clone(), lacking: vec![] }),
        ("signal pruned", Signal::Pruned { chains: chains.clone() }),
        ("signal offer", Signal::Offer { chains }),
        ("signal receipt", Signal::Receipt { device, chain, seq: 7, hash: Hash([0x53; 32]) }),
    ];
    for (name, signal) in all {
        same(name, &seal_signal(&self::device(), &epoch_keys(), GROUP, EPOCH, NONCE, NOW, &signal));
        let opened = open_signal(&golden(name), |_| Some(epoch_keys()), GROUP);
        assert_eq!(opened, Ok((device, NOW, signal)));
    }
}

#[test]
fn an_invite_is_written_as_ever() {
    same("invite", invite().to_text().as_bytes());
    assert_eq!(Invite::parse(&String::from_utf8(golden("invite")).unwrap()), Ok(invite()));
}

#[test]
fn request_and_grant_are_sealed_as_ever() {
    let request =
        JoinRequest { member: device().member(), signature: device().sign_member(), name: "laptop".into() };
    same("request", &seal_request(&invite(), NONCE, &request));
    assert_eq!(open_request(&invite().secret, &invite().mailbox, &golden("request")), Ok(request));
    same("grant", &seal_grant(&invite().secret, &invite().mailbox, NONCE, &grant()));
    assert_eq!(open_grant(&invite(), &golden("grant")), Ok(grant()));
}

/// HPKE draws its own randomness, so a recorded envelope must still open.
#[test]
fn a_recorded_membership_opens() {
    let statement: Statement = rmp_serde::from_slice(&golden("membership statement")).unwrap();
    let envelope: Envelope = rmp_serde::from_slice(&golden("membership envelope")).unwrap();
    let opened = open_envelope(&device(), &statement, &envelope);
    assert_eq!(opened, Ok((epoch_secret(), constant_secret())));
}

#[test]
fn a_previous_secret_is_sealed_as_ever() {
    let (opened, secret) = open_previous(&epoch_secret(), &golden("previous epoch")).unwrap();
    assert_eq!((opened.number, secret), (0, [0x04; 32].into()));
    let roster = Roster::genesis_with(&genesis(&device(), &secret_of(4), &constant_secret())).unwrap();
    let rotate = zerok_protocol::roster::Change::Rotate;
    let next = next_epoch(&device(), &roster, rotate, &epoch_secret(), &secret_of(4), &constant_secret());
    let [sealed] = next.sealed_previous.as_slice() else { panic!("one previous secret") };
    assert_eq!(open_previous(&epoch_secret(), sealed), Ok((roster.epoch(), secret_of(4))));
    assert_eq!(sealed.len(), golden("previous epoch").len());
}

fn secret_of(n: u8) -> EpochSecret {
    [n; 32].into()
}
