use proptest::prelude::*;
use zerok_protocol::EpochId;

use super::*;

pub(crate) fn chain(n: u8) -> ChainId {
    ChainId([n; 16])
}

/// A file's record, by chain 1, inline.
pub(crate) fn file(text: &str) -> Record {
    Record {
        path: RelPath::parse(b"docs/a.txt").unwrap(),
        kind: Kind::File,
        size: text.len().try_into().unwrap(),
        mtime_ns: 1_700_000_000_000_000_000,
        executable: false,
        owner_only: false,
        content: Content::Inline(Bytes::copy_from_slice(text.as_bytes())),
        deleted: false,
        version: Version::new().with_bump(chain(1)),
        by: chain(1),
        hlc: Hlc(1_700_000_000_000 << 16),
    }
}

pub(crate) fn directory() -> Record {
    Record { kind: Kind::Directory, size: 0, content: Content::None, ..file("") }
}

pub(crate) fn symlink(target: &str) -> Record {
    Record { kind: Kind::Symlink { target: target.to_owned() }, ..directory() }
}

fn chunked(size: u64) -> Record {
    let epoch = EpochId { number: 1, tag: 2 };
    let content = ContentRef { root: Hash([3; 32]), epoch, size, hash: Hash([4; 32]) };
    Record { size, content: Content::Chunked(content), executable: true, owner_only: true, ..file("") }
}

fn refused(change: impl FnOnce(&mut Record)) -> RecordError {
    let mut record = file("hello");
    change(&mut record);
    let read = Record::from_bytes(&record.to_bytes());
    assert_eq!(read.clone().err(), record.check().err());
    read.unwrap_err()
}

/// A record's map with one field replaced, as a hostile author would write it.
fn with_field(record: &Record, name: &str, value: &[u8]) -> Vec<u8> {
    let bytes = record.to_bytes();
    let mut key = vec![0xa0 | u8::try_from(name.len()).unwrap()];
    key.extend_from_slice(name.as_bytes());
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len();
    let mut rest = std::io::Cursor::new(&bytes[at..]);
    let _: serde::de::IgnoredAny = rmp_serde::from_read(&mut rest).unwrap();
    let end = at + usize::try_from(rest.position()).unwrap();
    [&bytes[..at], value, &bytes[end..]].concat()
}

#[test]
fn every_kind_of_record_survives_the_log() {
    let spelled = Record { path: RelPath::parse("e\u{301}".as_bytes()).unwrap(), ..file("x") };
    let gone = Record::tombstone(&chunked(40_000), Version::new().with_bump(chain(2)), chain(2), Hlc(9), -1);
    for record in [file(""), file("hello"), chunked(32_769), directory(), symlink("../up"), spelled, gone] {
        let back = Record::from_bytes(&record.to_bytes()).unwrap();
        assert_eq!(back, record);
        assert_eq!(back.path.original(), record.path.original());
    }
}

#[test]
fn the_bytes_are_these() {
    let want = concat!(
        "89a6666f726d617401a470617468aa646f63732f612e747874a46b696e6400a473697a6505",
        "a56d74696d65cf17979cfe362a0000a6696e6c696e65c40568656c6c6f",
        "a776657273696f6e9192c4100101010101010101010101010101010101",
        "a26279c41001010101010101010101010101010101a3686c63cf018bcfe568000000",
    );
    let got = hex::encode(file("hello").to_bytes());
    assert_eq!(got, want, "file");
    assert_eq!(
        hex::encode(blake3::hash(&chunked(40_000).to_bytes()).as_bytes()),
        "965e3d878e6aa860c5bd06a50330b3b215bbb681641b9d5e7dbd4c1a6a856f7c",
        "chunked"
    );
}

#[test]
fn what_is_inconsistent_is_refused() {
    assert_eq!(refused(|r| r.size = 4), RecordError::Size { size: 4 });
    assert_eq!(refused(|r| r.content = Content::None), RecordError::Content);
    assert_eq!(refused(|r| r.deleted = true), RecordError::Content);
    assert_eq!(refused(|r| r.kind = Kind::Directory), RecordError::Content);
    assert_eq!(refused(|r| *r = Record { size: 1, ..directory() }), RecordError::Size { size: 1 });
    assert_eq!(refused(|r| *r = chunked(32_768)), RecordError::Content);
    assert_eq!(refused(|r| *r = Record { size: 5, ..chunked(40_000) }), RecordError::Size { size: 5 });
    assert_eq!(refused(|r| *r = file(&"x".repeat(INLINE_MAX + 1))), RecordError::Content);
    assert_eq!(refused(|r| *r = Record { executable: true, ..directory() }), RecordError::Executable);
    assert_eq!(refused(|r| *r = chunked(u64::MAX)), RecordError::Size { size: u64::MAX });
    assert_eq!(refused(|r| r.by = chain(2)), RecordError::Author);
    assert_eq!(refused(|r| r.hlc = Hlc(u64::MAX)), RecordError::Clock);
    assert_eq!(refused(|r| *r = symlink("")), RecordError::Target);
    assert_eq!(refused(|r| *r = symlink("a\0b")), RecordError::Target);
    assert_eq!(refused(|r| *r = symlink(&"t".repeat(4097))), RecordError::Target);
}

#[test]
fn a_record_that_leads_out_of_the_folder_is_refused() {
    let hostile = |path: &str| {
        let mut name = vec![0xd9, u8::try_from(path.len()).unwrap()];
        name.extend_from_slice(path.as_bytes());
        Record::from_bytes(&with_field(&file("x"), "path", &name)).unwrap_err()
    };
    assert_eq!(hostile("../../etc/cron.d/x"), RecordError::Path(PathError::Dots { index: 1 }));
    assert_eq!(hostile("/etc/passwd"), RecordError::Path(PathError::Absolute));
    assert_eq!(hostile(".zerok/tmp/x"), RecordError::Path(PathError::Reserved));
    assert_eq!(hostile("e\u{301}"), RecordError::Path(PathError::Original));
    assert_eq!(hostile(""), RecordError::Path(PathError::Empty));
}

#[test]
fn what_a_newer_version_wrote_is_told_apart_from_garbage() {
    assert_eq!(Record::from_bytes(&with_field(&file("x"), "format", &[2])), Err(RecordError::Format(2)));
    assert_eq!(Record::from_bytes(b"garbage"), Err(RecordError::Malformed));
    assert_eq!(Record::from_bytes(&with_field(&file("x"), "kind", &[9])), Err(RecordError::Malformed));
    assert_eq!(Record::from_bytes(&vec![0; MAX_RECORD + 1]), Err(RecordError::TooLong(MAX_RECORD + 1)));
    assert_eq!(Record::from_bytes(&with_field(&file("x"), "version", &[0x90])), Err(RecordError::Author));
}

#[test]
fn the_largest_record_fits_its_limit() {
    let part = "e\u{301}".repeat(85);
    let long = vec![part.as_str(); 16].join("/");
    let mut record = file(&"x".repeat(INLINE_MAX));
    record.path = RelPath::parse(long.as_bytes()).unwrap();
    record.version = Version::new();
    for n in 0..1024u64 {
        for _ in 0..2 {
            record.version.bump(ChainId(u128::from(n).to_be_bytes()));
        }
    }
    record.by = ChainId([0; 16]);
    assert!(record.to_bytes().len() <= MAX_RECORD);
    assert_eq!(Record::from_bytes(&record.to_bytes()).err(), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Record::from_bytes(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0usize..150, byte in any::<u8>()) {
        let mut bytes = file("hello").to_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(record) = Record::from_bytes(&bytes) {
            prop_assert_eq!(record.check(), Ok(()));
        }
    }
}
