use proptest::prelude::*;
use zerok_protocol::{Hash, KemKey};

use super::*;
use crate::secret::DeviceKeys;

fn relay() -> String {
    format!("{}@127.0.0.1:4433", "ab".repeat(32))
}

fn invite() -> Invite {
    Invite { secret: [7; 32].into(), mailbox: MailboxId([8; 16]), relay: relay(), expires_at: 1 }
}

fn request() -> JoinRequest {
    let keys = DeviceKeys::from_seed(&[1; 32].into());
    JoinRequest { member: keys.member(), signature: keys.sign_member(), name: "Zoë's laptop".into() }
}

fn grant() -> Grant {
    Grant {
        group: GroupId([1; 32]),
        head: Head { n: 1, hash: Hash([2; 32]) },
        relays: vec![relay()],
        group_name: "home".into(),
        inviter_name: "desk".into(),
        inviter: DeviceId([3; 32]),
    }
}

fn send(request: &JoinRequest) -> Result<JoinRequest, PairingError> {
    let invite = invite();
    open_request(&invite.secret, &invite.mailbox, &seal_request(&invite, [4; 24], request))
}

fn answer(grant: &Grant) -> Result<Grant, PairingError> {
    let invite = invite();
    open_grant(&invite, &seal_grant(&invite.secret, &invite.mailbox, [4; 24], grant))
}

#[test]
fn request_and_grant_come_back() {
    assert_eq!(send(&request()), Ok(request()));
    assert_eq!(answer(&grant()), Ok(grant()));
}

#[test]
fn a_request_does_not_open_as_a_grant_or_in_another_mailbox() {
    let invite = invite();
    let sealed = seal_request(&invite, [4; 24], &request());
    assert_eq!(open_grant(&invite, &sealed), Err(PairingError::Sealed));
    assert_eq!(open_request(&invite.secret, &MailboxId([9; 16]), &sealed), Err(PairingError::Sealed));
    assert_eq!(open_request(&[9; 32].into(), &invite.mailbox, &sealed), Err(PairingError::Sealed));
}

#[test]
fn every_changed_bit_is_refused() {
    let invite = invite();
    let good = seal_grant(&invite.secret, &invite.mailbox, [4; 24], &grant());
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open_grant(&invite, &bad).is_err(), "bit {bit}");
    }
}

#[test]
fn a_joiner_speaks_for_itself_only() {
    let other = DeviceKeys::from_seed(&[2; 32].into());
    let stolen = JoinRequest { signature: other.sign_member(), ..request() };
    assert_eq!(send(&stolen), Err(PairingError::Member));
}

#[test]
fn a_joiner_whose_kem_key_is_none_is_refused_though_it_signed_it() {
    let seed = DeviceKeys::from_seed(&[1; 32].into());
    let member = Member { kem: KemKey([0xff; 1216]), ..seed.member() };
    let signing = ed25519_dalek::SigningKey::from_bytes(seed.ed25519_seed().expose());
    let signature = Signature(ed25519_dalek::Signer::sign(&signing, &member.to_sign()).to_bytes());
    assert!(member.verify(&signature));
    assert_eq!(send(&JoinRequest { member, signature, name: "x".into() }), Err(PairingError::Member));
}

#[test]
fn names_and_relays_are_checked_and_named() {
    let bad = JoinRequest { name: "a\u{1b}[2J".into(), ..request() };
    assert_eq!(send(&bad), Err(PairingError::Name("device", NameError::Control)));
    let bad = Grant { group_name: String::new(), ..grant() };
    assert_eq!(answer(&bad), Err(PairingError::Name("group", NameError::Empty)));
    let bad = Grant { inviter_name: "x".repeat(65), ..grant() };
    assert_eq!(answer(&bad).unwrap_err().to_string(), "inviter name: is longer than 64 characters");
    assert_eq!(answer(&Grant { relays: vec![], ..grant() }), Err(PairingError::Relays(0)));
    assert_eq!(answer(&Grant { relays: vec![relay(); 17], ..grant() }), Err(PairingError::Relays(17)));
    let bad = Grant { relays: vec!["nowhere".into()], ..grant() };
    assert_eq!(answer(&bad), Err(PairingError::Relay(AddressError::NoAt)));
}

#[test]
fn what_is_too_large_or_newer_is_named() {
    let large = vec![1; MAX_MAILBOX_MESSAGE + 1];
    assert_eq!(open_grant(&invite(), &large), Err(PairingError::TooLarge(large.len())));
    assert_eq!(open_grant(&invite(), &[2; 60]), Err(PairingError::Version(2)));
    assert_eq!(open_grant(&invite(), &[]), Err(PairingError::Malformed));
}

#[test]
fn messages_fit_a_mailbox() {
    let long = Grant {
        relays: vec![format!("{}&token={}", relay() + "?relay=https://x", "t".repeat(1900)); 16],
        ..grant()
    };
    let invite = invite();
    assert!(seal_grant(&invite.secret, &invite.mailbox, [4; 24], &long).len() <= MAX_MAILBOX_MESSAGE);
    assert_eq!(answer(&long), Ok(long));
}

proptest! {
    #[test]
    fn open_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(open_grant(&invite(), &bytes).is_err());
        prop_assert!(open_request(&invite().secret, &invite().mailbox, &bytes).is_err());
    }
}
