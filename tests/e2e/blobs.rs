//! App blobs between two devices.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zerok_tests::{Daemon, Pair, noise, wait_until};

fn numbers(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    range.map(|i| format!("number {i}").into_bytes()).collect()
}

fn problems(daemon: &Daemon) -> Vec<Value> {
    daemon.status()["problems"].as_array().expect("status lists problems").clone()
}

#[test]
fn a_blob_arrives_on_the_other_device_and_an_answer_comes_back() {
    let pair = Pair::new();
    let mut following = pair.ben.follow(&["pull", "--channel", "letters", "--follow"]);
    let pushed = pair.anna.json(&["push", "hello ben", "--channel", "letters"]);
    let entry = following.line();
    assert_eq!(entry["data"], STANDARD.encode("hello ben"));
    assert_eq!(entry["id"], pushed["id"], "an entry has one id everywhere");

    let _ = pair.ben.json(&["push", "hello anna", "--channel", "letters"]);
    wait_until("the answer comes back", || pair.anna.pull("letters").contains(&b"hello anna".to_vec()));
    pair.converge();
    assert_eq!(pair.anna.pull("letters").len(), 2);
    assert_eq!(pair.ben.pull("letters").len(), 2);
    assert_eq!(pair.ben.pull("other"), Vec::<Vec<u8>>::new(), "channels are apart");
}

#[test]
fn empty_binary_and_largest_blobs_arrive_as_they_were() {
    let pair = Pair::new();
    let blobs = [Vec::new(), vec![0], (0..=255).collect(), noise("largest", 900 * 1024)];
    for blob in &blobs {
        pair.anna.push("bytes", blob);
    }
    wait_until("all of them arrive", || pair.ben.pull("bytes").len() == blobs.len());
    assert!(pair.ben.pull("bytes") == blobs, "contents and order are kept");
}

#[test]
fn a_blob_over_the_limit_is_refused_and_changes_nothing() {
    let pair = Pair::new();
    let data = STANDARD.encode(noise("too large", 900 * 1024 + 1));
    let refused = pair.anna.try_call("blob.push", &json!({"channel": "bytes", "data": data})).unwrap_err();
    assert_eq!(refused.kind, "too_large", "{refused:?}");
    for channel in ["", "$folders", "Große", &"x".repeat(129)] {
        let refused = pair.anna.try_call("blob.push", &json!({"channel": channel, "data": ""})).unwrap_err();
        assert_eq!(refused.kind, "invalid_argument", "{refused:?}");
        assert!(refused.message.contains("channel"), "the text names the parameter: {refused:?}");
    }
    let refused =
        pair.anna.try_call("blob.push", &json!({"channel": "c", "data": "not base64!"})).unwrap_err();
    assert!(format!("{} {}", refused.message, refused.data).contains("base64"), "{refused:?}");
    assert_eq!(pair.anna.pull("bytes"), Vec::<Vec<u8>>::new());
    pair.anna.push("bytes", b"still alive");
}

#[test]
fn the_same_idempotency_key_answers_the_first_result_again() {
    let pair = Pair::new();
    let push = json!({"channel": "once", "data": STANDARD.encode("x"), "idempotency_key": "k1"});
    let first = pair.anna.call("blob.push", &push);
    assert_eq!(pair.anna.call("blob.push", &push), first);
    pair.converge();
    assert_eq!(pair.ben.pull("once").len(), 1);
}

#[test]
fn a_thousand_blobs_in_one_call_arrive_in_order() {
    let pair = Pair::new();
    let entries: Vec<_> = numbers(0..1000).iter().map(|n| json!({"data": STANDARD.encode(n)})).collect();
    let answer = pair.anna.call("blob.push_many", &json!({"channel": "many", "entries": entries}));
    assert_eq!(answer["entries"].as_array().map(Vec::len), Some(1000));
    wait_until("all of them arrive", || pair.ben.pull("many").len() == 1000);
    assert_eq!(pair.ben.pull("many"), numbers(0..1000));
}

#[test]
fn pushes_with_the_relay_down_are_kept_reported_and_delivered_after() {
    let mut pair = Pair::new();
    pair.converge();
    pair.relay.kill9();
    for number in numbers(0..20) {
        pair.anna.push("news", &number);
    }
    assert_eq!(pair.anna.pull("news"), numbers(0..20), "a push is readable where it was made at once");
    assert_eq!(pair.anna.outbox(), 20, "status says what no relay holds yet");
    wait_until("status names the relay as a problem", || !problems(&pair.anna).is_empty());
    pair.relay.restart();
    wait_until("all of them arrive", || pair.ben.pull("news").len() == 20);
    assert_eq!(pair.ben.pull("news"), numbers(0..20));
    wait_until("the problem is over", || problems(&pair.anna).is_empty() && pair.anna.outbox() == 0);
}

#[test]
fn a_relay_that_does_not_answer_never_holds_a_push_up() {
    let mut pair = Pair::new();
    pair.converge();
    pair.relay.freeze();
    for number in numbers(0..20) {
        pair.anna.push("news", &number);
    }
    assert_eq!(pair.anna.outbox(), 20);
    pair.relay.thaw();
    wait_until("all of them arrive", || pair.ben.pull("news").len() == 20);
    assert_eq!(pair.ben.pull("news"), numbers(0..20));
}

#[test]
fn a_full_relay_never_makes_a_push_fail() {
    let mut pair = Pair::with_environment(&[("ZEROK_RELAY_STORAGE_MAX_GROUP_STORAGE", "2000000")], &[]);
    pair.converge();
    pair.ben.kill9();
    let blobs: Vec<_> = (0..40).map(|i| noise(&format!("blob {i}"), 100_000)).collect();
    for blob in &blobs {
        pair.anna.push("large", blob);
    }
    wait_until("the relay is full, and status says so", || {
        pair.anna.outbox() > 0 && problems(&pair.anna).iter().any(|p| p["code"] == "relay_full")
    });
    pair.ben.restart();
    wait_until("all of them arrive as room is made", || pair.ben.pull("large").len() == blobs.len());
    assert!(pair.ben.pull("large") == blobs);
}

#[test]
fn five_hundred_pushes_while_the_receiver_is_down_arrive_in_order() {
    let mut pair = Pair::new();
    pair.converge();
    pair.ben.kill9();
    for number in numbers(0..500) {
        pair.anna.push("news", &number);
    }
    pair.ben.restart();
    wait_until("all of them arrive", || pair.ben.pull("news").len() == 500);
    assert_eq!(pair.ben.pull("news"), numbers(0..500));
}

#[test]
fn a_relay_restarted_in_the_middle_loses_nothing() {
    let mut pair = Pair::new();
    let address = pair.relay.address().to_owned();
    for (round, numbers) in [numbers(0..50), numbers(50..100), numbers(100..150)].iter().enumerate() {
        for number in numbers {
            pair.anna.push("news", number);
        }
        match round {
            0 => assert_eq!(pair.relay.stop(), zerok_tests::Exit::Code(0), "SIGTERM is a clean end"),
            1 => pair.relay.kill9(),
            _ => break,
        }
        pair.relay.restart();
        assert_eq!(pair.relay.address(), address, "same key, same port");
    }
    wait_until("all of them arrive", || pair.ben.pull("news").len() == 150);
    assert_eq!(pair.ben.pull("news"), numbers(0..150));
    pair.converge();
}

#[test]
fn a_relay_that_lost_its_database_is_refilled_by_the_devices() {
    let mut pair = Pair::new();
    pair.converge();
    pair.ben.kill9();
    for number in numbers(0..50) {
        pair.anna.push("news", &number);
    }
    wait_until("the relay holds them", || pair.anna.outbox() == 0);
    pair.relay.kill9();
    pair.relay.delete_database();
    pair.relay.restart();
    pair.ben.restart();
    wait_until("ben gets what only the relay's lost database held", || pair.ben.pull("news").len() == 50);
    pair.ben.push("news", b"and back");
    wait_until("and it works the other way", || pair.anna.pull("news").len() == 51);
    pair.converge();
}

#[test]
fn a_consumer_goes_on_where_it_acknowledged() {
    let mut pair = Pair::new();
    for number in numbers(0..10) {
        pair.anna.push("work", &number);
    }
    let page = pair.anna.call("blob.pull", &json!({"channel": "work", "consumer": "me", "limit": 4}));
    assert_eq!(page["entries"].as_array().map(Vec::len), Some(4));
    let ack = json!({"channel": "work", "consumer": "me", "cursor": page["next"]});
    pair.anna.call("blob.ack", &ack);
    pair.anna.kill9();
    pair.anna.restart();
    let page = pair.anna.call("blob.pull", &json!({"channel": "work", "consumer": "me"}));
    let rest = page["entries"].as_array().expect("entries");
    assert_eq!(rest.len(), 6);
    assert_eq!(rest[0]["data"], STANDARD.encode("number 4"));
}

#[test]
fn a_foreign_cursor_is_answered_with_cursor_reset_and_a_broken_one_by_name() {
    let pair = Pair::new();
    pair.anna.push("c", b"x");
    pair.converge();
    let page = pair.anna.call("blob.pull", &json!({"channel": "c"}));
    let foreign =
        pair.ben.try_call("blob.pull", &json!({"channel": "c", "after": page["next"]})).unwrap_err();
    assert_eq!(foreign.kind, "cursor_reset", "{foreign:?}");
    let broken = pair.ben.try_call("blob.pull", &json!({"channel": "c", "after": "nonsense"})).unwrap_err();
    assert_eq!(broken.kind, "invalid_argument", "{broken:?}");
    assert!(broken.message.contains("after"), "{broken:?}");
}
