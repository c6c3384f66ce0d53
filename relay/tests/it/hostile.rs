//! Whoever may reach the port may send anything. Each of these is answered as PROTOCOL.md says, is counted, and leaves
//! other devices' sessions untouched.

mod admission;
mod floods;
mod frames;
mod handshake;
mod memory;
mod streams;
mod vanish;

use std::net::SocketAddr;

use zerok_protocol::*;
use zerok_relay::Config;

use crate::client::{Client, Inbound, Stream, TestRelay};
use crate::devices::{Chain, Device};
use crate::metrics::{Scrape, moved, scrape};

/// Two devices of a group of their own, which go on whatever others do.
struct Bystanders {
    chain: Chain,
    pusher: (Client, Stream),
    reader: (Client, Stream, Inbound),
    pushed: u32,
}

impl Bystanders {
    async fn new(relay: &RelayAddr) -> Self {
        let (c, d) = (Device::new(101), Device::new(102));
        let chain = Chain::of(&[&c, &d]);
        let (cc, cd) = (Client::connect(relay, &c).await, Client::connect(relay, &d).await);
        let (pusher, mut reader) = (cc.session(&chain).await.0, cd.session(&chain).await.0);
        reader.subscribe(1, 0, u64::MAX).await;
        let (delivery, _) = cd.delivery().await;
        Self { chain, pusher: (cc, pusher), reader: (cd, reader, delivery), pushed: 0 }
    }

    /// What one pushes reaches the other.
    async fn work(&mut self) {
        self.pushed += 1;
        let payload = format!("round {}", self.pushed).into_bytes();
        let cursor = self.pusher.1.push(&self.chain, self.pushed, payload.clone()).await.cursor;
        let blob = self.reader.2.blob().await;
        assert_eq!((blob.cursor, blob.payload), (cursor, payload.into()));
        self.reader.1.send(Ack { cursor }).await;
    }
}

/// A relay that is attacked while others use it.
struct Scene {
    relay: TestRelay,
    bystanders: Bystanders,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let relay = TestRelay::with(|config| {
            config.http.bind = Some("127.0.0.1:0".parse().unwrap());
            change(config);
        })
        .await;
        let mut bystanders = Bystanders::new(&relay.address()).await;
        bystanders.work().await;
        Self { relay, bystanders }
    }

    fn http(&self) -> SocketAddr {
        self.relay.running.http_addr().unwrap()
    }

    async fn connect(&self, device: u8) -> Client {
        Client::connect(&self.relay.address(), &Device::new(device)).await
    }

    /// A device in a group of its own, with a session.
    async fn member(&self, device: u8) -> (Client, Stream, Chain) {
        let chain = Chain::new(&Device::new(device));
        let client = self.connect(device).await;
        let stream = client.session(&chain).await.0;
        (client, stream, chain)
    }

    async fn before(&self) -> Scrape {
        scrape(self.http()).await
    }

    /// The bystanders noticed nothing, and since `before` these have moved by so much.
    async fn after(&mut self, before: &Scrape, by: &[(&str, f64)]) {
        self.bystanders.work().await;
        moved(self.http(), before, by).await;
    }
}

/// The counter of a refusal.
fn errors(code: Code) -> String {
    format!("errors_total{{code=\"{}\"}}", code.number())
}

/// A frame around any body.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_frame(&mut frame, |out| out.extend_from_slice(body));
    frame
}

/// Bytes that mean nothing and repeat nothing.
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}
