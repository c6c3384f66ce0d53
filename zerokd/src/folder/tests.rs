//! Folders of several devices over real stores and disks; records travel as bundles, large contents through memory.

mod device;
mod killed;
mod random;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use device::{Devices, Tree};

fn write(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
    let at = dir.join(path);
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(at, content).unwrap();
}

fn read(dir: &Path, path: &str) -> String {
    std::fs::read_to_string(dir.join(path)).unwrap()
}

fn versions(dir: &Path) -> Vec<String> {
    let tree = Tree::read_in(&dir.join(".zerok/versions"));
    tree.contents().into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
}

#[test]
fn a_tree_arrives_as_it_is_in_both_directions() {
    let mut devices = Devices::new(2);
    let (a, b) = (devices.dir(0), devices.dir(1));
    write(&a, "plain.txt", "hello");
    write(&a, "empty", "");
    write(&a, "Größe & \"quoted\" 'name' .txt", "umlaut");
    write(&a, "deep/er/and/deeper/file", "x");
    write(&a, "large.bin", vec![7; 200_000]);
    write(&a, "run.sh", "#!/bin/sh\n");
    std::fs::set_permissions(a.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    write(&a, "secret", "s");
    std::fs::set_permissions(a.join("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::create_dir_all(a.join("empty directory/inner")).unwrap();
    std::os::unix::fs::symlink("../outside", a.join("link")).unwrap();
    write(&b, "from the other side", "b");
    devices.sync();
    assert_eq!(Tree::read(&a), Tree::read(&b));
    assert_eq!(Tree::read(&a).len(), 15);
    assert_eq!(std::fs::read_link(b.join("link")).unwrap(), Path::new("../outside"));
    assert_eq!(std::fs::metadata(b.join("run.sh")).unwrap().permissions().mode() & 0o100, 0o100);
    assert_eq!(std::fs::metadata(b.join("secret")).unwrap().permissions().mode() & 0o777, 0o600);
    devices.assert_quiet();
}

#[test]
fn edits_deletes_and_renames_follow_and_what_was_replaced_is_kept() {
    let mut devices = Devices::new(2);
    let (a, b) = (devices.dir(0), devices.dir(1));
    write(&a, "edited", "one");
    write(&a, "deleted", "gone");
    write(&a, "dir/inside", "inside");
    write(&a, "old name", vec![1; 100_000]);
    devices.sync();
    write(&a, "edited", "two");
    std::fs::remove_file(a.join("deleted")).unwrap();
    std::fs::remove_dir_all(a.join("dir")).unwrap();
    std::fs::rename(a.join("old name"), a.join("new name")).unwrap();
    let moved = devices.fetched();
    devices.sync();
    assert_eq!(Tree::read(&a), Tree::read(&b));
    assert_eq!((read(&b, "edited"), b.join("dir").exists()), ("two".into(), false));
    let mut kept = versions(&b);
    kept.retain(|content| content.len() < 100);
    kept.sort();
    assert_eq!(kept, ["gone", "inside", "one"]);
    assert!(versions(&a).is_empty(), "what a person deletes here is not kept here");
    assert!(devices.fetched() >= moved);
    devices.assert_quiet();
}

#[test]
fn two_edits_apart_are_both_kept_under_the_same_names_everywhere() {
    for large in [0, 100_000] {
        let mut devices = Devices::new(3);
        let (a, b, c) = (devices.dir(0), devices.dir(1), devices.dir(2));
        write(&a, "doc.txt", "base");
        devices.sync();
        write(&a, "doc.txt", format!("by a{}", "!".repeat(large)));
        write(&b, "doc.txt", format!("by b{}", "!".repeat(large)));
        devices.sync();
        assert_eq!(Tree::read(&a), Tree::read(&b));
        assert_eq!(Tree::read(&a), Tree::read(&c));
        assert_eq!(Tree::read(&a).len(), 2, "one path, one copy");
        let mut contents = Tree::read(&c).contents();
        contents.sort();
        assert_eq!(contents.iter().map(|x| x[3]).collect::<Vec<_>>(), [b'a', b'b']);
        devices.assert_quiet();
    }
}

#[test]
fn an_edit_of_the_kept_one_leaves_the_copy_and_a_deleted_copy_stays_away() {
    let mut devices = Devices::new(3);
    let (a, b, c) = (devices.dir(0), devices.dir(1), devices.dir(2));
    write(&a, "doc.txt", "by a");
    write(&b, "doc.txt", "by b");
    devices.exchange(&[0, 1]);
    let tree = Tree::read(&a);
    let copy = tree.paths().into_iter().find(|p| p.contains("sync-conflict")).unwrap();
    write(&a, "doc.txt", "settled");
    devices.sync();
    assert_eq!(Tree::read(&a), Tree::read(&b));
    assert_eq!(Tree::read(&a), Tree::read(&c), "who never saw the conflict has the copy too");
    assert_eq!(read(&c, "doc.txt"), "settled");
    std::fs::remove_file(b.join(copy)).unwrap();
    devices.sync();
    for dir in [&a, &b, &c] {
        assert_eq!(Tree::read(dir).paths(), ["doc.txt"]);
    }
    devices.assert_quiet();
}

#[test]
fn an_edit_beats_a_delete_and_a_child_beats_the_delete_of_its_parent() {
    let mut devices = Devices::new(2);
    let (a, b) = (devices.dir(0), devices.dir(1));
    write(&a, "edited here", "one");
    write(&a, "dir/old", "old");
    devices.sync();
    std::fs::remove_file(a.join("edited here")).unwrap();
    std::fs::remove_dir_all(a.join("dir")).unwrap();
    write(&b, "edited here", "two");
    write(&b, "dir/new", "new");
    devices.sync();
    assert_eq!(Tree::read(&a), Tree::read(&b));
    assert_eq!((read(&a, "edited here"), read(&a, "dir/new")), ("two".into(), "new".into()));
    assert!(!a.join("dir/old").exists());
    devices.assert_quiet();
}

#[test]
fn a_file_and_a_directory_of_one_name_are_both_kept() {
    let mut devices = Devices::new(2);
    let (a, b) = (devices.dir(0), devices.dir(1));
    write(&a, "name", "a file");
    write(&b, "name/inside", "a directory");
    devices.sync();
    assert_eq!(Tree::read(&a), Tree::read(&b));
    assert_eq!(read(&a, "name/inside"), "a directory");
    assert!(Tree::read(&a).contents().contains(&b"a file".to_vec()));
    devices.assert_quiet();
}

#[test]
fn kinds_change_into_each_other() {
    let mut devices = Devices::new(2);
    let (a, b) = (devices.dir(0), devices.dir(1));
    write(&a, "to dir", "file");
    write(&a, "to file/inside", "x");
    write(&a, "to link", "file");
    devices.sync();
    std::fs::remove_file(a.join("to dir")).unwrap();
    write(&a, "to dir/inside", "y");
    std::fs::remove_dir_all(a.join("to file")).unwrap();
    write(&a, "to file", "now a file");
    std::fs::remove_file(a.join("to link")).unwrap();
    std::os::unix::fs::symlink("to file", a.join("to link")).unwrap();
    devices.sync();
    assert_eq!(Tree::read(&a), Tree::read(&b));
    assert_eq!(read(&b, "to file"), "now a file");
    devices.assert_quiet();
}

#[test]
fn equal_contents_meet_without_a_conflict_and_nothing_is_replaced() {
    let mut devices = Devices::new(2);
    let (a, b) = (devices.dir(0), devices.dir(1));
    for dir in [&a, &b] {
        write(dir, "same", "same");
        write(dir, "dir/large", vec![3; 90_000]);
    }
    devices.sync();
    assert_eq!(Tree::read(&a), Tree::read(&b));
    assert_eq!(Tree::read(&a).paths(), ["dir", "dir/large", "same"]);
    assert!(versions(&a).is_empty() && versions(&b).is_empty());
    assert_eq!(devices.fetched(), 0);
    devices.assert_quiet();
}

#[test]
fn what_is_ignored_is_frozen() {
    let mut devices = Devices::new(2);
    let (a, b) = (devices.dir(0), devices.dir(1));
    write(&a, "keep.log", "one");
    write(&a, "other", "x");
    devices.sync();
    write(&b, ".zerokignore", "*.log\n");
    std::fs::remove_file(b.join("keep.log")).unwrap();
    write(&b, "new.log", "b");
    devices.settle(1);
    devices.sync();
    assert_eq!(read(&a, "keep.log"), "one", "an ignored path is not deleted elsewhere");
    assert!(!a.join("new.log").exists());
    std::fs::remove_file(a.join(".zerokignore")).unwrap();
    devices.sync();
    assert_eq!(Tree::read(&a), Tree::read(&b), "freed, everything meets again");
    devices.assert_quiet();
}

#[test]
fn an_unreadable_directory_deletes_nothing_elsewhere() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything: the rule is tested below with a directory that is a mount point of nothing.
        return;
    }
    let mut devices = Devices::new(2);
    let (a, b) = (devices.dir(0), devices.dir(1));
    write(&a, "dir/file", "x");
    devices.sync();
    std::fs::set_permissions(a.join("dir"), std::fs::Permissions::from_mode(0o000)).unwrap();
    devices.sync();
    assert_eq!(read(&b, "dir/file"), "x");
    std::fs::set_permissions(a.join("dir"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_fifo_and_a_name_that_is_not_utf8_are_left_out_and_listed() {
    use std::os::unix::ffi::OsStrExt;
    let mut devices = Devices::new(2);
    let (a, b) = (devices.dir(0), devices.dir(1));
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, a.join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::fs::write(a.join(std::ffi::OsStr::from_bytes(b"bad\xff")), "x").unwrap();
    write(&a, "good", "x");
    devices.sync();
    assert_eq!(Tree::read(&b).paths(), ["good"]);
    let mut codes = devices.problems(0);
    codes.sort();
    assert_eq!(codes, ["name", "unsyncable"]);
}

#[test]
fn a_restart_finds_everything_as_it_was() {
    let mut devices = Devices::new(2);
    let (a, b) = (devices.dir(0), devices.dir(1));
    write(&a, "one", "1");
    write(&a, "dir/two", "2");
    devices.sync();
    let logged = devices.entries();
    devices.restart(0);
    devices.restart(1);
    devices.sync();
    assert_eq!(devices.entries(), logged, "a restart logs nothing");
    devices.stop(0);
    write(&a, "one", "changed while away");
    std::fs::remove_dir_all(a.join("dir")).unwrap();
    devices.restart(0);
    devices.sync();
    assert_eq!(read(&b, "one"), "changed while away");
    assert_eq!(Tree::read(&a), Tree::read(&b));
}

#[test]
fn a_large_file_makes_way_for_a_directory_once_its_copy_is_made() {
    let mut devices = Devices::new(3);
    let (a, c) = (devices.dir(0), devices.dir(2));
    write(&a, "a", vec![1; 50_000]);
    devices.settle(0);
    write(&c, "a/x/deep", "inside");
    devices.settle(2);
    devices.sync();
    assert_eq!(read(&a, "a/x/deep"), "inside");
    assert_eq!(Tree::read(&a), Tree::read(&c));
    devices.assert_quiet();
}
