use proptest::prelude::*;

use super::*;

fn entry() -> Entry {
    let content = ContentRef {
        root: Hash([1; 32]),
        epoch: EpochId { number: 2, tag: u64::MAX },
        size: 3,
        hash: Hash([4; 32]),
    };
    Entry {
        channel: "notes/a".into(),
        key: Some("ключ".into()),
        kind: EntryKind::Data,
        hlc: Hlc(1 << 40),
        refs: vec![content],
        body: Bytes::from_static(b"body"),
    }
}

#[test]
fn channel_names_are_checked() {
    for good in ["a", "notes/2026-11.log", "0_", &"x".repeat(128)] {
        assert_eq!(check_channel(good, false), Ok(()), "{good}");
    }
    assert_eq!(check_channel("$config", true), Ok(()));
    for bad in ["", "$", "$config", "A", "a b", "ä", "a$", "$$a", &"x".repeat(129)] {
        assert!(check_channel(bad, false).is_err(), "{bad}");
    }
    for bad in ["", "$", "$$a", "$A"] {
        assert!(check_channel(bad, true).is_err(), "{bad}");
    }
}

#[test]
fn each_limit_is_named() {
    let cases = [
        (Entry { channel: "A".into(), ..entry() }, "channel: may hold only a-z, 0-9 and . _ / -"),
        (Entry { key: Some("k".repeat(4097)), ..entry() }, "key of 4097 bytes is longer than 4096"),
        (Entry { refs: vec![entry().refs[0].clone(); 65], ..entry() }, "65 references are more than 64"),
        (
            Entry { body: vec![0; (900 << 10) + 1].into(), ..entry() },
            "body of 921601 bytes is larger than 921600",
        ),
    ];
    for (bad, text) in cases {
        assert_eq!(bad.check().unwrap_err().to_string(), text);
        assert_eq!(Entry::parse(&bad.to_bytes()).unwrap_err().to_string(), text);
    }
    let mut endless = entry();
    endless.refs[0].size = u64::MAX;
    assert_eq!(Entry::parse(&endless.to_bytes()), Err(EntryError::Size(u64::MAX)));
}

#[test]
fn the_largest_entry_is_within_its_limit() {
    let mut content = entry().refs[0].clone();
    content.epoch.number = u64::MAX;
    content.size = MAX_NUMBER;
    let largest = Entry {
        channel: "x".repeat(MAX_CHANNEL),
        key: Some("k".repeat(MAX_KEY)),
        kind: EntryKind::Data,
        hlc: Hlc(1 << 40),
        refs: vec![content; MAX_REFS],
        body: vec![7; MAX_BUNDLE_BODIES].into(),
    };
    let bytes = largest.to_bytes();
    assert!(bytes.len() <= MAX_ENTRY, "{}", bytes.len());
    assert_eq!(Entry::parse(&bytes), Ok(largest));
}

#[test]
fn a_newer_version_and_an_unknown_kind_are_told_apart_from_garbage() {
    let bytes = entry().to_bytes();
    let put = |name: &str, value: u8| {
        let at = bytes.windows(name.len()).position(|w| w == name.as_bytes()).unwrap() + name.len();
        let mut bytes = bytes.to_vec();
        bytes[at] = value;
        Entry::parse(&bytes)
    };
    assert_eq!(put("v", 2), Err(EntryError::Version(2)));
    assert_eq!(put("kind", 9), Err(EntryError::Kind(9)));
    assert_eq!(Entry::parse(b"garbage"), Err(EntryError::Malformed));
}

#[test]
fn a_body_is_stored_as_bytes_not_as_numbers() {
    let body = Bytes::from(vec![0xff; 1000]);
    assert!(Entry { body, ..entry() }.to_bytes().len() < 1300);
}

proptest! {
    #[test]
    fn an_entry_comes_back(
        channel in "\\$?[a-z0-9._/-]{1,40}",
        key in prop::option::of(".{0,40}"),
        body in prop::collection::vec(any::<u8>(), 0..300),
        continues in any::<bool>(),
    ) {
        let kind = if continues { EntryKind::Continues } else { EntryKind::Data };
        let entry = Entry { channel, key, kind, body: body.into(), ..entry() };
        prop_assert_eq!(Entry::parse(&entry.to_bytes()), Ok(entry));
    }

    #[test]
    fn parse_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Entry::parse(&bytes);
    }

    #[test]
    fn parse_takes_any_damage(at in 0usize..200, value in any::<u8>(), cut in 0usize..200) {
        let mut bytes = entry().to_bytes().to_vec();
        let (at, cut) = (at % bytes.len(), cut % bytes.len());
        bytes[at] = value;
        let _ = Entry::parse(&bytes);
        prop_assert!(Entry::parse(&bytes[..cut]).is_err());
    }
}
