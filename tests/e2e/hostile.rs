//! What a member that was paired and turned bad can do: nothing outside the folder, and nobody stops for it.

use std::fs;

use serde_json::json;
use zerok_core::{Content, Entry, EntryKind, FolderId, Hlc, Kind, Record, RelPath, Version};
use zerok_protocol::ChainId;
use zerok_tests::{Member, Tree, wait_until};

use crate::folders::Shared;

/// An entry that puts a file with these contents at `path`, whatever `path` is. The record is made for a harmless path
/// of the same length, then the path is overwritten in its bytes.
fn file_at(folder: &FolderId, by: ChainId, path: &str, contents: &'static [u8]) -> Entry {
    let harmless = "x".repeat(path.len());
    let record = Record {
        path: RelPath::parse(harmless.as_bytes()).unwrap(),
        kind: Kind::File,
        size: contents.len().try_into().unwrap(),
        mtime_ns: 1,
        executable: false,
        owner_only: false,
        content: Content::Inline(contents.into()),
        deleted: false,
        version: Version::new().with_bump(by),
        by,
        hlc: Hlc(1 << 16),
    };
    let bytes = record.to_bytes();
    let at = bytes.windows(harmless.len()).position(|w| w == harmless.as_bytes()).unwrap();
    let body = [&bytes[..at], path.as_bytes(), &bytes[at + path.len()..]].concat();
    Entry {
        channel: folder.channel(),
        key: Some(path.into()),
        kind: EntryKind::Data,
        hlc: Hlc(1 << 16),
        refs: vec![],
        body: body.into(),
    }
}

#[test]
fn a_record_that_leads_out_of_the_folder_is_refused_and_named() {
    let mut shared = Shared::with(|a| fs::write(a.join("good"), "good").unwrap());
    let outside = shared.pair.sandbox.dir("outside");
    std::os::unix::fs::symlink(&outside, shared.a.join("way out")).unwrap();
    shared.same();
    shared.pair.converge();
    let folder = shared.pair.anna.call("folder.status", &json!({"folder": "docs"}));
    let folder: FolderId = folder["id"].as_str().unwrap().parse().unwrap();
    let group = shared.pair.anna.status()["groups"][0]["id"].as_str().unwrap().to_owned();
    let before = Tree::read(shared.pair.sandbox.path());
    assert_eq!(shared.pair.ben.stop(), zerok_tests::Exit::Code(0));

    let absolute = outside.join("absolute");
    let paths = [
        "../outside/dots",
        "notes/../../outside/inner dots",
        absolute.to_str().unwrap(),
        "way out/through a symlink",
        ".zerok/tmp/reserved",
        ".ZEROK/reserved too",
        "a/./b",
        "nul\0byte",
        "trailing/",
    ];
    let key = shared.pair.ben.home().join("device.key");
    let relay = shared.pair.relay.address().to_owned();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut bad = Member::connect(&key, &group, &relay).await.unwrap();
        let mut entries: Vec<_> =
            paths.iter().map(|path| file_at(&folder, bad.chain, path, b"planted")).collect();
        entries.push(file_at(&folder, bad.chain, "after all these", b"harmless"));
        bad.push(&entries, now.try_into().unwrap()).await.unwrap();
        bad.push_bytes(b"no bundle at all").await.unwrap();
        bad.close().await;
    });

    wait_until("the harmless record beside them arrives", || shared.a.join("after all these").exists());
    wait_until("the refusals are reported", || {
        let status = shared.pair.anna.status();
        let mut problems = status["problems"].as_array().unwrap().clone();
        problems.extend(status["folders"][0]["problems"].as_array().unwrap().clone());
        !problems.is_empty()
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was written outside");
    fs::remove_file(shared.a.join("after all these")).unwrap();
    let after = Tree::read(shared.pair.sandbox.path());
    for name in after.names().filter(|name| before.get(name.to_str().unwrap()).is_none()) {
        let path = shared.pair.sandbox.path().join(name);
        assert!(!fs::read(&path).is_ok_and(|c| c == b"planted"), "planted at {}", path.display());
    }
    shared.pair.anna.push("c", b"still alive");
}
