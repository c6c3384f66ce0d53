//! How long blobs live.

use std::time::Duration;

use zerok_protocol::*;

use crate::client::{Client, Stream, TestRelay, blob_id, push};
use crate::devices::{Chain, Device};

/// All blobs that the session's device may see.
async fn all(stream: &mut Stream) -> Vec<BlobId> {
    let (mut after_cursor, mut blobs) = (0, Vec::new());
    loop {
        stream.send(Pull { req: 77, after_cursor, limit: None }).await;
        let Message::PullResponse(page) = stream.next().await else { panic!("no page") };
        blobs.extend(page.blobs.iter().map(|b| b.blob_id));
        after_cursor = page.upto;
        if !page.has_more {
            return blobs;
        }
    }
}

/// Repeats the question until the answer is the expected one: acknowledgements become durable a moment later.
async fn until(stream: &mut Stream, expected: &[BlobId]) {
    let waiting = async {
        while all(stream).await != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::client::PATIENCE, waiting)
        .await
        .expect("the blobs did not become as expected");
}

async fn sessions(relay: &TestRelay, chain: &Chain, devices: &[&Device]) -> Vec<(Client, Stream)> {
    let mut sessions = Vec::new();
    for device in devices {
        let client = Client::connect(&relay.address(), device).await;
        let (stream, _) = client.session(chain).await;
        sessions.push((client, stream));
    }
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_goes_when_every_other_member_has_acknowledged_it_and_not_before() {
    let relay = TestRelay::start().await;
    let (a, b, c) = (Device::new(1), Device::new(2), Device::new(3));
    let chain = Chain::of(&[&a, &b, &c]);
    let mut s = sessions(&relay, &chain, &[&a, &b, &c]).await;
    let one = s[0].1.push(&chain, 1, &b"1"[..]).await.cursor;
    s[0].1.push(&chain, 2, &b"2"[..]).await;
    s[1].1.send(Ack { cursor: one }).await;
    s[1].1.send(Ack { cursor: u64::MAX }).await;
    // Only one of two has them: everything stays, and a new session is told what it acknowledged.
    assert_eq!(all(&mut s[2].1).await, [blob_id(1), blob_id(2)]);
    s[2].1.send(Ack { cursor: one }).await;
    until(&mut s[2].1, &[blob_id(2)]).await;
    assert_eq!(all(&mut s[1].1).await, [blob_id(2)]);
    let (_, welcome) = s[2].0.session(&chain).await;
    assert_eq!(welcome.your_acked, Some(one));
    let (_, welcome) = s[0].0.session(&chain).await;
    assert_eq!((welcome.your_acked, welcome.your_last_push.map(|p| p.blob_id)), (None, Some(blob_id(2))));
    // The repeat of the last push is known even when the blob is gone.
    s[2].1.send(Ack { cursor: welcome.max_cursor }).await;
    until(&mut s[2].1, &[]).await;
    assert_eq!(s[0].1.push(&chain, 2, &b"2"[..]).await.cursor, welcome.max_cursor);
    s[0].1.send(push(&chain, 2, &b"another"[..])).await;
    assert_eq!(s[0].1.error().await.code, Code::BlobConflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_is_seen_by_its_recipient_alone_and_goes_when_that_one_has_it() {
    let relay = TestRelay::start().await;
    let (a, b, c) = (Device::new(1), Device::new(2), Device::new(3));
    let chain = Chain::of(&[&a, &b, &c]);
    let mut s = sessions(&relay, &chain, &[&a, &b, &c]).await;
    s[0].1.send(Push { recipient: Some(c.id()), ..push(&chain, 1, &b"1"[..]) }).await;
    let cursor = s[0].1.ack().await.cursor;
    assert_eq!(all(&mut s[1].1).await, []);
    assert_eq!(all(&mut s[2].1).await, [blob_id(1)]);
    s[2].1.subscribe(5, 0, CREDIT_DEFAULT).await;
    let (mut delivery, _) = s[2].0.delivery().await;
    assert_eq!(delivery.blob().await.blob_id, blob_id(1));
    s[2].1.send(Ack { cursor }).await;
    until(&mut s[2].1, &[]).await;
    let stranger = Some(Device::new(9).id());
    s[0].1.send(Push { recipient: stranger, ..push(&chain, 2, &b"2"[..]) }).await;
    assert_eq!(s[0].1.error().await.code, Code::InvalidMessage);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_member_keeps_its_blobs_for_who_may_come() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let mut chain = Chain::new(&a);
    let mut s = sessions(&relay, &chain, &[&a]).await;
    let cursor = s[0].1.push(&chain, 1, &b"1"[..]).await.cursor;
    s[0].1.send(Ack { cursor }).await;
    chain.add(&a, &b);
    s[0].1.send(RosterAppend { req: 1, statements: chain.appends[1..].to_vec() }).await;
    assert!(matches!(s[0].1.next().await, Message::RosterOk(_)));
    let mut joined = sessions(&relay, &chain, &[&b]).await;
    assert_eq!(all(&mut joined[0].1).await, [blob_id(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_no_longer_holds_back_what_the_others_have() {
    let relay = TestRelay::start().await;
    let (a, b, c) = (Device::new(1), Device::new(2), Device::new(3));
    let mut chain = Chain::of(&[&a, &b, &c]);
    let mut s = sessions(&relay, &chain, &[&a, &b]).await;
    let cursor = s[0].1.push(&chain, 1, &b"1"[..]).await.cursor;
    s[1].1.send(Ack { cursor }).await;
    chain.revoke(&a, &c);
    s[0].1.send(RosterAppend { req: 1, statements: chain.appends[3..].to_vec() }).await;
    assert!(matches!(s[0].1.next().await, Message::RosterOk(_)));
    until(&mut s[1].1, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_is_no_longer_waited_for() {
    let relay = TestRelay::start().await;
    let (a, b, c) = (Device::new(1), Device::new(2), Device::new(3));
    let mut chain = Chain::of(&[&a, &b, &c]);
    let mut s = sessions(&relay, &chain, &[&a, &b, &c]).await;
    let cursor = s[0].1.push(&chain, 1, &b"1"[..]).await.cursor;
    s[1].1.send(Ack { cursor }).await;
    assert_eq!(all(&mut s[1].1).await, [blob_id(1)]);
    chain.leave(&c);
    s[2].1.send(RosterAppend { req: 1, statements: chain.appends[3..].to_vec() }).await;
    until(&mut s[1].1, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_member_is_not_waited_for() {
    let relay = TestRelay::start().await;
    let (a, b, file) = (Device::new(1), Device::new(2), Device::new(3));
    let mut chain = Chain::of(&[&a, &b]);
    chain.recovery(&a, &file);
    let mut s = sessions(&relay, &chain, &[&a, &b]).await;
    let one = s[0].1.push(&chain, 1, &b"1"[..]).await.cursor;
    let two = s[1].1.push(&chain, 2, &b"2"[..]).await.cursor;
    s[1].1.send(Ack { cursor: one }).await;
    until(&mut s[1].1, &[]).await;
    assert_eq!(all(&mut s[0].1).await, [blob_id(2)]);
    s[0].1.send(Ack { cursor: two }).await;
    until(&mut s[0].1, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_member_alone_keeps_nothing_from_staying() {
    let relay = TestRelay::start().await;
    let (a, file) = (Device::new(1), Device::new(3));
    let mut chain = Chain::new(&a);
    chain.recovery(&a, &file);
    let mut s = sessions(&relay, &chain, &[&a]).await;
    let cursor = s[0].1.push(&chain, 1, &b"1"[..]).await.cursor;
    s[0].1.send(Ack { cursor }).await;
    // Nobody is there who could have it: it stays for who may come.
    let mut recovered = sessions(&relay, &chain, &[&file]).await;
    assert_eq!(all(&mut recovered[0].1).await, [blob_id(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_to_live_is_an_hour_at_least_thirty_days_at_most_and_a_week_by_itself() {
    let relay = TestRelay::start().await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let mut s = sessions(&relay, &chain, &[&a]).await;
    for (n, ttl_seconds) in [(1, Some(0)), (2, Some(7200)), (3, Some(u64::MAX)), (4, None)] {
        s[0].1.send(Push { ttl_seconds, ..push(&chain, n, &b"1"[..]) }).await;
        s[0].1.ack().await;
    }
    let dir = relay.dir.clone();
    relay.running.stop().await;
    let database = rusqlite::Connection::open(dir.path().join("relay/relay.db")).unwrap();
    let mut select =
        database.prepare("SELECT (expires_ms - stored_ms) / 1000 FROM blobs ORDER BY cursor").unwrap();
    let lives: Vec<u64> = select.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(lives, [3600, 7200, 30 * 86_400, 7 * 86_400]);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_quota_the_oldest_of_all_pushers_that_another_has_go_first() {
    let relay = TestRelay::with(|c| c.storage.max_group_storage = 1 << 20).await;
    let (a, b, c) = (Device::new(1), Device::new(2), Device::new(3));
    let chain = Chain::of(&[&a, &b, &c]);
    let mut s = sessions(&relay, &chain, &[&a, &b, &c]).await;
    s[1].1.push(&chain, 1, vec![1; 260_000]).await;
    s[0].1.push(&chain, 2, vec![2; 260_000]).await;
    s[1].1.push(&chain, 3, vec![3; 260_000]).await;
    let four = s[0].1.push(&chain, 4, vec![4; 260_000]).await.cursor;
    // b has all of a's, a has nothing of b's.
    s[1].1.send(Ack { cursor: four }).await;
    until_stored(&mut s[1]).await;
    s[1].1.push(&chain, 5, vec![5; 260_000]).await;
    assert_eq!(all(&mut s[2].1).await, [1, 3, 4, 5].map(blob_id));
    s[1].1.push(&chain, 6, vec![6; 260_000]).await;
    assert_eq!(all(&mut s[2].1).await, [1, 3, 5, 6].map(blob_id));
    // What nobody else has is left: it stays.
    s[1].1.send(push(&chain, 7, vec![7; 260_000])).await;
    assert_eq!(s[1].1.error().await.code, Code::GroupQuotaExceeded);
}

/// Until its acknowledgement is known to the relay: the answer to what comes behind it on the stream.
async fn until_stored(session: &mut (Client, Stream)) {
    all(&mut session.1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_quota_what_another_has_goes_first_and_then_it_is_full() {
    let relay = TestRelay::with(|c| {
        c.storage.max_blob_size = 10_000;
        c.storage.max_group_storage = 10_000;
    })
    .await;
    let (a, b, c) = (Device::new(1), Device::new(2), Device::new(3));
    let chain = Chain::of(&[&a, &b, &c]);
    let mut s = sessions(&relay, &chain, &[&a, &b, &c]).await;
    let one = s[0].1.push(&chain, 1, vec![1; 4000]).await.cursor;
    s[0].1.push(&chain, 2, vec![2; 4000]).await;
    s[0].1.send(push(&chain, 3, vec![3; 4000])).await;
    let e = s[0].1.error().await;
    assert_eq!((e.req, e.code, e.retry_after_ms), (Some(3), Code::GroupQuotaExceeded, Some(60_000)));
    // Repeats are answered at any time.
    assert_eq!(s[0].1.push(&chain, 1, vec![1; 4000]).await.cursor, one);
    s[1].1.send(Ack { cursor: one }).await;
    // Once b has the first, it makes room.
    let three = loop {
        s[0].1.send(push(&chain, 3, vec![3; 4000])).await;
        match s[0].1.next().await {
            Message::PushAck(ack) => break ack.cursor,
            Message::Error(e) => assert_eq!(e.code, Code::GroupQuotaExceeded),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(all(&mut s[2].1).await, [blob_id(2), blob_id(3)]);
    assert!(three > one);
    s[0].1.send(push(&chain, 4, vec![0; 10_000])).await;
    assert_eq!(s[0].1.error().await.code, Code::GroupQuotaExceeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_over_the_relays_limit_is_never_taken() {
    let relay = TestRelay::with(|c| c.storage.max_blob_size = 100).await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let mut s = sessions(&relay, &chain, &[&a]).await;
    s[0].1.push(&chain, 1, vec![0; 100]).await;
    s[0].1.send(push(&chain, 2, vec![0; 101])).await;
    let e = s[0].1.error().await;
    assert_eq!((e.req, e.code), (Some(2), Code::BlobTooLarge));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_time_is_over_goes() {
    let relay = TestRelay::with(|c| {
        c.storage.default_ttl_secs = 1;
        c.storage.max_ttl_secs = 1;
        c.cleanup.interval_secs = 1;
    })
    .await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let mut s = sessions(&relay, &chain, &[&a, &b]).await;
    s[0].1.push(&chain, 1, &b"1"[..]).await;
    assert_eq!(all(&mut s[1].1).await, [blob_id(1)]);
    until(&mut s[1].1, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_bounded_by_count_and_bytes_and_lose_nothing() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let mut s = sessions(&relay, &chain, &[&a, &b]).await;
    for n in 0..5 {
        s[0].1.push(&chain, n, vec![0; MAX_BLOB - 10]).await;
    }
    for n in 5..20 {
        s[0].1.push(&chain, n, vec![0; 10]).await;
    }
    let (mut after, mut got, mut pages) = (0, Vec::new(), 0);
    loop {
        s[1].1.send(Pull { req: 1, after_cursor: after, limit: Some(10) }).await;
        let Message::PullResponse(page) = s[1].1.next().await else { panic!("no page") };
        assert!(page.blobs.len() <= 10);
        got.extend(page.blobs.iter().map(|b| b.blob_id));
        after = page.upto;
        pages += 1;
        if !page.has_more {
            break;
        }
    }
    assert_eq!(got, (0..20).map(blob_id).collect::<Vec<_>>());
    assert_eq!(pages, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_tell_of_blobs_without_carrying_them() {
    let relay = TestRelay::start().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let mut s = sessions(&relay, &chain, &[&a, &b]).await;
    let mode = SubscribeMode::Notify;
    s[1].1.send(Subscribe { req: 1, after_cursor: 0, mode, credit: 0 }).await;
    let cursor = s[0].1.push(&chain, 1, vec![0; 500]).await.cursor;
    assert_eq!(s[1].1.next().await, Notify { cursor, size: 500 }.into());
}
