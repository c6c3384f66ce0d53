use super::*;
use crate::record::tests::{chain, directory, file, symlink};

/// The disk, as this record was put there.
fn disk(record: &Record) -> DiskState {
    DiskState {
        kind: record.kind.clone(),
        size: record.size,
        mtime_ns: record.mtime_ns,
        executable: record.executable,
        owner_only: record.owner_only,
        hash: record.content_hash(),
    }
}

fn row(record: &Record) -> Row {
    Row { version: record.version.clone(), state: (!record.deleted).then(|| disk(record)) }
}

/// A later record of the same path by another chain.
fn then(seen: &Record, next: Record) -> Record {
    Record { version: seen.version.with_bump(chain(2)), by: chain(2), ..next }
}

fn gone(record: &Record) -> Record {
    Record::tombstone(record, record.version.with_bump(chain(2)), chain(2), record.hlc, record.mtime_ns)
}

fn touched(record: &Record) -> Record {
    Record { mtime_ns: record.mtime_ns + 1, ..record.clone() }
}

fn at(record: &Record) -> Observed {
    Observed::Present(disk(record))
}

fn logs(change: Change, base: &Version) -> Action {
    Action::Log { change, base: base.clone() }
}

const CREATE: Action = Action::Apply(Apply::Create);
const REPLACE: Action = Action::Apply(Apply::Replace);
const METADATA: Action = Action::Apply(Apply::Metadata);
const DELETE: Action = Action::Apply(Apply::Delete);

#[test]
fn nothing_known_and_nothing_there_is_nothing() {
    assert_eq!(reconcile(None, &Observed::Absent, None), Action::Nothing);
}

#[test]
fn a_new_name_is_logged() {
    for new in [file("new"), directory(), symlink("there")] {
        assert_eq!(reconcile(None, &at(&new), None), logs(Change::Created, &Version::new()));
    }
}

#[test]
fn a_new_record_is_put_on_disk() {
    assert_eq!(reconcile(None, &Observed::Absent, Some(&file("new"))), CREATE);
    assert_eq!(reconcile(None, &Observed::Absent, Some(&gone(&file("new")))), Action::Adopt);
}

#[test]
fn what_is_absent_at_joining_is_not_deleted() {
    assert_eq!(reconcile(None, &Observed::Absent, Some(&file("theirs"))), CREATE);
}

#[test]
fn equal_contents_at_joining_adopt_the_record() {
    let theirs = file("same");
    assert_eq!(reconcile(None, &at(&theirs), Some(&theirs)), Action::Adopt);
    assert_eq!(reconcile(None, &at(&touched(&theirs)), Some(&theirs)), METADATA);
    let dated = Record { mtime_ns: 7, ..directory() };
    assert_eq!(reconcile(None, &at(&dated), Some(&directory())), Action::Adopt);
}

#[test]
fn different_contents_at_joining_are_concurrent() {
    let theirs = file("theirs");
    assert_eq!(reconcile(None, &at(&file("mine")), Some(&theirs)), logs(Change::Created, &Version::new()));
    assert_eq!(reconcile(None, &at(&directory()), Some(&theirs)), logs(Change::Created, &Version::new()));
    let deleted = gone(&theirs);
    assert_eq!(reconcile(None, &at(&file("mine")), Some(&deleted)), logs(Change::Created, &Version::new()));
}

#[test]
fn what_agrees_is_left_alone() {
    for record in [file("x"), directory(), symlink("x")] {
        assert_eq!(reconcile(Some(&row(&record)), &at(&record), Some(&record)), Action::Nothing);
    }
    let deleted = gone(&file("x"));
    assert_eq!(reconcile(Some(&row(&deleted)), &Observed::Absent, Some(&deleted)), Action::Nothing);
}

#[test]
fn an_edit_is_logged_on_top_of_what_it_saw() {
    let old = file("old");
    for edited in [file("new"), directory(), symlink("new")] {
        assert_eq!(
            reconcile(Some(&row(&old)), &at(&edited), Some(&old)),
            logs(Change::Content, &old.version)
        );
    }
    assert_eq!(
        reconcile(Some(&row(&old)), &at(&touched(&old)), Some(&old)),
        logs(Change::Metadata, &old.version)
    );
    let runnable = Record { executable: true, ..old.clone() };
    assert_eq!(reconcile(Some(&row(&old)), &at(&runnable), Some(&old)), logs(Change::Metadata, &old.version));
}

#[test]
fn a_name_used_again_after_a_delete_is_logged_on_top_of_the_delete() {
    let deleted = gone(&file("old"));
    let action = reconcile(Some(&row(&deleted)), &at(&file("new")), Some(&deleted));
    assert_eq!(action, logs(Change::Created, &deleted.version));
}

#[test]
fn a_tombstone_is_made_only_of_what_was_here_and_is_surely_gone() {
    let old = file("old");
    assert_eq!(
        reconcile(Some(&row(&old)), &Observed::Absent, Some(&old)),
        logs(Change::Deleted, &old.version)
    );
    assert_eq!(reconcile(Some(&row(&old)), &Observed::Unknown, Some(&old)), Action::Wait);
    assert_eq!(reconcile(Some(&row(&old)), &Observed::Ignored, Some(&old)), Action::Nothing);
    assert_eq!(reconcile(Some(&row(&old)), &Observed::Unsupported, Some(&old)), Action::Blocked);
    assert_eq!(reconcile(Some(&row(&gone(&old))), &Observed::Absent, Some(&old)), CREATE);
    assert_eq!(reconcile(None, &Observed::Absent, Some(&old)), CREATE);
}

#[test]
fn what_is_ignored_is_frozen() {
    let (old, new) = (file("old"), then(&file("old"), file("new")));
    for merged in [None, Some(&old), Some(&new), Some(&gone(&old))] {
        assert_eq!(reconcile(Some(&row(&old)), &Observed::Ignored, merged), Action::Nothing);
        assert_eq!(reconcile(None, &Observed::Ignored, merged), Action::Nothing);
    }
}

#[test]
fn a_newer_record_is_applied_to_an_untouched_disk() {
    let old = file("old");
    let known = row(&old);
    assert_eq!(reconcile(Some(&known), &at(&old), Some(&then(&old, file("new")))), REPLACE);
    assert_eq!(reconcile(Some(&known), &at(&old), Some(&then(&old, directory()))), REPLACE);
    assert_eq!(reconcile(Some(&known), &at(&old), Some(&then(&old, touched(&old)))), METADATA);
    assert_eq!(reconcile(Some(&known), &at(&old), Some(&then(&old, old.clone()))), Action::Adopt);
    assert_eq!(reconcile(Some(&known), &at(&old), Some(&gone(&old))), DELETE);
}

#[test]
fn an_edit_that_has_not_seen_the_newer_record_is_concurrent_to_it() {
    let old = file("old");
    let theirs = then(&old, file("theirs"));
    assert_eq!(
        reconcile(Some(&row(&old)), &at(&file("mine")), Some(&theirs)),
        logs(Change::Content, &old.version)
    );
    let deleted = gone(&old);
    assert_eq!(
        reconcile(Some(&row(&old)), &at(&file("mine")), Some(&deleted)),
        logs(Change::Content, &old.version)
    );
}

#[test]
fn the_same_edit_on_both_sides_is_no_conflict() {
    let old = file("old");
    let theirs = then(&old, file("new"));
    assert_eq!(reconcile(Some(&row(&old)), &at(&theirs), Some(&theirs)), Action::Adopt);
    assert_eq!(reconcile(Some(&row(&old)), &at(&touched(&theirs)), Some(&theirs)), METADATA);
}

#[test]
fn a_touch_is_not_worth_a_conflict() {
    let old = file("old");
    let theirs = then(&old, file("theirs"));
    assert_eq!(reconcile(Some(&row(&old)), &at(&touched(&old)), Some(&theirs)), REPLACE);
    assert_eq!(reconcile(Some(&row(&old)), &at(&touched(&old)), Some(&gone(&old))), DELETE);
    let also = then(&old, Record { mtime_ns: 9, ..old.clone() });
    assert_eq!(reconcile(Some(&row(&old)), &at(&touched(&old)), Some(&also)), METADATA);
    assert_eq!(
        reconcile(Some(&row(&old)), &at(&file("mine")), Some(&also)),
        logs(Change::Content, &also.version)
    );
    // Only the version grew: a loser, or the same again by somebody else.
    let grown = then(&old, old.clone());
    assert_eq!(
        reconcile(Some(&row(&old)), &at(&touched(&old)), Some(&grown)),
        logs(Change::Metadata, &grown.version)
    );
}

#[test]
fn an_edit_elsewhere_beats_the_delete_here() {
    let old = file("old");
    let theirs = then(&old, file("theirs"));
    assert_eq!(reconcile(Some(&row(&old)), &Observed::Absent, Some(&theirs)), CREATE);
    let touch = then(&old, touched(&old));
    assert_eq!(
        reconcile(Some(&row(&old)), &Observed::Absent, Some(&touch)),
        logs(Change::Deleted, &touch.version)
    );
}

#[test]
fn the_same_delete_on_both_sides_is_adopted() {
    let old = file("old");
    assert_eq!(reconcile(Some(&row(&old)), &Observed::Absent, Some(&gone(&old))), Action::Adopt);
}

#[test]
fn a_record_that_left_the_merge_takes_its_file_along_unless_it_was_edited() {
    let old = file("old");
    assert_eq!(reconcile(Some(&row(&old)), &at(&old), None), DELETE);
    assert_eq!(reconcile(Some(&row(&old)), &at(&file("mine")), None), logs(Change::Content, &old.version));
    assert_eq!(reconcile(Some(&row(&old)), &Observed::Absent, None), Action::Adopt);
}

#[test]
fn what_cannot_be_synced_is_not_touched() {
    let old = file("old");
    assert_eq!(reconcile(None, &Observed::Unsupported, None), Action::Nothing);
    assert_eq!(reconcile(None, &Observed::Unsupported, Some(&gone(&old))), Action::Nothing);
    assert_eq!(reconcile(None, &Observed::Unsupported, Some(&old)), Action::Blocked);
}

#[test]
fn times_that_a_disk_cannot_hold_do_not_come_back_as_changes() {
    let record = Record { mtime_ns: 1_700_000_000_123_456_789, ..file("x") };
    let coarse = DiskState { mtime_ns: 1_700_000_000_000_000_000, ..disk(&record) };
    let known = Row { version: record.version.clone(), state: Some(coarse.clone()) };
    assert_eq!(reconcile(Some(&known), &Observed::Present(coarse), Some(&record)), Action::Nothing);
}

/// Two devices, one path, every pair of edits: once each has taken in the other's records, both disks hold the same
/// and no contents are gone that nobody deleted.
#[test]
fn whatever_two_devices_do_their_disks_end_equal() {
    let start = file("start");
    let ends = [
        None,
        Some(start.clone()),
        Some(touched(&start)),
        Some(file("one")),
        Some(file("two")),
        Some(directory()),
    ];
    for here in &ends {
        for there in &ends {
            let mut log = vec![start.clone()];
            let mut sides = [(here, row(&start)), (there, row(&start))];
            let mut disks: Vec<Option<DiskState>> = sides.iter().map(|(d, _)| d.as_ref().map(disk)).collect();
            let mut states: Vec<Option<Record>> = sides.iter().map(|(d, _)| (*d).clone()).collect();
            let mut turn = |side: usize, log: &mut Vec<Record>, see: usize| {
                let merged = crate::resolve(log[..see].to_vec(), false).unwrap().keeper;
                let seen = disks[side].clone().map_or(Observed::Absent, Observed::Present);
                let known = &mut sides[side].1;
                let action = reconcile(Some(known), &seen, Some(&merged));
                match action.clone() {
                    Action::Nothing => {}
                    Action::Adopt => {
                        *known = Row { version: merged.version.clone(), state: disks[side].clone() }
                    }
                    Action::Log { change, base } => {
                        let own = chain(10 + u8::try_from(side).unwrap());
                        let (version, by) = base.after(&merged.version, own, chain(99));
                        let record = match change {
                            Change::Deleted => Record::tombstone(&start, version, by, start.hlc, 0),
                            _ => Record { version, by, ..states[side].clone().unwrap() },
                        };
                        *known = Row { version: record.version.clone(), state: disks[side].clone() };
                        log.push(record);
                    }
                    Action::Apply(_) => {
                        disks[side] = (!merged.deleted).then(|| disk(&merged));
                        states[side] = Some(merged.clone());
                        *known = Row { version: merged.version.clone(), state: disks[side].clone() };
                    }
                    Action::Wait | Action::Blocked => panic!("{action:?}"),
                }
                action
            };
            // Each scans before it hears of the other, then both hear all.
            turn(0, &mut log, 1);
            turn(1, &mut log, 1);
            let all = log.len();
            for side in [0, 1, 0, 1] {
                turn(side, &mut log, all);
            }
            assert_eq!(log.len(), all, "hearing makes no records");
            for side in [0, 1] {
                assert_eq!(turn(side, &mut log, all), Action::Nothing, "at rest");
            }
            let resolution = crate::resolve(log.clone(), false).unwrap();
            assert_eq!(disks[0].is_none(), resolution.keeper.deleted);
            assert!(disks.iter().flatten().all(|d| d.holds(&resolution.keeper)));
            let kept = || std::iter::once(&resolution.keeper).chain(&resolution.copies);
            for end in [here, there].into_iter().flatten().filter(|end| !end.same_content(&start)) {
                assert!(kept().any(|r| r.same_content(end)), "{here:?} {there:?}");
            }
        }
    }
}
