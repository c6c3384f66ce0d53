use zerok_protocol::roster::RosterError;

use super::*;

fn device(seed: u8) -> DeviceKeys {
    DeviceKeys::from_seed(&[seed; 32].into())
}

fn epoch(n: u8) -> EpochSecret {
    [n; 32].into()
}

fn constant() -> ConstantSecret {
    [0xcc; 32].into()
}

fn statement(append: &Append) -> Statement {
    append.statement.statement().unwrap()
}

/// A group of two in its first epoch.
fn two() -> (DeviceKeys, DeviceKeys, Roster) {
    let (a, b) = (device(1), device(2));
    let mut roster = Roster::genesis_with(&genesis(&a, &epoch(1), &constant())).unwrap();
    roster.append_with(&add(&a, &roster, b.member(), b.sign_member(), &epoch(1), &constant())).unwrap();
    (a, b, roster)
}

#[test]
fn the_first_member_opens_its_own_envelope() {
    let a = device(1);
    let first = genesis(&a, &epoch(1), &constant());
    let roster = Roster::genesis_with(&first).unwrap();
    assert!(roster.is_member(&a.id()));
    assert_eq!(open_envelope(&a, &statement(&first), &first.envelopes[0]), Ok((epoch(1), constant())));
}

#[test]
fn an_added_device_opens_the_current_epoch() {
    let (a, b) = (device(1), device(2));
    let mut roster = Roster::genesis_with(&genesis(&a, &epoch(1), &constant())).unwrap();
    let append = add(&a, &roster, b.member(), b.sign_member(), &epoch(1), &constant());
    roster.append_with(&append).unwrap();
    assert_eq!(roster.epoch().number, 0);
    assert_eq!(open_envelope(&b, &statement(&append), &append.envelopes[0]), Ok((epoch(1), constant())));
    assert_eq!(open_envelope(&a, &statement(&append), &append.envelopes[0]), Err(OpenError::NotOurs));
}

#[test]
fn an_envelope_opens_beside_its_own_statement_only() {
    let (a, _, roster) = two();
    let append = next_epoch(&a, &roster, Change::Rotate, &epoch(2), &epoch(1), &constant());
    let own = append.envelopes.iter().find(|e| e.device == a.id()).unwrap();
    let other = Statement { n: 9, ..statement(&append) };
    assert_eq!(open_envelope(&a, &other, own), Err(OpenError::Sealed));
    let other = Statement { prev: None, ..statement(&append) };
    assert_eq!(open_envelope(&a, &other, own), Err(OpenError::Sealed));
}

#[test]
fn a_changed_envelope_is_refused() {
    let a = device(1);
    let first = genesis(&a, &epoch(1), &constant());
    let good = &first.envelopes[0];
    let flip = |bytes: &Bytes, at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    for at in [0, 500, 1119] {
        let bad = Envelope { enc: flip(&good.enc, at), ..good.clone() };
        assert_eq!(open_envelope(&a, &statement(&first), &bad), Err(OpenError::Sealed));
    }
    for at in 0..good.ciphertext.len() {
        let bad = Envelope { ciphertext: flip(&good.ciphertext, at), ..good.clone() };
        assert_eq!(open_envelope(&a, &statement(&first), &bad), Err(OpenError::Sealed));
    }
    let short = Envelope { enc: good.enc.slice(1..), ..good.clone() };
    assert_eq!(open_envelope(&a, &statement(&first), &short), Err(OpenError::Malformed));
}

#[test]
fn a_rotation_reaches_every_member_and_carries_the_previous_secret() {
    let (a, b, mut roster) = two();
    let before = roster.epoch();
    let append = next_epoch(&a, &roster, Change::Rotate, &epoch(2), &epoch(1), &constant());
    roster.append_with(&append).unwrap();
    for keys in [&a, &b] {
        let own = append.envelopes.iter().find(|e| e.device == keys.id()).unwrap();
        assert_eq!(open_envelope(keys, &statement(&append), own), Ok((epoch(2), constant())));
    }
    assert_eq!(open_previous(&epoch(2), &append.sealed_previous[0]), Ok((before, epoch(1))));
    assert_eq!(open_previous(&epoch(3), &append.sealed_previous[0]), Err(OpenError::Sealed));
}

#[test]
fn every_changed_bit_of_a_sealed_previous_secret_is_refused() {
    let (a, _, roster) = two();
    let sealed =
        next_epoch(&a, &roster, Change::Rotate, &epoch(2), &epoch(1), &constant()).sealed_previous.remove(0);
    for bit in 0..sealed.len() * 8 {
        let mut bad = sealed.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open_previous(&epoch(2), &bad).is_err(), "bit {bit}");
    }
    assert_eq!(open_previous(&epoch(2), &[]), Err(OpenError::Malformed));
    assert_eq!(open_previous(&epoch(2), &sealed[..sealed.len() - 1]), Err(OpenError::Malformed));
}

#[test]
fn a_revoked_device_gets_no_envelope() {
    let (a, b, mut roster) = two();
    let change = Change::Revoke { device: b.id() };
    let append = next_epoch(&a, &roster, change, &epoch(2), &epoch(1), &constant());
    roster.append_with(&append).unwrap();
    assert!(append.envelopes.iter().all(|e| e.device == a.id()));
    assert!(!roster.is_member(&b.id()));
}

#[test]
fn a_member_with_a_useless_kem_key_keeps_nobody_from_rotating() {
    let (a, _, mut roster) = two();
    let c = device(3);
    let member = Member { kem: KemKey([0xff; 1216]), ..c.member() };
    assert!(!is_usable(&member.kem));
    let append = add(&a, &roster, member, c.sign(&[], &[]), &epoch(1), &constant());
    assert!(append.envelopes[0].ciphertext.is_empty());
    assert_eq!(roster.append_with(&append), Err(RosterError::BadSignature { n: 2 }));
}
