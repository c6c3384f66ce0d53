//! Who may connect at all: limits that bite before the first stream.

use std::collections::HashSet;
use std::time::Duration;

use iroh::endpoint::ConnectionError;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use zerok_protocol::*;

use crate::client::{Client, PATIENCE, TestRelay, endpoint_addr, honest};
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

/// The relay has given this up, and says when to come back.
async fn closed_for_rate(client: &Client) -> Duration {
    match timeout(PATIENCE, client.conn.closed()).await.unwrap() {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code.into_inner(), u64::from(Code::RateLimited.number()));
            RetryAfter::from_reason(&close.reason).unwrap().0
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_connects_too_often_is_told_when_to_come_back_and_no_other_is() {
    let relay = relay(|c| {
        c.limits.connections_per_device = 20;
        c.limits.connections_per_device_burst = 2;
    })
    .await;
    let (a, b) = (Device::new(1), Device::new(2));
    let first = Client::connect(&relay.address(), &a).await;
    let _second = Client::connect(&relay.address(), &a).await;
    let third = Client::connect(&relay.address(), &a).await;
    let wait = closed_for_rate(&third).await;
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(3), "{wait:?}");
    // What it has goes on, and others come and go.
    first.session(&Chain::new(&a)).await;
    Client::connect(&relay.address(), &b).await.session(&Chain::new(&b)).await;
    // Who waits as long as told is served.
    tokio::time::sleep(wait).await;
    Client::connect(&relay.address(), &a).await.session(&Chain::new(&a)).await;
    let metrics = metrics(&relay).await;
    assert_eq!(value(&metrics, "zerok_relay_rejected_handshakes_total{reason=\"device_rate\"}"), 1.0);
    assert_eq!(value(&metrics, "zerok_relay_rate_limited_total{limit=\"connections_per_device\"}"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_connects_too_often_is_refused_and_loopback_never_is() {
    let relay = relay(|c| {
        c.server.bind = "0.0.0.0:0".parse().unwrap();
        c.server.admission = Some(zerok_relay::Admission::Open);
        c.limits.connections_per_ip = 1;
        c.limits.connections_per_ip_burst = 2;
    })
    .await;
    let mut address = relay.address();
    let port = address.addrs[0].port();
    address.addrs.retain(|a| a.is_ipv4() && !a.ip().is_loopback());
    if address.addrs.is_empty() {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    }
    address.addrs.truncate(1);
    let a = Device::new(1);
    let one = Client::try_connect(&address, &a, "0.0.0.0:0").await.unwrap();
    let two = Client::try_connect(&address, &a, "0.0.0.0:0").await.unwrap();
    let refused = Client::try_connect(&address, &a, "0.0.0.0:0").await.err().expect("a third one");
    assert!(format!("{refused:#?}").contains("CONNECTION_REFUSED"), "{refused:#?}");
    for client in [one, two] {
        client.session(&Chain::new(&a)).await;
    }
    address.addrs = vec![format!("127.0.0.1:{port}").parse().unwrap()];
    for _ in 0..5 {
        Client::connect(&address, &a).await.session(&Chain::new(&a)).await;
    }
    let metrics = metrics(&relay).await;
    assert!(value(&metrics, "zerok_relay_rejected_handshakes_total{reason=\"rate\"}") >= 1.0);
    assert!(value(&metrics, "zerok_relay_rate_limited_total{limit=\"connections_per_ip\"}") >= 1.0);
}

/// Begins handshakes and never goes on: forwards the first packet of each to the relay.
async fn half_open(relay: &RelayAddr, count: usize) {
    let trap = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let out = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let attacker = honest("127.0.0.1:0", &Device::new(99)).await;
    let mut into_trap = relay.clone();
    into_trap.addrs = vec![trap.local_addr().unwrap()];
    let mut seen = HashSet::new();
    let mut packet = vec![0; 2000];
    while seen.len() < count {
        let connecting = attacker.connect(endpoint_addr(&into_trap), ALPN);
        let forwarding = async {
            loop {
                let (length, _) = trap.recv_from(&mut packet).await.unwrap();
                // A long header's connection id is what tells attempts apart.
                let id = packet[6..6 + usize::from(packet[5])].to_vec();
                if packet[0] & 0xf0 == 0xc0 && seen.insert(id) {
                    out.send_to(&packet[..length], relay.addrs[0]).await.unwrap();
                    return;
                }
            }
        };
        tokio::select! {
            _ = connecting => panic!("nobody answers"),
            forwarded = timeout(PATIENCE, forwarding) => forwarded.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_handshakes_make_others_prove_their_address_and_shut_nobody_out() {
    let relay = relay(|_| {}).await;
    half_open(&relay.address(), 140).await;
    let a = Device::new(1);
    Client::connect(&relay.address(), &a).await.session(&Chain::new(&a)).await;
    let metrics = metrics(&relay).await;
    assert!(value(&metrics, "zerok_relay_handshake_retries_total") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_end_in_time_is_given_up() {
    let relay = relay(|c| c.limits.hello_timeout_secs = 1).await;
    half_open(&relay.address(), 3).await;
    let given_up = async {
        let name = "zerok_relay_rejected_handshakes_total{reason=\"timeout\"}";
        while !metrics(&relay).await.contains(&format!("{name} 3")) {}
    };
    timeout(PATIENCE, given_up).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_not_many_more_connections_than_there_may_be_sessions() {
    let relay = relay(|c| {
        c.limits.max_concurrent_sessions = 1;
        c.limits.connections_per_device_burst = 1000;
    })
    .await;
    let device = honest("127.0.0.1:0", &Device::new(1)).await;
    let mut held = Vec::new();
    let refused = loop {
        match device.connect(endpoint_addr(&relay.address()), ALPN).await {
            Ok(connection) => held.push(connection),
            Err(e) => break e,
        }
    };
    assert!(format!("{refused:#?}").contains("CONNECTION_REFUSED"), "{refused:#?}");
    // One for the session, and a hundred beside; what is under way is not counted yet.
    assert!((101..=120).contains(&held.len()), "{}", held.len());
    assert!(metrics(&relay).await.contains("rejected_handshakes_total{reason=\"full\"} 1"));
    held.clear();
    let a = Device::new(1);
    let again = async {
        loop {
            match Client::try_connect(&relay.address(), &a, "127.0.0.1:0").await {
                Ok(client) => return client,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(PATIENCE, again).await.unwrap().session(&Chain::new(&a)).await;
}
