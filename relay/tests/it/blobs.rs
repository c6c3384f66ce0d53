//! Blobs: stored once, delivered in order, within credit, and gone when everybody has them.

use std::collections::BTreeSet;

use tokio::time::timeout;
use zerok_protocol::*;

use crate::client::{Client, PATIENCE, TestRelay, blob_id, config, push};
use crate::devices::{Chain, Device};

struct Two {
    relay: TestRelay,
    a: Client,
    b: Client,
    chain: Chain,
}

async fn two() -> Two {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (a, b) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    Two { relay, a, b, chain }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_blob_reaches_the_other_device_and_not_the_pusher() {
    let t = two().await;
    let (mut a, _) = t.a.session(&t.chain).await;
    let (mut b, welcome) = t.b.session(&t.chain).await;
    assert_eq!((welcome.max_cursor, welcome.your_acked, welcome.your_last_push), (0, None, None));
    a.subscribe(9, 0, CREDIT_DEFAULT).await;
    b.subscribe(7, 0, CREDIT_DEFAULT).await;
    let (mut to_a, _) = t.a.delivery().await;
    let (mut to_b, first) = t.b.delivery().await;
    assert_eq!((first.group, first.req), (t.chain.roster.group(), 7));
    let ack = a.push(&t.chain, 1, &b"sealed"[..]).await;
    let blob = to_b.blob().await;
    assert_eq!((blob.blob_id, blob.cursor, &blob.payload[..]), (blob_id(1), ack.cursor, &b"sealed"[..]));
    assert_eq!((blob.pusher, blob.timestamp), (Device::new(1).id(), ack.timestamp));
    assert_eq!(to_a.blobs_until(ack.cursor).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_comes_later_gets_everything_in_order_and_is_told_that_it_is_all() {
    let t = two().await;
    let (mut a, _) = t.a.session(&t.chain).await;
    for n in 0..600 {
        a.send(push(&t.chain, n, n.to_be_bytes().to_vec())).await;
    }
    let mut last = 0;
    for _ in 0..600 {
        last = a.ack().await.cursor.max(last);
    }
    let (mut b, welcome) = t.b.session(&t.chain).await;
    assert_eq!(welcome.max_cursor, last);
    b.subscribe(1, 0, CREDIT_DEFAULT).await;
    let (mut to_b, _) = t.b.delivery().await;
    let blobs = to_b.blobs_until(last).await;
    let got: Vec<Vec<u8>> = blobs.iter().map(|b| b.payload.to_vec()).collect();
    assert_eq!(got, (0..600u32).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
    assert!(blobs.is_sorted_by(|x, y| x.cursor < y.cursor));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_push_keeps_its_cursor_and_another_payload_is_a_conflict() {
    let t = two().await;
    let (mut a, _) = t.a.session(&t.chain).await;
    let first = a.push(&t.chain, 1, &b"one"[..]).await;
    a.push(&t.chain, 2, &b"two"[..]).await;
    assert_eq!(a.push(&t.chain, 1, &b"one"[..]).await, first);
    a.send(push(&t.chain, 1, &b"other"[..])).await;
    let e = a.error().await;
    assert_eq!((e.req, e.code), (Some(1), Code::BlobConflict));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_subscriber_of_many_small_blobs_stays_connected_and_gets_all_later() {
    let t = two().await;
    let (mut a, _) = t.a.session(&t.chain).await;
    let (mut b, _) = t.b.session(&t.chain).await;
    // Credit for all, but nobody reads the stream: what QUIC holds must stay bounded (noq-proto 1.4.0 closes the
    // connection when small chunks pile up).
    b.subscribe(1, 0, 100_000).await;
    let mut last = 0;
    for round in 0..50u32 {
        for n in 0..100 {
            a.send(push(&t.chain, round * 100 + n, vec![7; 100])).await;
        }
        for _ in 0..100 {
            last = a.ack().await.cursor.max(last);
        }
    }
    // The session still works, and the rest comes with the credit.
    let (mut to_b, _) = t.b.delivery().await;
    let mut seen = BTreeSet::new();
    for _ in 0..1000 {
        seen.insert(to_b.blob().await.blob_id);
    }
    b.send(Credit { req: 1, bytes: 1_000_000 }).await;
    for blob in to_b.blobs_until(last).await {
        seen.insert(blob.blob_id);
    }
    assert_eq!(seen.len(), 5000);
    assert!(t.b.conn.close_reason().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_is_never_exceeded() {
    let t = two().await;
    let (mut a, _) = t.a.session(&t.chain).await;
    let (mut b, _) = t.b.session(&t.chain).await;
    b.subscribe(1, 0, 2500).await;
    let (mut to_b, _) = t.b.delivery().await;
    for n in 0..5 {
        a.push(&t.chain, n, vec![0; 1000]).await;
    }
    assert_eq!(to_b.blob().await.blob_id, blob_id(0));
    assert_eq!(to_b.blob().await.blob_id, blob_id(1));
    b.send(Credit { req: 1, bytes: 500 }).await;
    assert_eq!(to_b.blob().await.blob_id, blob_id(2));
    // Nothing more is on its way: the answer to a later request comes first.
    let waiting = to_b.try_next();
    tokio::pin!(waiting);
    b.send(Pull { req: 5, after_cursor: 0, limit: Some(1) }).await;
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("delivered without credit"),
        message = b.next() => assert!(matches!(message, Message::PullResponse(_))),
    }
    b.send(Credit { req: 1, bytes: 2000 }).await;
    assert!(matches!(timeout(PATIENCE, waiting).await.unwrap(), Some(Message::Deliver(_))));
    drop(t.relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_its_device_stops_makes_place_for_others_even_without_credit() {
    let t = two().await;
    let (mut a, _) = t.a.session(&t.chain).await;
    a.push(&t.chain, 1, &b"sealed"[..]).await;
    let (mut b, _) = t.b.session(&t.chain).await;
    for req in 0..4 {
        b.subscribe(req, 0, 0).await;
        let (mut delivery, _) = t.b.delivery().await;
        delivery.recv.stop(0u32.into()).unwrap();
    }
    // There are four at most, and the relay notices a moment later that those are over.
    loop {
        b.subscribe(9, 0, CREDIT_DEFAULT).await;
        b.send(Pull { req: 10, after_cursor: 0, limit: Some(1) }).await;
        match b.next().await {
            Message::PullResponse(_) => break,
            Message::Error(e) => assert_eq!(e.code, Code::InvalidMessage),
            other => panic!("{other:?}"),
        }
        assert!(matches!(b.next().await, Message::PullResponse(_)));
    }
    assert_eq!(t.b.delivery().await.0.blob().await.blob_id, blob_id(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_from_a_backup_never_repeats_a_cursor() {
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let relay = TestRelay::start().await;
    let client = Client::connect(&relay.address(), &a).await;
    let (mut session, first) = client.session(&chain).await;
    session.push(&chain, 1, &b"1"[..]).await;
    let dir = relay.dir.clone();
    relay.running.stop().await;
    let (db, backup) = (dir.path().join("relay/relay.db"), dir.path().join("backup"));
    std::fs::copy(&db, &backup).unwrap();
    let running = zerok_relay::start(config(&dir)).await.unwrap();
    let client = Client::connect(running.address(), &a).await;
    let (mut session, _) = client.session(&chain).await;
    let lost = session.push(&chain, 2, &b"2"[..]).await.cursor;
    running.stop().await;
    std::fs::copy(&backup, &db).unwrap();
    let running = zerok_relay::start(config(&dir)).await.unwrap();
    let client = Client::connect(running.address(), &a).await;
    let (mut session, welcome) = client.session(&chain).await;
    // The device sees that the relay went back, and what comes now is told apart from what was lost.
    assert_eq!(welcome.log_id, first.log_id);
    assert!(welcome.max_cursor < lost);
    assert!(session.push(&chain, 3, &b"3"[..]).await.cursor > lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let relay = TestRelay::start().await;
    let dir = relay.dir.clone();
    relay.running.stop().await;
    let db = rusqlite::Connection::open(dir.path().join("relay/relay.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    let error = zerok_relay::start(config(&dir)).await.err().unwrap();
    assert!(matches!(error, zerok_relay::StartError::Database(_)), "{error}");
    assert!(error.to_string().contains("newer version"), "{error}");
    let version: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
    assert_eq!(version, 99);
}
