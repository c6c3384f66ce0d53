//! What a kill in the midst of an exchange leaves behind is put right, and no byte of it is lost.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::device::Devices;
use super::{read, versions, write};
use crate::folder::index::intents::Intent;

/// `doc` was "old" on both; then an exchange brought "new", and what was displaced stands among the temporaries.
fn in_the_midst(displaced: &str) -> (Devices, PathBuf) {
    let mut devices = Devices::new(2);
    let a = devices.dir(0);
    write(&a, "doc", "old");
    devices.sync();
    devices.stop(0);
    let tmp = a.join(".zerok/tmp/t");
    std::fs::rename(a.join("doc"), &tmp).unwrap();
    if displaced != "old" {
        std::fs::write(&tmp, displaced).unwrap();
    }
    write(&a, "doc", "new");
    let inode = std::fs::metadata(a.join("doc")).unwrap().ino();
    devices.intend(0, Intent { tmp: "t".into(), key: "doc".into(), inode });
    (devices, a)
}

#[test]
fn what_an_exchange_displaced_goes_to_the_versions() {
    let (mut devices, a) = in_the_midst("old");
    devices.restart(0);
    assert_eq!((read(&a, "doc"), versions(&a)), ("new".into(), vec!["old".into()]));
    devices.sync();
    devices.assert_quiet();
}

#[test]
fn an_edit_that_an_exchange_displaced_is_in_its_place_again() {
    let (mut devices, a) = in_the_midst("edited in the last moment");
    devices.restart(0);
    assert_eq!((read(&a, "doc"), versions(&a)), ("edited in the last moment".into(), vec!["new".into()]));
    devices.sync();
    assert_eq!(read(&devices.dir(1), "doc"), "edited in the last moment");
    devices.assert_quiet();
}

#[test]
fn an_exchange_that_was_not_done_leaves_only_a_temporary() {
    let mut devices = Devices::new(2);
    let a = devices.dir(0);
    write(&a, "doc", "old");
    devices.sync();
    write(&a, ".zerok/tmp/t", "staged");
    write(&a, ".zerok/tmp/half", "half of so");
    let inode = std::fs::metadata(a.join(".zerok/tmp/t")).unwrap().ino();
    devices.intend(0, Intent { tmp: "t".into(), key: "doc".into(), inode });
    devices.restart(0);
    assert_eq!((read(&a, "doc"), versions(&a).len()), ("old".into(), 0));
    devices.assert_quiet();
}
