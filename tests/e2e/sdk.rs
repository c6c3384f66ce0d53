//! The Rust SDK against a real daemon.

use std::time::Duration;

use zerok_client::api::{BlobsClient, DaemonClient};
use zerok_client::{Client, Error, ErrorKind, Push, StartAt};
use zerok_tests::{Daemon, Pair, Sandbox};

const PATIENCE: Duration = Duration::from_secs(20);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
}

#[test]
fn a_subscription_goes_on_across_a_restart_of_the_daemon_without_a_gap_or_a_double() {
    let mut pair = Pair::new();
    let (anna, ben) = (pair.anna.socket(), pair.ben.socket());
    let numbers =
        |range: std::ops::Range<u32>| -> Vec<Vec<u8>> { range.map(|n| n.to_string().into_bytes()).collect() };
    let push = |range| {
        block_on(async {
            let client = Client::connect_to(&anna).await.unwrap();
            for data in numbers(range) {
                client.push(Push::new("news", data)).await.unwrap();
            }
        });
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let client = runtime.block_on(Client::connect_to(&ben)).unwrap();
    let mut entries = client.entries("news", StartAt::Beginning);
    let mut got = Vec::new();
    let mut read_until = |count: usize| {
        while got.len() < count {
            let next = async { tokio::time::timeout(PATIENCE, entries.next()).await.expect("in time") };
            let batch = runtime.block_on(next).unwrap();
            got.extend(batch.entries.into_iter().map(|entry| entry.data.0));
        }
        got.clone()
    };
    push(0..30);
    assert_eq!(read_until(30), numbers(0..30));
    pair.ben.kill9();
    push(30..60);
    pair.ben.restart();
    assert_eq!(read_until(60), numbers(0..60));
    assert_eq!(pair.ben.stop(), zerok_tests::Exit::Code(0));
    pair.ben.restart();
    push(60..400);
    assert_eq!(read_until(400), numbers(0..400));
}

#[test]
fn a_large_push_and_a_typed_error_come_through() {
    let pair = Pair::new();
    block_on(async {
        let client = Client::connect_to(pair.anna.socket()).await.unwrap();
        let large = zerok_tests::noise("large", 800 * 1024);
        let pushed = client.push(Push::new("large", large.clone())).await.unwrap();
        let page = client.blob_pull("large".into(), None, None, None, None, None, None, None).await.unwrap();
        assert_eq!(page.entries[0].id, pushed.id);
        assert!(page.entries[0].data.0 == large);
        let refused = client.push(Push::new("$ours", b"x".as_slice())).await.unwrap_err();
        assert_eq!(refused.kind(), Some(ErrorKind::InvalidArgument), "{refused}");
        assert_eq!(client.daemon_version().await.unwrap().api, 1);
    });
}

#[test]
fn without_a_daemon_connect_says_so() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox, "anna");
    daemon.kill9();
    let refused = block_on(Client::connect_to(daemon.socket())).err();
    assert!(matches!(refused, Some(Error::NotRunning { .. })), "{refused:?}");
}
