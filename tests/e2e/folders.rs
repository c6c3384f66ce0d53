//! Folders kept in step between two devices.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use zerok_tests::{Node, Pair, Sample, Tree, noise, search, wait_same, wait_until};

/// Two paired devices that share one folder.
pub(crate) struct Shared {
    pub(crate) pair: Pair,
    pub(crate) a: PathBuf,
    pub(crate) b: PathBuf,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// `fill` writes what stands in the folder before it is shared.
    pub(crate) fn with(fill: impl FnOnce(&Path)) -> Self {
        let pair = Pair::new();
        let (a, b) = (pair.sandbox.dir("a"), pair.sandbox.path().join("b"));
        fill(&a);
        let _ = pair.anna.json(&["folder", "add", text(&a), "--name", "docs"]);
        let shared = Self { pair, a, b };
        shared.join();
        shared
    }

    fn join(&self) {
        wait_until("the folder is offered", || {
            self.pair.ben.json(&["folder", "list"])["folders"][0]["state"] == "offered"
        });
        let _ = self.pair.ben.json(&["folder", "join", "docs", text(&self.b)]);
    }

    pub(crate) fn same(&self) -> Tree {
        wait_same(&self.a, &self.b)
    }

    /// Both devices work on, and neither hears of the other: until [`Self::together`].
    fn apart(&mut self) {
        self.same();
        self.pair.converge();
        // In order, so that the devices need not find out by themselves that it is gone.
        assert_eq!(self.pair.relay.stop(), zerok_tests::Exit::Code(0));
    }

    /// Waits until each side has logged its own change, then lets them meet.
    fn together(&mut self) {
        wait_until("both have logged their changes", || {
            self.pair.anna.outbox() > 0 && self.pair.ben.outbox() > 0
        });
        self.pair.relay.restart();
    }

    fn contents(&self, tree: &Tree) -> Vec<Vec<u8>> {
        let mut contents: Vec<_> = tree
            .names()
            .map(|name| self.a.join(name))
            .filter(|path| path.is_file())
            .map(|path| fs::read(path).unwrap())
            .collect();
        contents.sort();
        contents
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("sandbox paths are UTF-8")
}

fn write(path: &Path, contents: &[u8], mtime: SystemTime) {
    fs::write(path, contents).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(mtime).unwrap();
}

fn folder(daemon: &zerok_tests::Daemon) -> Value {
    daemon.call("folder.status", &json!({"folder": "docs"}))
}

#[test]
fn a_thousand_mixed_files_are_the_same_on_both_devices() {
    let shared = Shared::with(|a| Sample { files: 1000, large: 20 << 20 }.write(a));
    let tree = shared.same();
    assert!(tree.count() >= 1000 + 4 + 8, "the sample is complete: {} things", tree.count());
    assert_eq!(tree.get("a link"), Some(&Node::Symlink("notes/../run.sh".into())));
    assert!(matches!(tree.get("run.sh"), Some(Node::File { executable: true, .. })));
    assert!(matches!(tree.get("nothing in it"), Some(Node::File { size: 0, .. })));
    assert_eq!(tree.get("deep/empty one"), Some(&Node::Directory));
    assert!(tree.bytes() > 20 << 20);

    // And the other way: the same again below a directory of its own.
    Sample { files: 100, large: 1 << 20 }.write(&shared.b.join("from ben"));
    wait_until("ben's files are on both", || Tree::read(&shared.a).count() > tree.count() + 100);
    let both = shared.same();
    assert!(both.count() > tree.count() + 100);
    shared.pair.converge();
    wait_until("both folders are idle", || {
        [&shared.pair.anna, &shared.pair.ben].iter().all(|daemon| folder(daemon)["state"] == "idle")
    });
    assert_eq!(folder(&shared.pair.ben)["problems"], json!([]));
}

#[test]
fn mtimes_travel_with_the_files() {
    let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
    let shared = Shared::with(|a| write(&a.join("old"), b"from 2009", then));
    shared.same();
    assert_eq!(fs::metadata(shared.b.join("old")).unwrap().modified().unwrap(), then);
}

#[test]
fn edits_deletes_renames_and_modes_follow() {
    let shared = Shared::with(|a| {
        for name in ["edit", "delete", "rename", "mode", "becomes a directory"] {
            fs::write(a.join(name), format!("contents of {name}")).unwrap();
        }
        fs::create_dir_all(a.join("tree/below")).unwrap();
        fs::write(a.join("tree/below/leaf"), "leaf").unwrap();
        symlink("edit", a.join("link")).unwrap();
    });
    shared.same();

    let (a, b) = (&shared.a, &shared.b);
    fs::write(b.join("edit"), "edited on ben").unwrap();
    fs::remove_file(a.join("delete")).unwrap();
    fs::rename(a.join("rename"), a.join("tree/renamed")).unwrap();
    fs::set_permissions(a.join("mode"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(a.join("becomes a directory")).unwrap();
    fs::create_dir(a.join("becomes a directory")).unwrap();
    fs::write(a.join("becomes a directory/file"), "inside").unwrap();
    fs::remove_file(a.join("link")).unwrap();
    symlink("mode", a.join("link")).unwrap();
    wait_until("every change is on the other device", || {
        fs::read(a.join("edit")).is_ok_and(|c| c == b"edited on ben")
            && !b.join("delete").exists()
            && !b.join("rename").exists()
            && fs::read(b.join("tree/renamed")).is_ok_and(|c| c == b"contents of rename")
            && fs::metadata(b.join("mode")).is_ok_and(|m| m.permissions().mode() & 0o100 != 0)
            && b.join("becomes a directory/file").exists()
            && fs::read_link(b.join("link")).is_ok_and(|l| l == Path::new("mode"))
    });
    shared.same();

    fs::remove_dir_all(b.join("tree")).unwrap();
    wait_until("a whole directory goes", || !a.join("tree").exists());
    shared.same();
}

#[test]
fn what_is_replaced_or_deleted_is_kept_in_versions() {
    let shared = Shared::with(|a| {
        fs::write(a.join("replaced"), "the old words of this file").unwrap();
        fs::write(a.join("deleted"), "what stood in the other one").unwrap();
    });
    shared.same();
    fs::write(shared.a.join("replaced"), "new").unwrap();
    fs::remove_file(shared.a.join("deleted")).unwrap();
    wait_until("both changes arrive", || {
        fs::read(shared.b.join("replaced")).is_ok_and(|c| c == b"new") && !shared.b.join("deleted").exists()
    });
    let versions = shared.b.join(".zerok/versions");
    let found = search(&[&versions], &[b"the old words of this file", b"what stood in the other one"]);
    assert_eq!(found.iter().map(|hit| hit.needle).collect::<std::collections::BTreeSet<_>>(), [0, 1].into());
}

#[test]
fn a_file_is_never_absent_or_half_written_while_it_is_replaced() {
    let contents: Vec<_> = (0..10).map(|i| noise(&format!("version {i}"), 200_000)).collect();
    let shared = Shared::with(|a| fs::write(a.join("file"), &contents[0]).unwrap());
    shared.same();
    let watched = shared.b.join("file");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let now = fs::read(&watched).expect("the file is there at any time");
                assert!(contents.contains(&now), "and whole: {} bytes", now.len());
            }
        });
        for version in &contents[1..] {
            // As an editor saves: a new file renamed over the old one.
            fs::write(shared.a.join("file.new"), version).unwrap();
            fs::rename(shared.a.join("file.new"), shared.a.join("file")).unwrap();
            wait_until("this version is visible", || fs::read(&watched).is_ok_and(|now| &now == version));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn two_offline_edits_of_one_file_are_both_kept_under_the_same_names() {
    let mut shared = Shared::with(|a| fs::write(a.join("plan.txt"), "the plan").unwrap());
    shared.apart();
    let now = SystemTime::now();
    write(&shared.a.join("plan.txt"), b"anna's plan", now);
    write(&shared.b.join("plan.txt"), b"ben's plan", now + Duration::from_secs(1));
    shared.together();
    wait_until("a copy appears", || Tree::read(&shared.a).count() == 2);
    let tree = shared.same();
    assert_eq!(shared.contents(&tree), [b"anna's plan".to_vec(), b"ben's plan".to_vec()]);
    assert_eq!(fs::read(shared.a.join("plan.txt")).unwrap(), b"ben's plan", "the later one keeps the name");
    let copy = tree.names().find(|name| *name != "plan.txt").unwrap().to_string_lossy().into_owned();
    assert!(copy.starts_with("plan.sync-conflict-") && copy.ends_with(".txt"), "{copy}");
    shared.pair.converge();
    assert_eq!(shared.same().count(), 2, "and it stays at that");
}

#[test]
fn the_same_edit_on_both_sides_is_no_conflict() {
    let mut shared = Shared::with(|a| fs::write(a.join("plan.txt"), "the plan").unwrap());
    shared.apart();
    for place in [&shared.a, &shared.b] {
        fs::write(place.join("plan.txt"), "the same new plan").unwrap();
    }
    shared.together();
    shared.pair.converge();
    assert_eq!(shared.same().count(), 1);
}

#[test]
fn an_edit_beats_a_delete() {
    let mut shared = Shared::with(|a| fs::write(a.join("plan.txt"), "the plan").unwrap());
    shared.apart();
    fs::remove_file(shared.a.join("plan.txt")).unwrap();
    fs::write(shared.b.join("plan.txt"), "edited meanwhile").unwrap();
    shared.together();
    wait_until("the edit is back where it was deleted", || {
        fs::read(shared.a.join("plan.txt")).is_ok_and(|c| c == b"edited meanwhile")
    });
    shared.pair.converge();
    assert_eq!(shared.same().count(), 1);
}

#[test]
fn a_new_file_beats_the_delete_of_its_directory() {
    let mut shared = Shared::with(|a| {
        fs::create_dir(a.join("dir")).unwrap();
        fs::write(a.join("dir/old"), "old").unwrap();
    });
    shared.apart();
    fs::remove_dir_all(shared.a.join("dir")).unwrap();
    fs::write(shared.b.join("dir/new"), "new").unwrap();
    shared.together();
    wait_until("the new file is on both", || shared.a.join("dir/new").exists());
    let tree = shared.same();
    assert!(tree.get("dir/new").is_some(), "{tree:?}");
}

#[test]
fn two_full_folders_that_meet_keep_everything() {
    let pair = Pair::new();
    let (a, b) = (pair.sandbox.dir("a"), pair.sandbox.dir("b"));
    fs::write(a.join("equal"), "the same on both").unwrap();
    fs::write(b.join("equal"), "the same on both").unwrap();
    fs::write(a.join("clash"), "anna's").unwrap();
    fs::write(b.join("clash"), "ben's").unwrap();
    fs::write(a.join("only a"), "a").unwrap();
    fs::write(b.join("only b"), "b").unwrap();
    let _ = pair.anna.json(&["folder", "add", text(&a), "--name", "docs"]);
    let shared = Shared { pair, a, b };
    shared.join();
    wait_until("all five contents are on both", || {
        Tree::read(&shared.a).count() == 5 && Tree::read(&shared.b).count() == 5
    });
    let tree = shared.same();
    let all: Vec<_> = ["a", "anna's", "b", "ben's", "the same on both"].map(|s| s.as_bytes().to_vec()).into();
    assert_eq!(shared.contents(&tree), all);
}

#[test]
fn a_folder_goes_on_after_both_daemons_were_away() {
    let mut shared = Shared::with(|a| Sample { files: 50, large: 0 }.write(a));
    shared.same();
    assert_eq!(shared.pair.anna.stop(), zerok_tests::Exit::Code(0));
    assert_eq!(shared.pair.ben.stop(), zerok_tests::Exit::Code(0));
    fs::write(shared.a.join("while away"), "from anna").unwrap();
    fs::remove_file(shared.b.join("run.sh")).unwrap();
    fs::write(shared.b.join("notes/also"), "from ben").unwrap();
    shared.pair.anna.restart();
    shared.pair.ben.restart();
    wait_until("what happened meanwhile is on both", || {
        shared.b.join("while away").exists()
            && shared.a.join("notes/also").exists()
            && !shared.a.join("run.sh").exists()
    });
    shared.same();
}

#[test]
fn a_missing_root_deletes_nothing_elsewhere() {
    let mut shared = Shared::with(|a| Sample { files: 20, large: 0 }.write(a));
    let tree = shared.same();
    let away = shared.pair.sandbox.path().join("unmounted");
    assert_eq!(shared.pair.anna.stop(), zerok_tests::Exit::Code(0));
    fs::rename(&shared.a, &away).unwrap();
    fs::create_dir(&shared.a).unwrap();
    shared.pair.anna.restart();
    wait_until("the folder is stopped with a problem", || {
        let status = folder(&shared.pair.anna);
        status["state"] == "stopped" && status["problems"].as_array().is_some_and(|p| !p.is_empty())
    });
    fs::write(shared.b.join("a sign of life"), "x").unwrap();
    wait_until("ben's change is known to anna", || shared.pair.anna.digest() == shared.pair.ben.digest());
    fs::remove_file(shared.b.join("a sign of life")).unwrap();
    assert_eq!(Tree::read(&shared.b), tree, "nothing is gone at ben's");
    assert_eq!(Tree::read(&shared.a), Tree::default(), "nothing was written where the folder is not");
}

#[test]
fn special_files_are_left_alone_and_named() {
    let shared = Shared::with(|a| {
        fs::write(a.join("plain"), "x").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, a.join("fifo"), rustix::fs::Mode::from_raw_mode(0o600))
            .unwrap();
    });
    wait_until("the plain file arrives", || shared.b.join("plain").exists());
    assert!(!shared.b.join("fifo").exists());
    wait_until("the fifo is named as a problem", || {
        folder(&shared.pair.anna)["problems"]
            .as_array()
            .is_some_and(|p| p.iter().any(|p| p["path"] == "fifo"))
    });
}

#[test]
fn a_folder_in_the_wrong_place_is_refused_by_name_and_changes_nothing() {
    let shared = Shared::new();
    let anna = &shared.pair.anna;
    fs::create_dir(shared.a.join("inner")).unwrap();
    let file = shared.pair.sandbox.path().join("file");
    fs::write(&file, "x").unwrap();
    let missing = shared.pair.sandbox.path().join("missing");
    for path in [
        text(&shared.a),
        text(&shared.a.join("inner")),
        text(shared.pair.sandbox.path()),
        text(anna.home()),
        text(&file),
        text(&missing),
        "relative/path",
        "",
        "/",
    ] {
        let refused = anna.try_call("folder.add", &json!({"path": path})).unwrap_err();
        assert!(["invalid_argument", "conflict"].contains(&refused.kind.as_str()), "{path}: {refused:?}");
        assert!(refused.message.contains("path"), "the text names the parameter: {path}: {refused:?}");
    }
    assert_eq!(anna.json(&["folder", "list"])["folders"].as_array().map(Vec::len), Some(1));
    let refused =
        shared.pair.ben.try_call("folder.join", &json!({"folder": "nope", "path": "/tmp/x"})).unwrap_err();
    assert_eq!(refused.kind, "unknown_folder", "{refused:?}");
}
