//! Admission without accounts: an operator's invitation lets somebody make a group, and nothing else needs one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use zerok_protocol::*;
use zerok_relay::Admission;

use crate::binary::{command, run, spawn_with, stderr};
use crate::client::{Client, TestRelay, hello, push};
use crate::devices::{Chain, Device};

fn stdout(command: &mut Command) -> String {
    let output = run(command);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn invite(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&stdout(command(dir).arg("invite").args(args).arg("--json"))).unwrap()
}

fn token(invite: &Value) -> Option<String> {
    let address: RelayAddr = invite["address"].as_str().unwrap().parse().unwrap();
    Some(address.token.unwrap().expose().to_owned())
}

/// Tries to make a group with this token; the refusal, if it is refused.
async fn make(relay: &RelayAddr, device: &Device, chain: &Chain, token: Option<String>) -> Result<(), Error> {
    let client = Client::connect(relay, device).await;
    let mut stream = client.open().await;
    let hello = Hello { token, ..hello(chain) };
    stream.send(hello.clone()).await;
    assert_eq!(stream.error().await.code, Code::UnknownGroup);
    stream.send(RosterAppend { req: 1, statements: chain.appends.clone() }).await;
    match stream.next().await {
        Message::RosterOk(_) => {}
        Message::Error(e) => return Err(e),
        other => panic!("{other:?}"),
    }
    stream.send(hello).await;
    assert!(matches!(stream.next().await, Message::Welcome(_)));
    Ok(())
}

fn refused(result: Result<(), Error>, words: &str) {
    let e = result.expect_err("a group was made");
    assert_eq!(e.code, Code::Unauthorized);
    assert!(e.message.contains(words) && e.message.contains("ask its operator"), "{}", e.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_made_with_an_invitation_and_its_members_need_none() {
    let dir = tempfile::tempdir().unwrap();
    let (_relay, address) = spawn_with(dir.path(), &["--bind", "127.0.0.1:0", "--admission", "token"]);
    let (a, b, c) = (Device::new(1), Device::new(2), Device::new(3));
    let chain = Chain::of(&[&a, &b]);
    refused(make(&address, &a, &chain, None).await, "by invitation only");
    refused(make(&address, &a, &chain, Some("00".repeat(16))).await, "does not know the invitation");
    let invitation = invite(dir.path(), &["--note", "for a friend"]);
    assert_eq!(invitation["address"].as_str().unwrap().split('?').next(), Some(&*address.to_string()));
    make(&address, &a, &chain, token(&invitation)).await.unwrap();
    // The other member, and the maker once more: without.
    Client::connect(&address, &b).await.session(&chain).await;
    Client::connect(&address, &a).await.session(&chain).await;
    let other = Chain::new(&c);
    refused(make(&address, &c, &other, token(&invitation)).await, "used up");
    let list = stdout(command(dir.path()).args(["invite", "list"]));
    assert!(list.contains("used") && list.contains("1/1") && list.contains("for a friend"), "{list}");
    assert!(!list.contains(&token(&invitation).unwrap()), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_or_is_over_makes_no_group() {
    let dir = tempfile::tempdir().unwrap();
    let (_relay, address) = spawn_with(dir.path(), &["--bind", "127.0.0.1:0", "--admission", "token"]);
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let over = invite(dir.path(), &["--expires", "1ms"]);
    refused(make(&address, &a, &chain, token(&over)).await, "has expired");
    let back = invite(dir.path(), &["--groups", "2"]);
    let id = back["invite"]["id"].as_str().unwrap().to_owned();
    make(&address, &a, &chain, token(&back)).await.unwrap();
    let text = stdout(command(dir.path()).args(["invite", "revoke", &id]));
    assert!(text.contains("is revoked; the group made with it stays"), "{text}");
    let b = Device::new(2);
    refused(make(&address, &b, &Chain::new(&b), token(&back)).await, "was revoked");
    Client::connect(&address, &a).await.session(&chain).await;
    let list: Value =
        serde_json::from_str(&stdout(command(dir.path()).args(["invite", "list", "--json"]))).unwrap();
    let states: Vec<&str> =
        list["invites"].as_array().unwrap().iter().map(|i| i["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["expired", "revoked"]);
    let output = run(command(dir.path()).args(["invite", "revoke", "nothing"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("invite list"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_of_an_invitation_is_its_groups_own() {
    let dir = tempfile::tempdir().unwrap();
    let (_relay, address) = spawn_with(dir.path(), &["--bind", "127.0.0.1:0", "--admission", "token"]);
    let (a, b) = (Device::new(1), Device::new(2));
    for (device, quota, fits) in [(&a, "1MiB", false), (&b, "2MiB", true)] {
        let chain = Chain::new(device);
        let invitation = invite(dir.path(), &["--quota", quota]);
        make(&address, device, &chain, token(&invitation)).await.unwrap();
        let client = Client::connect(&address, device).await;
        let (mut session, _) = client.session(&chain).await;
        session.push(&chain, 1, vec![1; 700 << 10]).await;
        session.send(push(&chain, 2, vec![2; 700 << 10])).await;
        match session.next().await {
            Message::PushAck(_) => assert!(fits),
            Message::Error(e) => assert!(!fits && e.code == Code::GroupQuotaExceeded),
            other => panic!("{other:?}"),
        }
    }
    let output = run(command(dir.path()).args(["invite", "--quota", "1KiB"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--quota"));
}

#[test]
fn an_invitation_before_the_first_start_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(command(dir.path()).arg("invite"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("start the relay once"), "{}", stderr(&output));
    assert!(!dir.path().join("data").exists());
    for (option, value, expected) in [
        ("--groups", "0", "not in 1..="),
        ("--expires", "soon", "expected a time, such as 30d"),
        ("--expires", "0s", "expected a time, such as 30d"),
        ("--quota", "much", "expected a size, such as 2GiB"),
    ] {
        let output = run(command(dir.path()).args(["invite", option, value]));
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn a_note_of_several_lines_is_one_line_in_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let _relay = spawn_with(dir.path(), &["--bind", "127.0.0.1:0"]);
    invite(dir.path(), &["--note", "for\nanna\u{1b}[31m"]);
    let text = stdout(command(dir.path()).args(["invite", "list"]));
    assert!(text.ends_with("  for anna [31m\n") && text.contains(" default "), "{text}");
}

#[test]
fn the_address_alone_is_on_standard_output_and_can_be_set() {
    let dir = tempfile::tempdir().unwrap();
    let _relay = spawn_with(dir.path(), &["--bind", "127.0.0.1:0", "--admission", "token"]);
    let output = run(command(dir.path()).arg("invite").env("ZEROK_RELAY_SERVER_ADVERTISE", "192.0.2.7:4433"));
    let address: RelayAddr = String::from_utf8(output.stdout.clone()).unwrap().parse().unwrap();
    assert_eq!(address.addrs, ["192.0.2.7:4433".parse().unwrap()]);
    assert!(address.token.is_some());
    let said = stderr(&output);
    assert!(said.contains("1 group of 100.0 MiB") && said.contains("zerokctl relay add -"), "{said}");
    let output = run(command(dir.path()).arg("invite"));
    assert!(stderr(&output).contains("server.advertise"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_everybody_may_unless_the_operator_says_otherwise() {
    let a = Device::new(1);
    let open = TestRelay::start().await;
    make(&open.address(), &a, &Chain::new(&a), None).await.unwrap();
    let closed = TestRelay::with(|c| c.server.admission = Some(Admission::Token)).await;
    refused(make(&closed.address(), &a, &Chain::new(&a), None).await, "by invitation only");
    // Beyond loopback nobody has to say so.
    let beyond = TestRelay::with(|c| c.server.bind = "0.0.0.0:0".parse().unwrap()).await;
    let mut address = beyond.address();
    for addr in &mut address.addrs {
        addr.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    refused(make(&address, &a, &Chain::new(&a), None).await, "by invitation only");
}
