use proptest::prelude::*;

use super::*;
use crate::hlc::Hlc;
use crate::record::tests::{chain, directory, file, symlink};
use crate::version::Version;

const SECOND: i64 = 1_000_000_000;

/// A change by chain `n`, `at` seconds after the others, that has seen nothing else.
fn by(n: u8, at: i64, record: Record) -> Record {
    let mtime_ns = record.mtime_ns + at * SECOND;
    Record { by: chain(n), version: Version::new().with_bump(chain(n)), mtime_ns, ..record }
}

fn gone(record: Record) -> Record {
    Record::tombstone(&record, record.version.clone(), record.by, record.hlc, record.mtime_ns)
}

fn names(resolution: &Resolution) -> Vec<&str> {
    resolution.copies.iter().map(|r| r.path.key()).collect()
}

#[test]
fn the_later_change_keeps_the_path_and_the_other_moves_aside() {
    let (a, b) = (by(1, 0, file("one")), by(2, 5, file("two")));
    let resolution = resolve([a.clone(), b.clone()], false).unwrap();
    assert!(resolution.keeper.same_content(&b));
    assert_eq!(resolution.keeper.version, a.version.join(&b.version));
    assert_eq!(names(&resolution), ["docs/a.sync-conflict-20231114-221320-01010101.txt"]);
    assert_eq!(resolution.copies, [Record { path: a.path.conflict_copy(a.mtime_ns, &a.by), ..a }]);
}

#[test]
fn a_clock_that_runs_ahead_wins_by_a_day_at_most() {
    let year = 365 * 86_400;
    let ahead = by(1, year, file("ahead"));
    let mut later = by(2, 2 * 86_400, file("later"));
    later.hlc = Hlc(ahead.hlc.0 + ((2 * 86_400_000) << 16));
    assert!(resolve([ahead.clone(), later], false).unwrap().keeper.same_content(&file("later")));
    let earlier = by(2, 3600, file("earlier"));
    let resolution = resolve([ahead, earlier], false).unwrap();
    assert!(resolution.keeper.same_content(&file("ahead")));
}

#[test]
fn equal_contents_never_conflict() {
    let resolution =
        resolve([by(1, 0, file("same")), by(2, 5, file("same")), by(3, 1, file("same"))], false).unwrap();
    assert!(resolution.copies.is_empty());
    assert_eq!(resolution.keeper.by, chain(2));
    let resolution = resolve([by(1, 0, file("x")), by(2, 1, file("x")), by(3, 2, file("y"))], false).unwrap();
    assert_eq!(resolution.copies.len(), 1);
    assert_eq!(resolution.copies[0].by, chain(2));
}

#[test]
fn an_edit_beats_a_concurrent_delete() {
    let resolution = resolve([by(1, 0, file("edit")), by(2, 99, gone(file("edit")))], false).unwrap();
    assert!(!resolution.keeper.deleted && resolution.copies.is_empty());
    assert_eq!(resolution.keeper.version.get(&chain(2)), 1);
}

#[test]
fn a_directory_beats_a_file_and_a_link_moves_aside() {
    let all = [by(1, 9, file("f")), by(2, 0, directory()), by(3, 5, symlink("x"))];
    let resolution = resolve(all, false).unwrap();
    assert_eq!(resolution.keeper.kind, Kind::Directory);
    assert_eq!(resolution.copies.len(), 2);
}

#[test]
fn a_child_beats_the_delete_of_its_parent() {
    let deleted = by(1, 0, gone(directory()));
    assert!(resolve([deleted.clone()], false).unwrap().keeper.deleted);
    let kept = resolve([deleted.clone()], true).unwrap();
    assert!(!kept.keeper.deleted && kept.keeper.kind == Kind::Directory && kept.copies.is_empty());
    assert_eq!(kept.keeper.version, deleted.version);
    assert_eq!(kept.keeper.check(), Ok(()));
}

#[test]
fn a_file_in_the_way_of_a_child_moves_aside() {
    let resolution = resolve([by(1, 0, file("in the way"))], true).unwrap();
    assert_eq!(resolution.keeper.kind, Kind::Directory);
    assert!(resolution.copies[0].same_content(&file("in the way")));
}

#[test]
fn a_newer_record_ends_the_conflict() {
    let (a, b) = (by(1, 0, file("one")), by(2, 5, file("two")));
    let joined = resolve([a.clone(), b.clone()], false).unwrap().keeper.version;
    let newer = Record { version: joined.with_bump(chain(1)), by: chain(1), ..file("three") };
    let resolution = resolve([b, newer.clone(), a], false).unwrap();
    assert_eq!(resolution, Resolution { keeper: newer, copies: Vec::new() });
}

#[test]
fn nothing_resolves_to_nothing() {
    assert_eq!(resolve([], true), None);
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let kind = prop_oneof![
        4 => "[xyz]".prop_map(|text| file(&text)),
        1 => Just(directory()),
        1 => "[xy]".prop_map(|target| symlink(&target)),
    ];
    let record =
        (kind, 0u8..4, 0u8..4, prop::collection::vec(0u8..4, 0..5), 0i64..3, prop::bool::weighted(0.25));
    let record = record.prop_map(|(record, n, _, seen, at, delete)| {
        let mut record = by(n, at, record);
        for other in seen {
            record.version.bump(chain(other));
        }
        if delete { gone(record) } else { record }
    });
    prop::collection::vec(record, 1..7)
}

proptest! {
    #[test]
    fn every_order_gives_the_same(records in records(), seed in any::<u64>(), live in any::<bool>()) {
        let mut shuffled = records.clone();
        shuffled.sort_by_key(|r| blake3::hash(&[&seed.to_be_bytes()[..], &r.to_bytes()].concat()).to_hex());
        prop_assert_eq!(resolve(records, live), resolve(shuffled, live));
    }

    #[test]
    fn doubles_and_dominated_records_change_nothing(records in records(), live in any::<bool>()) {
        let once = resolve(records.clone(), live);
        prop_assert_eq!(resolve(records.iter().chain(&records).cloned(), live), once.clone());
        prop_assert_eq!(resolve(undominated(records), live), once);
    }

    #[test]
    fn no_contents_are_lost(records in records(), live in any::<bool>()) {
        let resolution = resolve(records.clone(), live).unwrap();
        let kept: Vec<_> = std::iter::once(&resolution.keeper).chain(&resolution.copies).collect();
        for record in undominated(records).iter().filter(|r| !r.deleted) {
            prop_assert!(kept.iter().any(|k| k.same_content(record)));
        }
        for copy in &resolution.copies {
            prop_assert!(!copy.deleted && copy.check().is_ok() && copy.path.parent() == resolution.keeper.path.parent());
        }
    }

    #[test]
    fn the_keeper_dominates_all_and_is_valid(records in records(), live in any::<bool>()) {
        let keeper = resolve(records.clone(), live).unwrap().keeper;
        prop_assert!(records.iter().all(|r| keeper.version.dominates(&r.version)));
        prop_assert_eq!(keeper.check(), Ok(()));
        prop_assert!(!live || is_live_directory(&keeper));
    }

    #[test]
    fn merging_in_steps_is_merging_at_once(records in records(), split in 0usize..7) {
        let split = split.min(records.len());
        let (first, rest) = records.split_at(split);
        let stepwise = undominated(first.iter().cloned()).into_iter().chain(rest.iter().cloned());
        prop_assert_eq!(resolve(stepwise, false), resolve(records.clone(), false));
    }
}
