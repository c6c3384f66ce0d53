use super::*;

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_plain_path_is_its_own_key() {
    let p = path("a dir/ünï \"quoted\"/f'ile.txt");
    assert_eq!(p.key(), "a dir/ünï \"quoted\"/f'ile.txt");
    assert_eq!((p.original(), p.on_disk(), p.name()), (None, p.key(), "f'ile.txt"));
    assert_eq!(p.parent().unwrap().key(), "a dir/ünï \"quoted\"");
    assert_eq!(
        p.ancestors().map(|a| a.key().to_owned()).collect::<Vec<_>>(),
        ["a dir/ünï \"quoted\"", "a dir"]
    );
    assert!(p.is_below(&path("a dir")) && !p.is_below(&path("a di")) && !p.is_below(&p));
    assert!(path("x").parent().is_none());
}

#[test]
fn two_spellings_of_a_name_have_one_key_and_keep_their_own() {
    let (nfd, nfc) = (path("e\u{301}/x"), path("é/x"));
    assert_eq!(nfd, nfc);
    assert_eq!(nfd.key(), "é/x");
    assert_eq!(nfd.on_disk(), "e\u{301}/x");
    assert_eq!(nfd.parent().unwrap().on_disk(), "e\u{301}");
    assert_eq!(path("é").join("e\u{301}".as_bytes()).unwrap().on_disk(), "é/e\u{301}");
    let back = RelPath::with_original(nfd.key(), nfd.original()).unwrap();
    assert_eq!((back.key(), back.original()), (nfd.key(), nfd.original()));
    assert_eq!(RelPath::with_original("é", Some("é")).unwrap_err(), PathError::Original);
    assert_eq!(RelPath::with_original("é", Some("e")).unwrap_err(), PathError::Original);
    assert_eq!(RelPath::with_original("e\u{301}", None).unwrap_err(), PathError::Original);
}

#[test]
fn there_is_no_way_out_of_the_folder() {
    let long = "n".repeat(256);
    let deep = vec!["d".repeat(240); 17].join("/");
    for (text, error) in [
        ("", PathError::Empty),
        ("/etc/passwd", PathError::Absolute),
        ("//", PathError::Absolute),
        ("..", PathError::Dots { index: 1 }),
        ("a/../../b", PathError::Dots { index: 2 }),
        ("./a", PathError::Dots { index: 1 }),
        ("a//b", PathError::EmptyPart { index: 2 }),
        ("a/", PathError::EmptyPart { index: 2 }),
        ("a/b\0c", PathError::Nul),
        (".zerok", PathError::Reserved),
        (".ZeroK/tmp/x", PathError::Reserved),
        (".zero\u{212a}", PathError::Reserved),
        (".ze\u{200d}rok/x", PathError::Reserved),
        ("\u{ff0e}zerok/x", PathError::Reserved),
        (long.as_str(), PathError::NameTooLong { index: 1 }),
        (deep.as_str(), PathError::TooLong),
    ] {
        assert_eq!(RelPath::parse(text.as_bytes()).unwrap_err(), error, "{text:?}");
    }
    assert_eq!(RelPath::parse(b"a\xff").unwrap_err(), PathError::NotUtf8);
    assert_eq!(path("a").join(b"..").unwrap_err(), PathError::Dots { index: 2 });
    assert_eq!(path("a").join(b"b/c").unwrap_err(), PathError::EmptyPart { index: 1 });
    // Only as the first name, and only that name.
    for fine in ["a/.zerok", ".zerokignore", ".zeroks", "...", "..a", "a\\b"] {
        path(fine);
    }
}

#[test]
fn names_that_differ_in_case_fold_to_one() {
    assert_eq!(path("A/Straße").folded(), path("a/STRASSE").folded());
    assert_eq!(path("ΌΣΟΣ").folded(), path("όσος").folded());
    assert_ne!(path("a").folded(), path("b").folded());
}

#[test]
fn no_path_is_ever_printed() {
    assert_eq!(format!("{:?}", path("secret/plan.txt")), "RelPath(15 bytes)");
}

#[test]
fn a_conflict_copy_stands_beside_its_path_in_the_same_spelling() {
    let by = ChainId([0xab; 16]);
    let p = path("e\u{301}/a.tar.gz").conflict_copy(1_700_000_000_123_456_789, &by);
    assert_eq!(p.key(), "é/a.tar.sync-conflict-20231114-221320-abababab.gz");
    assert_eq!(p.on_disk(), "e\u{301}/a.tar.sync-conflict-20231114-221320-abababab.gz");
    RelPath::with_original(p.key(), p.original()).unwrap();
    let plain = path("e\u{301}").conflict_copy(0, &by);
    assert_eq!((plain.key(), plain.original()), ("é.sync-conflict-19700101-000000-abababab", None));
}

#[test]
fn the_conflict_copy_of_the_longest_path_is_a_path() {
    let directory = vec!["d".repeat(255); 15].join("/");
    let longest = path(&format!("{directory}/{}", "n".repeat(255)));
    assert_eq!(longest.key().len(), MAX_PATH - 1);
    let copy = longest.conflict_copy(i64::MIN, &ChainId([1; 16]));
    RelPath::with_original(copy.key(), copy.original()).unwrap();
}

proptest::proptest! {
    #[test]
    fn what_parses_stays_inside_and_parses_again(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
        if let Ok(p) = RelPath::parse(&bytes) {
            proptest::prop_assert_eq!(p.on_disk().as_bytes(), &bytes[..]);
            proptest::prop_assert!(p.key().split('/').all(|part| !matches!(part, "" | "." | "..")));
            proptest::prop_assert_eq!(RelPath::with_original(p.key(), p.original()).unwrap(), p.clone());
            let copy = p.conflict_copy(7, &ChainId([9; 16]));
            proptest::prop_assert_eq!(RelPath::with_original(copy.key(), copy.original()).unwrap(), copy);
        }
    }
}
