use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};

use super::*;

struct Device(SigningKey);

impl Device {
    fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }
    fn id(&self) -> DeviceId {
        DeviceId(self.0.verifying_key().to_bytes())
    }
    fn member(&self) -> Member {
        Member { device: self.id(), kem: KemKey([self.id().0[0]; 1216]) }
    }
    fn sign(&self, statement: &Statement, joiner: Option<&Device>) -> Signed {
        let bytes = statement.to_bytes();
        let signature = Signature(self.0.sign(&Statement::to_sign(&bytes)).to_bytes());
        let joiner = joiner.map(|j| Signature(j.0.sign(&j.member().to_sign()).to_bytes()));
        Signed { bytes: bytes.into(), signature, joiner }
    }
}

fn envelope(to: &Device) -> Envelope {
    Envelope { device: to.id(), enc: Bytes::from_static(b"enc"), ciphertext: Bytes::from_static(b"sealed") }
}

fn genesis(a: &Device) -> Append {
    let envelopes = vec![envelope(a)];
    let statement = Statement {
        v: 1,
        group: None,
        n: 0,
        prev: None,
        change: Change::Genesis { member: a.member() },
        envelopes_hash: Some(envelopes_hash(&[envelopes[0].hash()], &[])),
        by: a.id(),
    };
    Append { statement: a.sign(&statement, Some(a)), envelopes, sealed_previous: vec![] }
}

fn next(roster: &Roster, by: &Device, change: Change, to: &[&Device], joiner: Option<&Device>) -> Append {
    let envelopes: Vec<_> = to.iter().map(|d| envelope(d)).collect();
    let hashes: Vec<_> = envelopes.iter().map(Envelope::hash).collect();
    let statement = Statement {
        v: 1,
        group: Some(roster.group()),
        n: roster.head().n + 1,
        prev: Some(roster.head().hash),
        envelopes_hash: change.needs_envelopes().then(|| envelopes_hash(&hashes, &[])),
        change,
        by: by.id(),
    };
    Append { statement: by.sign(&statement, joiner), envelopes, sealed_previous: vec![] }
}

fn two() -> (Device, Device, Roster) {
    let (a, b) = (Device::new(1), Device::new(2));
    let mut roster = Roster::genesis_with(&genesis(&a)).unwrap();
    roster.append_with(&next(&roster, &a, Change::Add { member: b.member() }, &[&b], Some(&b))).unwrap();
    (a, b, roster)
}

#[test]
fn genesis_and_add_make_two_members_in_one_epoch() {
    let (a, b, roster) = two();
    assert!(roster.is_member(&a.id()) && roster.is_member(&b.id()));
    assert_eq!(roster.epoch().number, 0);
    assert_eq!(roster.head().n, 1);
}

#[test]
fn a_stranger_cannot_add_itself() {
    let (_, _, mut roster) = two();
    let c = Device::new(3);
    let append = next(&roster, &c, Change::Add { member: c.member() }, &[&c], Some(&c));
    assert_eq!(roster.append_with(&append), Err(RosterError::NotMember { n: 2 }));
}

#[test]
fn a_member_is_added_only_with_its_own_signature() {
    let (a, b, mut roster) = two();
    let c = Device::new(3);
    let append = next(&roster, &a, Change::Add { member: c.member() }, &[&c], Some(&b));
    assert_eq!(roster.append_with(&append), Err(RosterError::BadSignature { n: 2 }));
}

#[test]
fn a_second_statement_on_the_same_head_gets_the_head() {
    let (a, b, mut roster) = two();
    let lost = next(&roster, &b, Change::Rotate, &[&a, &b], None);
    roster.append_with(&next(&roster, &a, Change::Rotate, &[&a, &b], None)).unwrap();
    assert_eq!(roster.append_with(&lost), Err(RosterError::Conflict(roster.head())));
    assert_eq!(roster.epoch().number, 1);
}

#[test]
fn revoke_shuts_out_for_good_and_makes_an_epoch_for_the_rest() {
    let (a, b, mut roster) = two();
    let all = next(&roster, &a, Change::Revoke { device: b.id() }, &[&a, &b], None);
    assert_eq!(roster.append_with(&all), Err(RosterError::Envelopes { n: 2 }));
    roster.append_with(&next(&roster, &a, Change::Revoke { device: b.id() }, &[&a], None)).unwrap();
    assert!(roster.is_gone(&b.id()));
    let back = next(&roster, &a, Change::Add { member: b.member() }, &[&b], Some(&b));
    assert!(matches!(roster.append_with(&back), Err(RosterError::NotAllowed { n: 3, .. })));
    let by_gone = next(&roster, &b, Change::Rotate, &[&a], None);
    assert_eq!(roster.append_with(&by_gone), Err(RosterError::NotMember { n: 3 }));
}

#[test]
fn swapped_envelopes_are_refused() {
    let (a, b, mut roster) = two();
    let mut append = next(&roster, &a, Change::Rotate, &[&a, &b], None);
    append.envelopes[0].ciphertext = Bytes::from_static(b"other");
    assert_eq!(roster.append_with(&append), Err(RosterError::Envelopes { n: 2 }));
}

#[test]
fn another_groups_statement_is_refused() {
    let (a, _, roster) = two();
    let c = Device::new(3);
    let mut other = Roster::genesis_with(&genesis(&c)).unwrap();
    let append = next(&roster, &a, Change::Rotate, &[&a], None);
    assert_eq!(other.append_with(&append), Err(RosterError::WrongGroup { n: 2 }));
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let a = Device::new(1);
    let good = genesis(&a).statement;
    for i in 0..good.bytes.len() {
        let mut bytes = good.bytes.to_vec();
        bytes[i] ^= 1;
        assert!(Roster::genesis(&Signed { bytes: bytes.into(), ..good.clone() }).is_err(), "byte {i}");
    }
}
