//! `zerok-relay check`.

use bytes::Bytes;
use zerok_protocol::*;
use zerok_relay::Running;

use super::{Place, json, stdout};
use crate::binary::stderr;
use crate::client::{Client, Stream, blob_id};
use crate::devices::{Chain, Device};

/// A place with four blobs of 500 bytes and two chunks, and how to come back to it.
async fn filled() -> (Place, Device, Chain) {
    let (place, a, b) = (Place::new(), Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let relay = place.start().await;
    let _client = fill(&relay, &a, &chain).await;
    relay.stop().await;
    (place, b, chain)
}

async fn fill(relay: &Running, a: &Device, chain: &Chain) -> (Client, Stream) {
    let client = Client::connect(relay.address(), a).await;
    let (mut session, _) = client.session(chain).await;
    for n in 0..4 {
        session.push(chain, n, vec![1; 500]).await;
    }
    let mut chunks = client.open().await;
    for (req, data) in [(1, Bytes::from_static(b"one")), (2, Bytes::from_static(b"two"))] {
        let group = chain.roster.group();
        chunks.send(ChunkPut { req, group, address: Hash::of(&data), data }).await;
        assert!(matches!(chunks.next().await, Message::ChunkPutAck(_)));
    }
    (client, session)
}

/// What a member may see.
async fn pull(relay: &Running, device: &Device, chain: &Chain) -> Vec<BlobId> {
    let client = Client::connect(relay.address(), device).await;
    let (mut session, _) = client.session(chain).await;
    session.send(Pull { req: 1, after_cursor: 0, limit: None }).await;
    match session.next().await {
        Message::PullResponse(page) => page.blobs.iter().map(|b| b.blob_id).collect(),
        other => panic!("no page: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_whole_is_found_whole_beside_the_running_relay_too() {
    let (place, a) = (Place::new(), Device::new(1));
    let chain = Chain::of(&[&a, &Device::new(2)]);
    let relay = place.start().await;
    let _session = fill(&relay, &a, &chain).await;
    let output = place.run(&["check", "--chunks"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "1 group, 4 blobs (1.9 KiB), 2 chunks: no damage\n");
    // Repair is for a relay that is stopped.
    let output = place.run(&["check", "--repair"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("another relay is running"), "{}", stderr(&output));
    relay.stop().await;
    let output = place.run(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let report = json(&output);
    assert_eq!((&report["clean"], &report["damage"]), (&true.into(), &Vec::<u8>::new().into()));
    assert_eq!((&report["blobs"], &report["blob_bytes"]), (&4.into(), &2000.into()));
    assert!(report["chunks"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_blobs_counters_and_chunks_are_named_and_repaired_and_the_rest_is_served() {
    let (place, b, chain) = filled().await;
    let database = place.database();
    database
        .execute_batch(
            "UPDATE blobs SET payload = zeroblob(500) WHERE id = 2;
             UPDATE blobs SET size = 499 WHERE id = 3;
             UPDATE groups SET blobs = 77;",
        )
        .unwrap();
    drop(database);
    let address = Hash::of(b"two").to_hex();
    let chunk = place.data().join("chunks").join(chain.roster.group().to_hex()).join(&address[..2]);
    std::fs::write(chunk.join(&address), b"tow").unwrap();

    let output = place.run(&["check", "--chunks"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    for line in [
        "damaged: 2 blobs: not the bytes that were pushed",
        "damaged: 1 group: wrong counters",
        "damaged: 1 chunk: not the bytes that were put",
        "zerok-relay check --repair",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let output = place.run(&["check", "--chunks", "--repair", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let report = json(&output);
    let found: Vec<_> = report["damage"].as_array().unwrap().iter().map(|d| d["kind"].as_str()).collect();
    assert_eq!(found, [Some("counters"), Some("blobs"), Some("chunks")]);
    assert!(report["damage"].as_array().unwrap().iter().all(|d| d["repaired"] == true));
    let output = place.run(&["check", "--chunks"]);
    assert_eq!(stdout(&output), "1 group, 2 blobs (1000 B), 1 chunk: no damage\n");
    let relay = place.start().await;
    assert_eq!(pull(&relay, &b, &chain).await, [blob_id(0), blob_id(3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_roster_does_not_hold_is_dropped_and_comes_back_with_its_devices() {
    let (place, b, chain) = filled().await;
    place.database().execute("DELETE FROM statements WHERE n = 0", []).unwrap();
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("damaged: 1 group: the roster does not hold"), "{}", stdout(&output));
    assert_eq!(place.run(&["check", "--repair"]).status.code(), Some(0));
    assert!(stdout(&place.run(&["check"])).starts_with("0 groups, 0 blobs"));
    let relay = place.start().await;
    // The session helper brings the roster.
    assert_eq!(pull(&relay, &b, &chain).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lacks_a_row_is_made_anew() {
    let (place, b, chain) = filled().await;
    place
        .database()
        .execute_batch(
            "PRAGMA writable_schema = ON;
             CREATE TABLE stash AS SELECT * FROM sqlite_schema WHERE name = 'blobs_expiry';
             DELETE FROM sqlite_schema WHERE name = 'blobs_expiry';",
        )
        .unwrap();
    place
        .database()
        .execute_batch(
            "PRAGMA writable_schema = ON;
             DELETE FROM blobs WHERE id = 1;
             UPDATE groups SET blobs = 3, bytes = 1500;
             INSERT INTO sqlite_schema SELECT * FROM stash;
             DROP TABLE stash;",
        )
        .unwrap();
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stdout(&output).contains("damaged: the database itself:"), "{}", stdout(&output));
    let output = place.run(&["check", "--repair"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert_eq!(place.run(&["check"]).status.code(), Some(0));
    let relay = place.start().await;
    assert_eq!(pull(&relay, &b, &chain).await, [blob_id(1), blob_id(2), blob_id(3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_pages_are_gone_is_not_repaired_but_restored() {
    let (place, ..) = filled().await;
    let root: usize = place
        .database()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'blobs'", [], |r| r.get(0))
        .unwrap();
    let path = place.data().join("relay.db");
    let mut file = std::fs::read(&path).unwrap();
    file[(root - 1) * 4096..root * 4096].fill(0xa5);
    std::fs::write(&path, &file).unwrap();
    for args in [&["check"][..], &["check", "--repair"]] {
        let output = place.run(args);
        assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
        let text = stdout(&output);
        assert!(
            text.contains("damaged: the database itself:") && text.contains("zerok-relay restore"),
            "{text}"
        );
    }
    assert_eq!(std::fs::read(&path).unwrap(), file);
}

#[test]
fn what_cannot_be_checked_is_no_damage_but_an_error() {
    let place = Place::new();
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("does not exist"), "{}", stderr(&output));
    std::fs::create_dir(place.data()).unwrap();
    std::fs::write(place.data().join("relay.db"), b"garbage that is longer than a header").unwrap();
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("not a relay's database"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_left_alone() {
    let (place, ..) = filled().await;
    place.database().execute_batch("PRAGMA user_version = 1000").unwrap();
    for args in [&["check"][..], &["check", "--repair"], &["backup", &place.file("b")]] {
        let output = place.run(args);
        assert!(matches!(output.status.code(), Some(1 | 2)));
        assert!(stderr(&output).contains("upgrade"), "{}", stderr(&output));
    }
    let refused = zerok_relay::start(place.config()).await.err().unwrap();
    assert!(refused.to_string().contains("newer version"), "{refused}");
}
