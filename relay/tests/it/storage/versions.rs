//! Databases of earlier versions.

use rusqlite::{Connection, params};
use zerok_protocol::*;

use super::Place;
use crate::binary::stderr;
use crate::client::{Client, blob_id};
use crate::devices::{Chain, Device};

const NOW: i64 = 1_900_000_000_000;

/// A database of version 1: a pushed three blobs, the last for b alone, of which b has acknowledged the first; and one more
/// that is gone.
fn version_1(place: &Place, chain: &Chain, a: &Device, b: &Device) {
    std::fs::create_dir(place.data()).unwrap();
    let database = Connection::open(place.data().join("relay.db")).unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    database.execute_batch(include_str!("version-1.sql")).unwrap();
    let group = chain.roster.group();
    database
        .execute("INSERT INTO groups VALUES (1, ?1, ?2, 40, 3, 300)", params![group.as_bytes(), [9u8; 16]])
        .unwrap();
    for (n, append) in chain.appends.iter().enumerate() {
        let body = rmp_serde::to_vec_named(append).unwrap();
        database.execute("INSERT INTO statements VALUES (1, ?1, ?2)", params![n, body]).unwrap();
    }
    let last = (blob_id(4), Hash::of(b"gone"));
    database
        .execute(
            "INSERT INTO members VALUES (1, ?1, 1, NULL, ?2, ?3, 40, ?4)",
            params![a.id().as_bytes(), last.0.as_bytes(), last.1.as_bytes(), NOW],
        )
        .unwrap();
    database
        .execute(
            "INSERT INTO members VALUES (1, ?1, 1, 10, NULL, NULL, NULL, NULL)",
            params![b.id().as_bytes()],
        )
        .unwrap();
    for n in 1..=3u32 {
        let payload = [u8::try_from(n).unwrap(); 100];
        let recipient = (n == 3).then(|| *b.id().as_bytes());
        database
            .execute(
                "INSERT INTO blobs VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?6, 100, ?7, ?8)",
                params![
                    n,
                    n * 10,
                    a.id().as_bytes(),
                    blob_id(n).as_bytes(),
                    recipient,
                    NOW,
                    Hash::of(&payload).as_bytes(),
                    payload
                ],
            )
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_database_of_version_1_goes_on_with_all_that_is_in_it() {
    let (place, a, b) = (Place::new(), Device::new(1), Device::new(2));
    let mut chain = Chain::of(&[&a, &b]);
    version_1(&place, &chain, &a, &b);
    // Nothing is judged by tables that it does not have yet.
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("start the relay once"), "{}", stderr(&output));

    let relay = place.start().await;
    let client = Client::connect(relay.address(), &b).await;
    let (mut session, welcome) = client.session(&chain).await;
    assert_eq!((welcome.log_id, welcome.max_cursor, welcome.your_acked), (LogId([9; 16]), 40, Some(10)));
    session.send(Pull { req: 1, after_cursor: 0, limit: None }).await;
    let Message::PullResponse(page) = session.next().await else { panic!("no page") };
    let blobs: Vec<_> = page.blobs.iter().map(|b| (b.blob_id, b.cursor, b.payload[..1].to_vec())).collect();
    let expected: Vec<_> =
        (1..=3).map(|n| (blob_id(n), u64::from(n) * 10, vec![u8::try_from(n).unwrap()])).collect();
    assert_eq!(blobs, expected);
    let pusher = Client::connect(relay.address(), &a).await;
    let (mut pushing, welcome) = pusher.session(&chain).await;
    assert_eq!(welcome.your_last_push, Some(LastPush { blob_id: blob_id(4), cursor: 40 }));
    assert_eq!(pushing.push(&chain, 4, &b"gone"[..]).await.cursor, 40);
    assert_eq!(pushing.push(&chain, 2, vec![2; 100]).await.cursor, 20);
    assert!(pushing.push(&chain, 5, &b"new"[..]).await.cursor > 40);
    chain.add(&a, &Device::new(3));
    pushing.send(RosterAppend { req: 1, statements: chain.appends[2..].to_vec() }).await;
    assert!(matches!(pushing.next().await, Message::RosterOk(_)));
    relay.stop().await;
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", super::stdout(&output));
}

#[test]
fn a_repair_of_a_database_of_version_1_migrates_it_and_drops_nothing() {
    let (place, a, b) = (Place::new(), Device::new(1), Device::new(2));
    version_1(&place, &Chain::of(&[&a, &b]), &a, &b);
    let output = place.run(&["check", "--repair"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(super::stdout(&output), "1 group, 3 blobs (300 B): no damage\n");
    // And from here on it can give room back to the disk.
    let mode: i64 = place.database().pragma_query_value(None, "auto_vacuum", |r| r.get(0)).unwrap();
    assert_eq!(mode, 2);
}
