//! The client against a daemon that drops, cuts and restarts.

#[expect(unreachable_pub, reason = "a module of this test only")]
mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use zerok_client::{Client, Entries, Error, Push, StartAt};

use crate::fake::Fake;

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("took too long")
}

/// Reads until this many entries have come; they must be the first ones, each once, in order.
async fn expect(entries: &mut Entries, from: u64, until: u64) {
    let mut n = from;
    while n < until {
        for entry in within(entries.next()).await.expect("entries").entries {
            assert_eq!(entry.n, n);
            n += 1;
        }
    }
}

/// Waits until a counter of the fake has come so far.
async fn reached(counter: &AtomicUsize, count: usize) {
    let reached = async {
        while counter.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    };
    within(reached).await;
}

/// A channel with one entry, and its reader, which has it and waits for notifications.
async fn live() -> (Fake, Entries) {
    let fake = Fake::start();
    let client = Client::connect_to(fake.socket()).await.expect("the fake runs");
    let mut entries = client.entries("c", StartAt::Beginning);
    let state = Arc::clone(&fake.state);
    tokio::join!(expect(&mut entries, 0, 1), async {
        reached(&state.begun, 1).await;
        state.append(1);
    });
    (fake, entries)
}

#[tokio::test]
async fn stored_entries_come_first_and_new_ones_after_them() {
    let fake = Fake::start();
    fake.state.append(25);
    let client = Client::connect_to(fake.socket()).await.unwrap();
    let mut entries = client.entries("c", StartAt::Beginning);
    expect(&mut entries, 0, 25).await;
    fake.state.append(5);
    expect(&mut entries, 25, 30).await;
    assert_eq!(entries.cursor(), Some("30"));
}

#[tokio::test]
async fn a_reader_that_was_too_slow_for_the_notifications_misses_nothing() {
    let (fake, mut entries) = live().await;
    // More than the client keeps for a reader that is away: it ends the subscription.
    fake.state.append(2000);
    reached(&fake.state.ended, 1).await;
    expect(&mut entries, 1, 2001).await;
}

#[tokio::test]
async fn a_notification_that_does_not_follow_the_one_before_makes_it_read_again() {
    let (fake, mut entries) = live().await;
    fake.state.skip_one.store(true, Ordering::SeqCst);
    fake.state.append(2);
    expect(&mut entries, 1, 3).await;
}

#[tokio::test]
async fn a_subscription_survives_the_daemons_restart() {
    let (mut fake, mut entries) = live().await;
    fake.restart();
    fake.state.append(3);
    expect(&mut entries, 1, 4).await;
}

#[tokio::test]
async fn a_push_whose_answer_was_lost_is_repeated_with_the_same_key() {
    let fake = Fake::start();
    let client = Client::connect_to(fake.socket()).await.unwrap();
    fake.state.cut_next_push.store(true, Ordering::SeqCst);
    let large = vec![0; 300 * 1024];
    let pushed = within(client.push(Push::new("c", large))).await.unwrap();
    assert_eq!(pushed.id, "c:1");
    let keys = fake.state.keys.lock().unwrap().clone();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn two_pushes_have_two_keys() {
    let fake = Fake::start();
    let client = Client::connect_to(fake.socket()).await.unwrap();
    for size in [0, 300 * 1024] {
        within(client.push(Push::new("c", vec![0; size]))).await.unwrap();
    }
    let keys = fake.state.keys.lock().unwrap().clone();
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn without_a_daemon_connecting_says_where_it_was_expected() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("zerokd.sock");
    match Client::connect_to(&socket).await {
        Err(Error::NotRunning { socket: expected }) => assert_eq!(expected, socket),
        other => panic!("{:?}", other.err()),
    }
}
