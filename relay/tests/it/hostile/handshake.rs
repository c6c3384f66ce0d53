//! What never becomes a connection.

use std::time::{Duration, Instant};

use iroh::endpoint::QuicTransportConfig;
use rustls::crypto::{SupportedKxGroup, aws_lc_rs::kx_group};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use zerok_protocol::*;

use super::{Scene, noise};
use crate::client::{PATIENCE, endpoint, endpoint_addr};
use crate::devices::Device;
use crate::metrics::Scrape;

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_and_an_exchange_that_is_not_post_quantum_are_refused_and_counted() {
    let mut scene = Scene::new().await;
    let attempts: [(&'static dyn SupportedKxGroup, &[u8]); 4] = [
        (kx_group::X25519MLKEM768, b"h3"),
        (kx_group::X25519MLKEM768, b"/0k-sync/2"),
        (kx_group::X25519, ALPN),
        (kx_group::SECP256R1, ALPN),
    ];
    for (exchange, alpn) in attempts {
        let before = scene.before().await;
        let failed = |scrape: &Scrape| scrape.get("rejected_handshakes_total{reason=\"failed\"}");
        let transport = QuicTransportConfig::builder().build();
        let endpoint = endpoint(&Device::new(1), vec![exchange], transport).await;
        let connecting = endpoint.connect(endpoint_addr(&scene.relay.address()), alpn);
        let mut connecting = std::pin::pin!(connecting);
        let deadline = Instant::now() + PATIENCE;
        // A client that asks for another protocol tries again and again by itself; each time counts.
        while failed(&scene.before().await) == failed(&before) {
            assert!(Instant::now() < deadline, "{alpn:?} is not counted");
            if let Ok(connected) = timeout(Duration::from_millis(10), &mut connecting).await {
                assert!(connected.is_err(), "{alpn:?} is taken");
                connecting.set(endpoint.connect(endpoint_addr(&scene.relay.address()), alpn));
            }
        }
        scene.after(&before, &[("connections_accepted_total", 0.0)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_are_not_quic_change_nothing() {
    let mut scene = Scene::new().await;
    let before = scene.before().await;
    let to = scene.relay.address().addrs[0];
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 0..=255u8 {
        let mut packet = noise(n, 1 + usize::from(n) * 5);
        socket.send_to(&packet, to).await.unwrap();
        // As if they were the first of a connection, of version 1.
        packet.resize(1200, n);
        packet[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
        socket.send_to(&packet, to).await.unwrap();
    }
    scene.after(&before, &[("connections_accepted_total", 0.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_no_stream_is_closed_and_counted() {
    let mut scene = Scene::with(|c| c.limits.hello_timeout_secs = 1).await;
    let before = scene.before().await;
    let client = scene.connect(1).await;
    let closed = timeout(Duration::from_secs(5), client.conn.closed()).await.unwrap();
    assert!(closed.to_string().contains("no stream in time"), "{closed}");
    scene
        .after(&before, &[("rejected_handshakes_total{reason=\"silent\"}", 1.0), ("connections", 0.0)])
        .await;
}
