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

/// A roster of three, and what each may put on its head at the same time.
fn three() -> (Vec<Device>, Roster) {
    let (a, b, mut roster) = two();
    let c = Device::new(3);
    let add = next(&roster, &a, Change::Add { member: c.member() }, &[&c], Some(&c));
    roster.append_with(&add).unwrap();
    (vec![a, b, c], roster)
}

fn revoke(roster: &Roster, by: &Device, gone: &Device, all: &[Device]) -> Signed {
    let rest: Vec<&Device> = all.iter().filter(|d| d.id() != gone.id()).collect();
    next(roster, by, Change::Revoke { device: gone.id() }, &rest, None).statement
}

fn rotate(roster: &Roster, by: &Device, all: &[Device]) -> Signed {
    next(roster, by, Change::Rotate, &all.iter().collect::<Vec<_>>(), None).statement
}

fn accepted(statement: &Signed, at_ms: u64) -> Accepted {
    Accepted { statement: statement.clone(), at_ms }
}

fn beats(base: &Roster, other: &Signed, own: &Signed) -> bool {
    other_wins(base, &[accepted(own, 0)], other, 0).unwrap()
}

#[test]
fn of_two_statements_on_one_head_the_revocation_of_the_others_author_stands_else_the_seniors() {
    let (d, base) = three();
    let [a, b, c] = &d[..] else { panic!() };
    // The junior's revocation beats the senior's rotation; between revocations of others, and of each other, seniority.
    assert!(beats(&base, &revoke(&base, c, a, &d), &rotate(&base, a, &d)));
    assert!(beats(&base, &revoke(&base, a, c, &d), &revoke(&base, c, a, &d)));
    assert!(beats(&base, &revoke(&base, c, b, &d), &revoke(&base, b, a, &d)));
    assert!(beats(&base, &rotate(&base, a, &d), &rotate(&base, b, &d)));
}

#[test]
fn both_sides_of_a_fork_come_to_the_same_answer() {
    let (d, base) = three();
    let mut all: Vec<Signed> = d.iter().map(|by| rotate(&base, by, &d)).collect();
    for by in &d {
        all.extend(d.iter().filter(|gone| gone.id() != by.id()).map(|gone| revoke(&base, by, gone, &d)));
    }
    for x in &all {
        for y in all.iter().filter(|y| y.hash() != x.hash()) {
            assert_ne!(beats(&base, x, y), beats(&base, y, x), "{:?} {:?}", x.statement(), y.statement());
        }
    }
}

#[test]
fn a_recovery_member_is_the_most_senior() {
    let (mut d, mut base) = three();
    let recovery = Device::new(9);
    let change = Change::Recovery { member: recovery.member() };
    let to: Vec<&Device> = d.iter().chain([&recovery]).collect();
    base.append_with(&next(&base, &d[1], change, &to, Some(&recovery))).unwrap();
    d.push(recovery);
    assert!(beats(&base, &rotate(&base, &d[3], &d), &rotate(&base, &d[0], &d)));
}

#[test]
fn who_was_shut_out_cannot_undo_it_once_it_is_settled() {
    let (d, base) = three();
    let [a, b, _] = &d[..] else { panic!() };
    // The senior, revoked by the junior, tells another story of the same moment.
    let (own, other) = (revoke(&base, b, a, &d), revoke(&base, a, b, &d));
    let day = SETTLED_AFTER_MS;
    let wins = |own: &[Accepted], now| other_wins(&base, own, &other, now).unwrap();
    assert!(wins(&[accepted(&own, 1000)], 1000 + day));
    assert!(!wins(&[accepted(&own, 1000)], 1001 + day));
    let mut after = base.clone();
    after.append(&own).unwrap();
    let mut branch = vec![accepted(&own, 0)];
    for settled in [false, true] {
        let next = next(&after, b, Change::Rotate, &[&d[1], &d[2]], None).statement;
        after.append(&next).unwrap();
        branch.push(accepted(&next, 0));
        assert_eq!(wins(&branch, 0), !settled);
    }
    // Others' forks are judged however old they are.
    let third = [accepted(&rotate(&base, &d[2], &d), 0)];
    assert!(wins(&third, 10 * day));
}

#[test]
fn who_left_cannot_come_back_over_an_older_branch() {
    let (d, base) = three();
    let leave = next(&base, &d[2], Change::Leave, &[], None).statement;
    let other = revoke(&base, &d[2], &d[0], &d);
    let own = [accepted(&rotate(&base, &d[0], &d), 0), accepted(&leave, 0)];
    assert!(!other_wins(&base, &own, &other, SETTLED_AFTER_MS + 1).unwrap());
}

#[test]
fn a_branch_by_a_stranger_is_no_fork() {
    let (d, base) = three();
    let stranger = Device::new(7);
    let own = [accepted(&rotate(&base, &d[2], &d), 0)];
    let other = rotate(&base, &stranger, &d);
    assert_eq!(other_wins(&base, &own, &other, 0), Err(RosterError::NotMember { n: 3 }));
}

#[test]
fn a_list_of_nothings_is_not_read_to_its_end() {
    let nothings = |n| Append {
        statement: Signed { bytes: Bytes::new(), signature: Signature([0; 64]), joiner: None },
        envelopes: vec![],
        sealed_previous: vec![Bytes::new(); n],
    };
    let read = |n| rmp_serde::from_slice::<Append>(&rmp_serde::to_vec_named(&nothings(n)).unwrap());
    assert_eq!(read(MAX_SEALED).unwrap(), nothings(MAX_SEALED));
    assert!(read(MAX_SEALED + 1).is_err() && read(500_000).is_err());
}
