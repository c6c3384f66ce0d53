use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;

fn relay() -> String {
    format!("{}@127.0.0.1:4433?token=s3cret", "ab".repeat(32))
}

fn invite() -> Invite {
    Invite {
        secret: [7; 32].into(),
        mailbox: MailboxId([8; 16]),
        relay: relay(),
        expires_at: 1_800_000_000_000,
    }
}

/// An invite with any map in it and a checksum that fits.
fn text(map: &impl Serialize) -> String {
    let mut bytes = encode(map);
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    format!("zerok:{}", URL_SAFE_NO_PAD.encode(bytes))
}

#[test]
fn an_invite_comes_back_with_white_space_round_it() {
    let text = invite().to_text();
    assert!(text.len() < 420, "{}", text.len());
    assert_eq!(Invite::parse(&format!("  {text}\n")), Ok(invite()));
}

#[test]
fn an_invite_does_not_print_what_is_in_it() {
    assert_eq!(format!("{:?}", invite()), "Invite([REDACTED])");
}

#[test]
fn an_invite_ends_at_its_time() {
    assert!(!invite().is_expired(1_799_999_999_999));
    assert!(invite().is_expired(1_800_000_000_000));
}

#[test]
fn what_is_wrong_is_named() {
    let good = invite().to_text();
    let parse = |text: &str| Invite::parse(text).unwrap_err();
    assert_eq!(parse(""), InviteError::Prefix);
    assert_eq!(parse("https://example.org"), InviteError::Prefix);
    assert_eq!(parse("zerok:"), InviteError::Checksum);
    assert_eq!(parse("zerok:ab+d"), InviteError::Character(9));
    assert_eq!(parse(&good.replace("zerok:", "zerok: ")), InviteError::Character(7));
    assert_eq!(parse(&good[..good.len() - 1]), InviteError::Checksum);
    assert_eq!(parse(&good[..20]), InviteError::Checksum);
    assert_eq!(parse(&format!("zerok:{}", "a".repeat(5000))), InviteError::TooLong);
    let newer = std::collections::BTreeMap::from([("v", 2)]);
    assert_eq!(parse(&text(&newer)), InviteError::Version(2));
    let empty = std::collections::BTreeMap::from([("v", 1)]);
    assert_eq!(parse(&text(&empty)), InviteError::Field("secret"));
}

#[test]
fn each_field_that_is_missing_or_malformed_is_named() {
    #[derive(Serialize)]
    struct Any {
        v: u8,
        secret: Option<ByteBuf>,
        mailbox: Option<ByteBuf>,
        relay: Option<&'static str>,
        expires_at: Option<u64>,
    }
    let bin = |n| Some(ByteBuf::from(vec![1; n]));
    let address = Some("zz@1.2.3.4:5");
    let cases = [
        (
            Any { v: 1, secret: bin(31), mailbox: bin(16), relay: address, expires_at: Some(1) },
            "field secret",
        ),
        (Any { v: 1, secret: bin(32), mailbox: None, relay: address, expires_at: Some(1) }, "field mailbox"),
        (Any { v: 1, secret: bin(32), mailbox: bin(16), relay: None, expires_at: Some(1) }, "field relay"),
        (Any { v: 1, secret: bin(32), mailbox: bin(16), relay: address, expires_at: None }, "relay id"),
    ];
    for (map, named) in cases {
        let said = Invite::parse(&text(&map)).unwrap_err().to_string();
        assert!(said.contains(named), "{said}");
    }
}

#[test]
fn every_changed_bit_is_refused() {
    let good = invite().to_text();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone().into_bytes();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(bad) = String::from_utf8(bad) {
            assert!(Invite::parse(&bad).is_err(), "bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn any_secret_and_time_come_back(secret: [u8; 32], mailbox: [u8; 16], expires_at: u64) {
        let invite = Invite { secret: secret.into(), mailbox: MailboxId(mailbox), relay: relay(), expires_at };
        prop_assert_eq!(Invite::parse(&invite.to_text()), Ok(invite));
    }

    #[test]
    fn parse_takes_any_text(text in "(zerok:)?.{0,60}") {
        prop_assert!(Invite::parse(&text).is_err());
    }

    #[test]
    fn parse_takes_any_map_whose_checksum_fits(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let sum = checksum(&bytes);
        let text = format!("zerok:{}", URL_SAFE_NO_PAD.encode([&bytes[..], &sum].concat()));
        prop_assert!(Invite::parse(&text).is_err());
    }
}
