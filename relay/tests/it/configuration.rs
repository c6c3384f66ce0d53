//! Keys that change what a relay does, where no other test shows it.

use std::time::{Duration, Instant};

use zerok_protocol::*;
use zerok_relay::{Config, DataDirError, StartError};

use crate::binary::{command, run, stderr};
use crate::client::{Client, PATIENCE, TestRelay, config, hello, push};
use crate::devices::{Chain, Device};

#[test]
fn the_example_file_is_the_default() {
    let text = include_str!("../../relay.example.toml");
    assert_eq!(toml::from_str::<Config>(text).unwrap(), Config::default());
    let token = text.replace("# admission = \"token\"", "admission = \"token\"");
    let config: Config = toml::from_str(&token).unwrap();
    assert_eq!(config.server.admission, Some(zerok_relay::Admission::Token));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_advertised_is_what_devices_are_told() {
    let public = "192.0.2.7:4433".parse().unwrap();
    let relay = TestRelay::with(|c| c.server.advertise = vec![public]).await;
    assert_eq!(relay.address().addrs, [public]);
    let relay = TestRelay::start().await;
    assert!(relay.address().addrs[0].ip().is_loopback() && relay.address().addrs[0].port() != 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bound_to_all_interfaces_it_tells_their_addresses() {
    let relay = TestRelay::with(|c| {
        c.server.bind = "0.0.0.0:0".parse().unwrap();
        c.server.admission = Some(zerok_relay::Admission::Open);
    })
    .await;
    let addrs = relay.address().addrs;
    assert!(!addrs.is_empty() && addrs.iter().all(|a| !a.ip().is_unspecified() && a.port() != 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_total_quota_holds_over_all_groups() {
    let relay = TestRelay::with(|c| {
        c.storage.max_blob_size = 5000;
        c.storage.max_total_storage = 5000;
    })
    .await;
    let (a, b) = (Device::new(1), Device::new(2));
    let (one, two) = (Chain::new(&a), Chain::new(&b));
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let ((mut sa, _), (mut sb, _)) = (ca.session(&one).await, cb.session(&two).await);
    sa.push(&one, 1, vec![0; 3000]).await;
    sb.send(push(&two, 1, vec![0; 3000])).await;
    assert_eq!(sb.error().await.code, Code::GroupQuotaExceeded);
    sb.push(&two, 2, vec![0; 2000]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_lives_as_long_as_asked_within_bounds() {
    let relay = TestRelay::with(|c| {
        c.storage.default_ttl_secs = 7000;
        c.storage.max_ttl_secs = 9000;
    })
    .await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(&relay.address(), &a).await;
    let (mut stream, welcome) = client.session(&chain).await;
    assert_eq!(welcome.limits.max_ttl_seconds, 9000);
    for (n, ttl_seconds) in [(1, None), (2, Some(8000)), (3, Some(1)), (4, Some(u64::MAX))] {
        stream.send(Push { ttl_seconds, ..push(&chain, n, &b"x"[..]) }).await;
        stream.ack().await;
    }
    let db = rusqlite::Connection::open(relay.dir.path().join("relay/relay.db")).unwrap();
    let mut select = db.prepare("SELECT (expires_ms - stored_ms) / 1000 FROM blobs ORDER BY cursor").unwrap();
    let lives: Vec<i64> = select.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(lives, [7000, 8000, 3600, 9000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_no_more_streams_than_allowed() {
    let relay = TestRelay::with(|c| c.limits.max_streams_per_connection = 2).await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(&relay.address(), &a).await;
    let (_one, _two) = (client.session(&chain).await, client.session(&chain).await);
    let third = client.conn.open_bi();
    tokio::pin!(third);
    // Whether it could open is known at once.
    assert!(futures_util::poll!(third.as_mut()).is_pending());
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_mailboxes_and_chunks_than_allowed() {
    let relay = TestRelay::with(|c| {
        c.limits.max_mailboxes = 1;
        c.content.max_total = 1000;
    })
    .await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(&relay.address(), &a).await;
    let (_session, _) = client.session(&chain).await;
    let mut stream = client.open().await;
    for (req, name) in [(1, 1), (2, 2)] {
        let mailbox = MailboxId([name; 16]);
        stream.send(MailboxOpen { req, mailbox, expiry_seconds: 60, notice: None }).await;
    }
    assert_eq!(stream.next().await, MailboxOk { req: 1 }.into());
    assert_eq!(stream.error().await.code, Code::RelayOverloaded);
    let mut stream = client.open().await;
    let data = bytes::Bytes::from(vec![0; 1001]);
    let put = ChunkPut { req: 1, group: chain.roster.group(), address: Hash::of(&data), data };
    stream.send(put).await;
    assert_eq!(stream.next().await, ChunkPutAck { req: 1, outcome: ChunkOutcome::Full }.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_relay_without_stopping_it_ends_it() {
    let relay = TestRelay::start().await;
    let a = Device::new(1);
    let client = Client::connect(&relay.address(), &a).await;
    let mut stream = client.open().await;
    stream.send(hello(&Chain::new(&a))).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
    let TestRelay { running, dir } = relay;
    drop(running);
    // Another one can have the data as soon as the last task has let go of it.
    let free = async {
        loop {
            match zerok_relay::start(config(&dir)).await {
                Ok(running) => return running.stop().await,
                Err(StartError::DataDir(DataDirError::Busy)) => tokio::task::yield_now().await,
                Err(e) => panic!("{e}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, free).await.expect("the relay goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_database_and_chunks_can_be_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let start = |key: Option<&str>| {
        let mut config = config(&dir);
        config.server.secret_key_path = key.map(at);
        config.storage.database = Some(at("blobs.db"));
        config.content.dir = Some(at("cache"));
        zerok_relay::start(config)
    };
    let running = start(Some("identity")).await.unwrap();
    let first = running.address().id;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(running.address(), &a).await;
    let (mut session, _) = client.session(&chain).await;
    session.push(&chain, 1, &b"1"[..]).await;
    let mut chunks = client.open().await;
    let data = bytes::Bytes::from_static(b"chunk");
    let put = ChunkPut { req: 1, group: chain.roster.group(), address: Hash::of(&data), data };
    chunks.send(put).await;
    assert!(matches!(chunks.next().await, Message::ChunkPutAck(_)));
    running.stop().await;
    for there in ["identity", "blobs.db", "cache"] {
        assert!(at(there).exists(), "{there}");
    }
    for default in ["relay/relay.key", "relay/relay.db", "relay/chunks"] {
        assert!(!at(default).exists(), "{default}");
    }
    assert_eq!(std::fs::read_dir(at("cache")).unwrap().count(), 1);
    let again = start(Some("identity")).await.unwrap();
    assert_eq!(again.address().id, first);
    again.stop().await;
    let other = start(None).await.unwrap();
    assert_ne!(other.address().id, first);
    other.stop().await;
}

/// How long a stop takes with a device that has vanished.
async fn stop_takes(grace: u64) -> Duration {
    let relay = TestRelay::with(|c| c.server.shutdown_grace_secs = grace).await;
    let address = relay.address();
    let (vanished, when) = tokio::sync::oneshot::channel();
    let (end, over) = std::sync::mpsc::channel::<()>();
    // A runtime that nobody drives any more neither sends nor receives: as a device that lost its power.
    let device = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let held = runtime.block_on(async {
            let a = Device::new(1);
            let client = Client::connect(&address, &a).await;
            let (session, _) = client.session(&Chain::new(&a)).await;
            (client, session)
        });
        vanished.send(()).unwrap();
        let _ = over.recv();
        drop(held);
    });
    when.await.unwrap();
    let start = Instant::now();
    relay.running.stop().await;
    let took = start.elapsed();
    drop(end);
    tokio::task::spawn_blocking(|| device.join().unwrap()).await.unwrap();
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_as_long_as_it_may_for_a_device_that_has_vanished() {
    let (short, long) = tokio::join!(stop_takes(1), stop_takes(4));
    assert!(short < Duration::from_millis(1900), "{short:?}");
    assert!(long >= Duration::from_millis(1900) && long < Duration::from_secs(5), "{long:?}");
}

#[test]
fn what_makes_no_sense_is_found_by_validate_and_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = |variable: &str, value: &str, args: &[&str]| {
        let output = run(command(dir.path()).args(args).env(variable, value));
        assert_eq!(output.status.code(), Some(2), "{variable}");
        let text = stderr(&output);
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    for args in [&["--validate"][..], &["--bind", "127.0.0.1:0"]] {
        let told = wrong("ZEROK_RELAY_STORAGE_MAX_GROUP_STORAGE", "1000", args);
        assert!(told.contains("storage.max_group_storage = 1000") && told.contains("full blob"), "{told}");
        let told = wrong("ZEROK_RELAY_STORAGE_MAX_TTL_SECS", "60", args);
        assert!(told.contains("storage.max_ttl_secs = 60"), "{told}");
        let told = wrong("ZEROK_RELAY_LIMITS_SIGNALS_PER_MINUTE_BURST", "0", args);
        assert!(told.contains("limits.signals_per_minute_burst = 0"), "{told}");
        let told = wrong("ZEROK_RELAY_STORAGE_RESERVE_FREE_DISK", "60 %", args);
        assert!(told.contains("ZEROK_RELAY_STORAGE_RESERVE_FREE_DISK") && told.contains("0 to 50"), "{told}");
    }
    let sound = run(command(dir.path()).arg("--validate").env("ZEROK_RELAY_STORAGE_RESERVE_FREE_DISK", "6"));
    assert_eq!(sound.status.code(), Some(0));
    assert!(!dir.path().join("data").exists());
}
