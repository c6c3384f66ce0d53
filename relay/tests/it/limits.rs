//! What a device, and all of them together, may do once connected: each limit bites, and honest use notices none.

use std::time::{Duration, Instant};

use bytes::Bytes;
use zerok_protocol::*;
use zerok_relay::StartError;

use crate::client::{Client, TestRelay, config, push};
use crate::devices::{Chain, Device};
use crate::http::{request, value};

async fn relay(change: impl FnOnce(&mut zerok_relay::Config)) -> TestRelay {
    TestRelay::with(|config| {
        config.http.bind = Some("127.0.0.1:0".parse().unwrap());
        change(config);
    })
    .await
}

async fn metrics(relay: &TestRelay) -> String {
    request(relay, "GET /metrics").await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devices_share_is_one_over_all_its_connections() {
    let relay = relay(|c| {
        c.limits.messages_per_minute = 1;
        c.limits.messages_per_minute_burst = 5;
    })
    .await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let (one, two) =
        (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &a).await);
    // HELLO, ROSTER_APPEND, HELLO; then HELLO.
    let ((mut first, _), (mut second, _)) = (one.session(&chain).await, two.session(&chain).await);
    first.push(&chain, 1, &b"1"[..]).await;
    second.send(push(&chain, 2, &b"2"[..])).await;
    let e = second.error().await;
    assert_eq!((e.req, e.code), (Some(2), Code::RateLimited));
    assert!((50_000..=60_000).contains(&e.retry_after_ms.unwrap()), "{:?}", e.retry_after_ms);
    let metrics = metrics(&relay).await;
    assert_eq!(value(&metrics, "zerok_relay_rate_limited_total{limit=\"messages_per_minute\"}"), 1.0);
    assert_eq!(value(&metrics, "zerok_relay_errors_total{code=\"2000\"}"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_devices_together_are_paced_and_told_when_to_try_again() {
    let relay = relay(|c| {
        c.limits.global_requests_per_second = 1;
        c.limits.global_requests_per_second_burst = 7;
    })
    .await;
    let (a, b) = (Device::new(1), Device::new(2));
    let (one, two) = (Chain::new(&a), Chain::new(&b));
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    // Three each.
    let ((_sa, _), (mut sb, _)) = (ca.session(&one).await, cb.session(&two).await);
    let mut refused = None;
    for n in 1..=20 {
        sb.send(push(&two, n, &b"b"[..])).await;
        match sb.next().await {
            Message::PushAck(_) => {}
            Message::Error(e) => {
                refused = Some(e);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let e = refused.expect("twenty at once passed");
    assert_eq!(e.code, Code::RateLimited);
    let wait = Duration::from_millis(e.retry_after_ms.unwrap());
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    tokio::time::sleep(wait).await;
    sb.push(&two, 30, &b"b"[..]).await;
    let metrics = metrics(&relay).await;
    assert_eq!(value(&metrics, "zerok_relay_rate_limited_total{limit=\"global_requests_per_second\"}"), 1.0);
}

const RATE: u64 = 256 << 10;

/// A relay with two members of one group online, that moves [`RATE`] bytes a second for each.
async fn slow_pair() -> (TestRelay, Chain, Client, Client) {
    let relay = relay(|c| {
        c.limits.bytes_per_second_per_device = RATE;
        c.limits.bytes_per_second_per_device_burst = 64 << 10;
    })
    .await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (a, b) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    (relay, chain, a, b)
}

/// What 512 KiB take, the first 64 of which are free.
const AT_LEAST: Duration = Duration::from_millis(1700);

#[tokio::test(flavor = "multi_thread")]
async fn blobs_in_and_out_take_their_time_and_none_is_refused() {
    let (relay, chain, a, b) = slow_pair().await;
    let (mut sa, _) = a.session(&chain).await;
    let start = Instant::now();
    for n in 0..4 {
        sa.send(push(&chain, n, vec![0; 128 << 10])).await;
    }
    let mut last = 0;
    for _ in 0..4 {
        last = sa.ack().await.cursor;
    }
    assert!(start.elapsed() >= AT_LEAST, "{:?}", start.elapsed());
    // The other has a share of its own.
    let (mut sb, _) = b.session(&chain).await;
    let start = Instant::now();
    sb.subscribe(1, 0, CREDIT_DEFAULT).await;
    let (mut delivery, _) = b.delivery().await;
    assert_eq!(delivery.blobs_until(last).await.len(), 4);
    assert!(start.elapsed() >= AT_LEAST, "{:?}", start.elapsed());
    let start = Instant::now();
    sb.send(Pull { req: 2, after_cursor: 0, limit: Some(4) }).await;
    assert!(matches!(sb.next().await, Message::PullResponse(page) if page.blobs.len() == 4));
    assert!(start.elapsed() >= AT_LEAST, "{:?}", start.elapsed());
    let metrics = metrics(&relay).await;
    assert!(value(&metrics, "zerok_relay_rate_limited_total{limit=\"bytes_per_second_per_device\"}") >= 3.0);
    assert!(!metrics.contains("errors_total{code=\"2000\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_in_and_out_take_their_time_and_none_is_refused() {
    let (_relay, chain, a, b) = slow_pair().await;
    let (_sessions, group) = ((a.session(&chain).await, b.session(&chain).await), chain.roster.group());
    let chunks: Vec<Bytes> = (0..4).map(|n| Bytes::from(vec![n; 128 << 10])).collect();
    let mut stream = a.open().await;
    let start = Instant::now();
    for (req, data) in (0..).zip(&chunks) {
        stream.send(ChunkPut { req, group, address: Hash::of(data), data: data.clone() }).await;
    }
    for _ in 0..4 {
        assert!(matches!(stream.next().await, Message::ChunkPutAck(a) if a.outcome == ChunkOutcome::Stored));
    }
    assert!(start.elapsed() >= AT_LEAST, "{:?}", start.elapsed());
    let mut stream = b.open().await;
    let start = Instant::now();
    let addresses = chunks.iter().map(|data| Hash::of(data)).collect();
    stream.send(ChunkGet { req: 1, group, addresses, wait_ms: 0 }).await;
    for _ in 0..4 {
        assert!(matches!(stream.next().await, Message::Chunk(chunk) if chunk.data.is_some()));
    }
    assert!(start.elapsed() >= AT_LEAST, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_waits_for_its_share_does_not_hold_up_a_stop() {
    let (relay, chain, a, _b) = slow_pair().await;
    let (mut stream, _) = a.session(&chain).await;
    for n in 0..2 {
        stream.send(push(&chain, n, vec![0; 1 << 20])).await;
    }
    let start = Instant::now();
    relay.running.stop().await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

/// A busy day: two devices, many blobs at once, signals, chunks, mailboxes, lost connections.
#[tokio::test(flavor = "multi_thread")]
async fn honest_use_notices_no_limit() {
    let relay = relay(|c| c.limits.bytes_per_second_per_device = 100 << 20).await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let group = chain.roster.group();
    let ca = Client::connect(&relay.address(), &a).await;
    let (mut sa, _) = ca.session(&chain).await;
    for n in 0..2000 {
        sa.send(push(&chain, n, vec![0; 100])).await;
    }
    let mut last = 0;
    for _ in 0..2000 {
        last = sa.ack().await.cursor;
    }
    // A train in a tunnel.
    for _ in 0..12 {
        let cb = Client::connect(&relay.address(), &b).await;
        let (mut sb, _) = cb.session(&chain).await;
        sb.subscribe(1, 0, CREDIT_DEFAULT).await;
        let (mut delivery, _) = cb.delivery().await;
        assert_eq!(delivery.blobs_until(last).await.len(), 2000);
        for _ in 0..20 {
            sb.send(Signal { recipient: None, sender: None, payload: Bytes::from_static(b"s") }).await;
        }
        for n in 1..=20 {
            sb.send(Pull { req: n, after_cursor: 0, limit: Some(1) }).await;
        }
        for _ in 0..20 {
            assert!(matches!(sb.next().await, Message::PullResponse(_)));
        }
    }
    let mut mailbox = ca.open().await;
    for n in 0..10 {
        let open = MailboxOpen { req: n, mailbox: MailboxId([1; 16]), expiry_seconds: 60, notice: None };
        mailbox.send(open).await;
        assert_eq!(mailbox.next().await, MailboxOk { req: n }.into());
    }
    let mut chunks = ca.open().await;
    for n in 0..64 {
        let data = Bytes::from(vec![n; 100 << 10]);
        chunks.send(ChunkPut { req: 1, group, address: Hash::of(&data), data }).await;
        assert!(matches!(chunks.next().await, Message::ChunkPutAck(a) if a.outcome == ChunkOutcome::Stored));
    }
    let metrics = metrics(&relay).await;
    for refused in [
        "rate_limited_total{",
        "rejected_handshakes_total{",
        "errors_total{code=\"2",
        "errors_total{code=\"3",
    ] {
        let counted = |line: &str| line.contains(refused) && !line.ends_with(" 0");
        assert!(!metrics.lines().any(counted), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_makes_no_sense_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = config(&dir);
    wrong.storage.max_group_storage = 1000;
    let error = zerok_relay::start(wrong).await.err().unwrap();
    assert!(matches!(error, StartError::Config(_)));
    assert!(error.to_string().starts_with("storage.max_group_storage = 1000: "), "{error}");
    assert!(!dir.path().join("relay").exists());
}
