//! `zerok-relay backup` and `restore`.

use rusqlite::Connection;
use zerok_protocol::*;

use super::{Place, json, mode, stdout};
use crate::binary::stderr;
use crate::client::{Client, blob_id};
use crate::devices::{Chain, Device};

/// A place with a backup in `b`, of three blobs of 1000 bytes, and the group that they are in.
async fn backed_up() -> (Place, Device, Chain) {
    let (place, a) = (Place::new(), Device::new(1));
    let chain = Chain::of(&[&a, &Device::new(2)]);
    let relay = place.start().await;
    let client = Client::connect(relay.address(), &a).await;
    let (mut session, _) = client.session(&chain).await;
    for n in 0..3 {
        session.push(&chain, n, vec![0; 1000]).await;
    }
    assert_eq!(place.run(&["backup", &place.file("b")]).status.code(), Some(0));
    relay.stop().await;
    (place, a, chain)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_restores_belongs_to_the_user_whose_directory_it_is() {
    let (place, _, _) = backed_up().await;
    let (nobody, data) = (65_534, place.data());
    std::fs::remove_file(data.join("relay.lock")).unwrap();
    std::fs::remove_file(data.join("relay.key")).unwrap();
    if std::os::unix::fs::chown(&data, Some(nobody), Some(nobody)).is_err() {
        return eprintln!("skipped: only root can give a directory away");
    }
    let output = place.run(&["restore", &place.file("b")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for name in ["relay.db", "relay.key", "relay.lock"] {
        let owner = std::os::unix::fs::MetadataExt::uid(&data.join(name).metadata().unwrap());
        assert_eq!(owner, nobody, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_relay_is_brought_back_elsewhere_under_its_own_key_and_repeats_no_cursor() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let relay = place.start().await;
    let client = Client::connect(relay.address(), &a).await;
    let (mut session, before) = client.session(&chain).await;
    for n in 0..3 {
        session.push(&chain, n, vec![0; 1000]).await;
    }
    let file = place.file("backup");
    let output = place.run(&["backup", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("1 group, 3 blobs (2.9 KiB), the relay's key"), "{text}");
    assert_eq!(mode(&file), 0o600);
    let last = session.push(&chain, 3, &b"after the backup"[..]).await.cursor;
    let identity = relay.address().id;
    relay.stop().await;

    let output = elsewhere.run(&["restore", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("restored: 1 group, 3 blobs"), "{}", stdout(&output));
    assert!(!stdout(&output).contains("before:"), "{}", stdout(&output));
    assert_eq!(mode(elsewhere.data().join("relay.db")), 0o600);
    assert_eq!(mode(elsewhere.data().join("relay.key")), 0o600);
    let key = std::fs::read(elsewhere.data().join("relay.key")).unwrap();
    let database = std::fs::read(elsewhere.data().join("relay.db")).unwrap();
    assert!(!database.windows(key.len()).any(|w| w == key), "the key stays in the database");
    let relay = elsewhere.start().await;
    assert_eq!(relay.address().id, identity);
    let client = Client::connect(relay.address(), &b).await;
    let (mut session, welcome) = client.session(&chain).await;
    // Two signs for the devices, of which one would do.
    assert!(welcome.max_cursor < last && welcome.log_id != before.log_id);
    session.send(Pull { req: 1, after_cursor: 0, limit: None }).await;
    let Message::PullResponse(page) = session.next().await else { panic!("no page") };
    let blobs: Vec<BlobId> = page.blobs.iter().map(|b| b.blob_id).collect();
    assert_eq!(blobs, [blob_id(0), blob_id(1), blob_id(2)]);
    assert!(session.push(&chain, 9, &b"new"[..]).await.cursor > last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_amid_pushes_is_of_one_moment_and_misses_nothing_acknowledged_before_it() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let a = Device::new(1);
    let chain = Chain::of(&[&a, &Device::new(2)]);
    let relay = place.start().await;
    let client = Client::connect(relay.address(), &a).await;
    let (mut session, _) = client.session(&chain).await;
    let (acknowledged, mut first) = tokio::sync::oneshot::channel();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let pushing = tokio::spawn(async move {
        let mut acknowledged = Some(acknowledged);
        for n in 0..u32::MAX {
            session.push(&chain, n, vec![0; 5000]).await;
            if n == 50 {
                acknowledged.take().unwrap().send(()).unwrap();
            }
            if stopped.try_recv().is_ok() {
                return n + 1;
            }
        }
        0
    });
    (&mut first).await.unwrap();
    let done = json(&place.run(&["backup", &place.file("b"), "--json"]));
    stop.send(()).unwrap();
    let pushed = pushing.await.unwrap();
    let blobs = done["blobs"].as_u64().unwrap();
    assert!((51..u64::from(pushed)).contains(&blobs), "{blobs} of {pushed}");
    assert_eq!(elsewhere.run(&["restore", &place.file("b")]).status.code(), Some(0));
    let output = elsewhere.run(&["check", "--json"]);
    assert_eq!((output.status.code(), json(&output)["blobs"].as_u64()), (Some(0), Some(blobs)));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restore_replaces_is_kept_aside() {
    let (place, a, chain) = backed_up().await;
    let relay = place.start().await;
    let client = Client::connect(relay.address(), &a).await;
    client.session(&chain).await.0.push(&chain, 7, &b"7"[..]).await;
    relay.stop().await;
    let output = place.run(&["restore", &place.file("b"), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let done = json(&output);
    assert_eq!((&done["groups"], &done["blobs"], &done["blob_bytes"]), (&1.into(), &3.into(), &3000.into()));
    assert_eq!((&done["key"], &done["key_before"]), (&true.into(), &().into()));
    assert!(done["made_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let blobs = |path: &str| -> u64 {
        let database = Connection::open(path).unwrap();
        database.query_row("SELECT count(*) FROM blobs", [], |r| r.get(0)).unwrap()
    };
    assert_eq!(blobs(done["database_before"].as_str().unwrap()), 4);
    // Another key is kept, too, and nothing is lost when it is done again within a second.
    std::fs::write(place.data().join("relay.key"), [7; 32]).unwrap();
    let again = json(&place.run(&["restore", &place.file("b"), "--json"]));
    assert_eq!(std::fs::read(again["key_before"].as_str().unwrap()).unwrap(), [7; 32]);
    assert_ne!(again["database_before"], done["database_before"]);
    assert_eq!(blobs(done["database_before"].as_str().unwrap()), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_replaces_a_file_only_when_told_and_never_lies_beside_the_database() {
    let (place, ..) = backed_up().await;
    let (file, before) = (place.file("b"), std::fs::read(place.file("b")).unwrap());
    let output = place.run(&["backup", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--force"), "{}", stderr(&output));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let output = place.run(&["backup", &file, "--force", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let done = json(&output);
    assert_eq!((&done["blobs"], &done["key"]), (&3.into(), &true.into()));
    assert_eq!(done["file_bytes"].as_u64(), Some(std::fs::metadata(&file).unwrap().len()));
    let own = place.data().join("relay.db");
    let output = place.run(&["backup", own.to_str().unwrap(), "--force"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("own directory"), "{}", stderr(&output));
    // Nothing half-written stays behind, in any of these cases.
    for dir in [place.data(), place.0.path().to_owned()] {
        let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
        assert!(names.into_iter().all(|n| !n.to_str().unwrap().contains("partial")));
    }
}

#[test]
fn a_backup_of_nothing_says_where_it_looked() {
    let place = Place::new();
    let output = place.run(&["backup", &place.file("b")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("data/relay.db does not exist"), "{}", stderr(&output));
    assert_eq!(place.run(&["backup"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_beside_a_running_relay_is_refused() {
    let (place, a, chain) = backed_up().await;
    let relay = place.start().await;
    let output = place.run(&["restore", &place.file("b")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("another relay is running"), "{}", stderr(&output));
    // Nor is the database of a running relay a backup.
    let client = Client::connect(relay.address(), &a).await;
    client.session(&chain).await.0.push(&chain, 7, &b"7"[..]).await;
    let live = place.data().join("relay.db");
    let output = Place::new().run(&["restore", live.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("live database"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_whole_backup_is_refused_and_nothing_is_touched() {
    let (place, ..) = backed_up().await;
    let before = std::fs::read(place.data().join("relay.db")).unwrap();
    let whole = std::fs::read(place.file("b")).unwrap();
    let change = |name: &str, sql: &str| {
        std::fs::write(place.file(name), &whole).unwrap();
        Connection::open(place.file(name)).unwrap().execute_batch(sql).unwrap();
    };
    change("newer", "PRAGMA user_version = 1000");
    change("foreign", "DROP TABLE blobs");
    std::fs::write(place.file("garbage"), b"this is no database, nor was it ever one").unwrap();
    std::fs::write(place.file("empty"), b"").unwrap();
    std::fs::write(place.file("half"), &whole[..whole.len() / 2]).unwrap();
    let mut rotten = whole.clone();
    let middle = rotten.len() / 2 / 4096 * 4096;
    rotten[middle..middle + 4096].fill(0xa5);
    std::fs::write(place.file("rotten"), rotten).unwrap();
    for (name, says) in [
        ("missing", "does not exist"),
        ("newer", "upgrade"),
        ("foreign", "not a relay's database"),
        ("garbage", "not a relay's database"),
        ("empty", "not a relay's database"),
        ("half", "half"),
        ("rotten", "damaged"),
    ] {
        let output = place.run(&["restore", &place.file(name)]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr(&output).contains(says), "{name}: {}", stderr(&output));
    }
    assert_eq!(std::fs::read(place.data().join("relay.db")).unwrap(), before);
    let names: Vec<_> = std::fs::read_dir(place.data()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|n| !n.to_str().unwrap().contains("restore")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_through_a_pipe_and_comes_back_from_one() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let relay = place.start().await;
    let identity = relay.address().id;
    let backup = place.run(&["backup", "-"]);
    assert_eq!(backup.status.code(), Some(0), "{}", stderr(&backup));
    assert!(stderr(&backup).contains("the relay's key"), "{}", stderr(&backup));
    relay.stop().await;
    let mut restore = crate::binary::command(elsewhere.0.path());
    let mut child =
        restore.args(["restore", "-", "--json"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &backup.stdout).unwrap();
    let restored = child.wait_with_output().unwrap();
    assert_eq!(restored.status.code(), Some(0), "{}", stderr(&restored));
    assert_eq!(elsewhere.start().await.address().id, identity);
    let left = |place: &Place| {
        let names = std::fs::read_dir(place.data()).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|n| n.to_string_lossy().starts_with(".tmp")).count()
    };
    assert_eq!((left(&place), left(&elsewhere)), (0, 0));
}
