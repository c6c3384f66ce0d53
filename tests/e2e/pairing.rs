//! Letting a device in, once, and nobody else.

use serde_json::{Value, json};
use zerok_tests::{Daemon, Pair, Relay, Sandbox, wait_for, wait_until};

fn groups(daemon: &Daemon) -> Value {
    daemon.status()["groups"].clone()
}

#[test]
fn both_sides_know_each_other_after_pairing() {
    let pair = Pair::new();
    let ids = |daemon: &Daemon| -> Vec<String> {
        let list = daemon.json(&["device", "list"]);
        list["devices"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect()
    };
    wait_until("anna lists both", || ids(&pair.anna).len() == 2);
    assert_eq!(ids(&pair.anna), ids(&pair.ben), "in the same order");
    assert_eq!(pair.anna.json(&["group", "list"])["groups"][0]["id"], groups(&pair.ben)[0]["id"]);
    wait_until("ben uses the inviter's relay", || {
        pair.ben.json(&["relay", "list"])["relays"][0]["state"] == "connected"
    });
}

#[test]
fn a_third_device_gets_what_the_group_already_has() {
    let pair = Pair::new();
    pair.anna.push("c", b"from anna, before");
    pair.ben.push("c", b"from ben, before");
    pair.converge();
    let cleo = Daemon::start(&pair.sandbox, "cleo");
    let _ = cleo.json(&["pair", "--join", &pair.invite()]);
    pair.anna.push("c", b"after");
    wait_until("cleo has all three", || cleo.pull("c").len() == 3);
    cleo.push("c", b"from cleo");
    wait_until("the others hear of her", || pair.anna.pull("c").len() == 4 && pair.ben.pull("c").len() == 4);
}

#[test]
fn an_invite_is_good_for_one_device_only() {
    let pair = Pair::new();
    let invite = pair.invite();
    let (cleo, dan) = (Daemon::start(&pair.sandbox, "cleo"), Daemon::start(&pair.sandbox, "dan"));
    let _ = cleo.json(&["pair", "--join", &invite]);
    let refused = dan.try_call("pair.join", &json!({"invite": invite})).unwrap_err();
    assert_eq!(refused.kind, "invite_used", "{refused:?}");
    let told = dan.ctl(&["pair", "--join", &invite]);
    assert_ne!(told.code, 0);
    assert!(told.stderr.contains("pair --create"), "the hint says what to do: {}", told.stderr);
    assert_eq!(groups(&dan), json!([]));
    assert_eq!(pair.anna.json(&["device", "list"])["devices"].as_array().map(Vec::len), Some(3));
}

#[test]
fn two_devices_with_one_invite_at_once_make_one_member() {
    let pair = Pair::new();
    let invite = pair.invite();
    let (cleo, dan) = (Daemon::start(&pair.sandbox, "cleo"), Daemon::start(&pair.sandbox, "dan"));
    let join = |daemon: &Daemon| daemon.ctl(&["--json", "pair", "--join", &invite]).code == 0;
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| join(&cleo));
        let second = scope.spawn(|| join(&dan));
        (first.join().unwrap(), second.join().unwrap())
    });
    assert!(!(first && second), "both got in");
    let members = if first || second { 3 } else { 2 };
    wait_until("the group has as many members as got in", || {
        pair.anna.json(&["device", "list"])["devices"].as_array().map(Vec::len) == Some(members)
    });
}

#[test]
fn an_expired_invite_is_refused_and_grants_nothing() {
    let pair = Pair::new();
    let answer = pair.anna.call("pair.create", &json!({"ttl_s": 1}));
    let cleo = Daemon::start(&pair.sandbox, "cleo");
    // The invite's own failure is the sign that its time is over, so that nothing has to be timed here.
    wait_for("the invite dies", || {
        let page = pair.anna.call("events.since", &json!({"after": "0"}));
        let events = page["events"].as_array()?.clone();
        events
            .into_iter()
            .find(|e| e["kind"] == "pair.failed" && e["data"]["invite_id"] == answer["invite_id"])
    });
    let refused = cleo.try_call("pair.join", &json!({"invite": answer["invite"]})).unwrap_err();
    assert_eq!(refused.kind, "invite_expired", "{refused:?}");
    assert_eq!(groups(&cleo), json!([]));
}

#[test]
fn a_cancelled_invite_is_refused() {
    let pair = Pair::new();
    let answer = pair.anna.call("pair.create", &json!({}));
    pair.anna.call("pair.cancel", &json!({"invite_id": answer["invite_id"]}));
    let cleo = Daemon::start(&pair.sandbox, "cleo");
    let refused = cleo.try_call("pair.join", &json!({"invite": answer["invite"]})).unwrap_err();
    assert_eq!(refused.kind, "invite_used", "{refused:?}");
}

#[test]
fn an_invite_outlives_a_crash_of_the_inviter() {
    let mut pair = Pair::new();
    let invite = pair.invite();
    pair.anna.kill9();
    pair.anna.restart();
    let cleo = Daemon::start(&pair.sandbox, "cleo");
    let _ = cleo.json(&["pair", "--join", &invite]);
    cleo.push("c", b"in");
    wait_until("cleo is in", || pair.anna.pull("c").len() == 1);
}

#[test]
fn a_wrong_invite_gets_one_clear_error_and_changes_nothing() {
    let pair = Pair::new();
    let cleo = Daemon::start(&pair.sandbox, "cleo");
    let before = cleo.status();
    let good = pair.invite();
    let flipped: String = {
        let at = good.len() / 2;
        let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &good[..at], &good[at + 1..])
    };
    let wrong =
        ["", "hello", "zerok:", "zerok:!!!!", &good[..good.len() - 5], &flipped, &format!("{good}xyz")];
    for text in wrong {
        let refused = cleo.try_call("pair.join", &json!({"invite": text})).unwrap_err();
        assert_eq!(refused.kind, "invalid_argument", "{text}: {refused:?}");
        assert!(refused.message.contains("invite"), "the text names the field: {refused:?}");
        assert!(!refused.message.contains(&good[6..]), "an invite is a secret: {refused:?}");
    }
    let after = cleo.status();
    assert_eq!((&before["groups"], &before["relays"]), (&after["groups"], &after["relays"]));
    let _ = cleo.json(&["pair", "--join", &good]);
}

#[test]
fn a_wrong_relay_address_gets_one_clear_error_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let relay = Relay::start(&sandbox);
    let anna = Daemon::start(&sandbox, "anna");
    let good = relay.address();
    let (id, place) = good.split_once('@').unwrap();
    for text in [
        "",
        place,
        &id[1..],
        &format!("{}@{place}", &id[1..]),
        &format!("{}@{place}", id.replace(|c: char| c.is_ascii_digit(), "g")),
        &format!("{id}@"),
        &format!("{id}@127.0.0.1"),
        &format!("{id}@127.0.0.1:99999"),
        &format!("{good}?colour=blue"),
        &format!("{good}?token="),
    ] {
        let refused = anna.try_call("relay.add", &json!({"address": text})).unwrap_err();
        assert_eq!(refused.kind, "invalid_argument", "{text}: {refused:?}");
        assert!(refused.message.contains("address"), "the text names the field: {refused:?}");
        assert_eq!(anna.status()["relays"], json!([]));
    }
    let _ = anna.json(&["relay", "add", good]);
    assert_eq!(anna.status()["relays"][0]["address"], good);
}

#[test]
fn pairing_without_a_relay_says_what_is_missing() {
    let sandbox = Sandbox::new();
    let anna = Daemon::start(&sandbox, "anna");
    let told = anna.ctl(&["pair", "--create", "--json"]);
    assert_ne!(told.code, 0);
    assert!(told.stderr.contains("relay add"), "the hint names the next command: {}", told.stderr);
}

#[test]
fn joining_while_the_relay_is_down_says_so() {
    let mut pair = Pair::new();
    let invite = pair.invite();
    pair.relay.kill9();
    let cleo = Daemon::start(&pair.sandbox, "cleo");
    let told = cleo.ctl(&["pair", "--join", &invite]);
    assert_eq!(told.code, 8, "{told:?}");
    assert_eq!(groups(&cleo), json!([]));
    pair.relay.restart();
    wait_until("the same invite works when the relay is back", || {
        cleo.ctl(&["pair", "--join", &invite]).code == 0
    });
}

#[test]
fn a_token_is_never_shown() {
    let sandbox = Sandbox::new();
    let relay = Relay::start(&sandbox);
    let anna = Daemon::start(&sandbox, "anna");
    let with_token = format!("{}?token=tell-nobody", relay.address());
    let refused = anna.ctl(&["relay", "add", &with_token]);
    assert_eq!(refused.code, 2, "as an argument it would stand in the shell's history: {refused:?}");
    let added = anna.ctl_with_input(&["--json", "relay", "add", "-"], with_token.as_bytes()).ok();
    let shown = [added.stdout, anna.ctl(&["relay", "list"]).stdout, anna.status().to_string()].concat();
    assert!(!shown.contains("tell-nobody"), "{shown}");
    assert!(!std::fs::read_to_string(anna.log()).unwrap().contains("tell-nobody"));
}
