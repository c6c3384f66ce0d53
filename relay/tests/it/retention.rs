//! How long blobs live.

use zerok_protocol::*;

use crate::client::{Client, Stream, TestRelay, blob_id, push};
use crate::devices::{Chain, Device};

/// All blobs that the session's device may see.
async fn all(stream: &mut Stream) -> Vec<BlobId> {
    loop {
        stream.send(Pull { req: 77, after_cursor: 0, limit: None }).await;
        match stream.next().await {
            Message::PullResponse(page) => {
                assert!(!page.has_more);
                return page.blobs.iter().map(|b| b.blob_id).collect();
            }
            // Who asks again and again is told when.
            Message::Error(Error { code: Code::RateLimited, retry_after_ms: Some(ms), .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Repeats the question until the answer is the expected one: acknowledgements become durable a moment later.
async fn until(stream: &mut Stream, expected: &[BlobId]) {
    let waiting = async { while all(stream).await != expected {} };
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
