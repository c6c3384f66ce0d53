//! What one connection can make the relay keep in memory, measured on the relay's own process.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh::endpoint::{QuicTransportConfig, VarInt};
use rustls::crypto::aws_lc_rs::kx_group;
use tempfile::TempDir;
use zerok_protocol::*;

use super::{Bystanders, frame, noise};
use crate::binary::{Process, command, until};
use crate::client::{Client, PATIENCE, Stream, endpoint, hello};
use crate::devices::{Chain, Device};
use crate::metrics::{Scrape, scrape};

/// The program, with a chain's blobs stored, and others at work.
struct Scene {
    _dir: TempDir,
    process: Process,
    address: RelayAddr,
    http: SocketAddr,
    bystanders: Bystanders,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("address");
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = std::process::Command::new(command(dir.path()).get_program());
        // Whoever may not stay for long could not be measured.
        command
            .env_clear()
            .env("ZEROK_RELAY_LIMITS_HELLO_TIMEOUT_SECS", "60")
            .arg("--data")
            .arg(dir.path().join("data"))
            .args(["--bind", "127.0.0.1:0"]);
        command.args(["--http", &http.to_string(), "--address-file"]).arg(&file).env("RUST_LOG", "warn");
        let process = Process(command.spawn().unwrap());
        let address: RelayAddr = until(|| std::fs::read_to_string(&file).ok()).parse().unwrap();
        let bystanders = Bystanders::new(&address).await;
        Self { _dir: dir, process, address, http, bystanders }
    }

    /// MiB that the process has, at most so far.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().split(' ').next().unwrap().parse::<u64>().unwrap() / 1024
    }

    /// Waits until the relay does nothing any more for who does not read; the bystanders go on.
    async fn settled(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut calm) = (Vec::new(), 0);
        while calm < 5 {
            assert!(Instant::now() < deadline, "it never settles");
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = counts(&scrape(self.http).await);
            calm = if now == last { calm + 1 } else { 0 };
            last = now;
        }
        self.bystanders.work().await;
    }
}

fn counts(scrape: &Scrape) -> Vec<f64> {
    ["bytes_in_total", "bytes_out_total", "pulls_total", "deliveries_total", "sessions", "connections"]
        .iter()
        .map(|name| scrape.get(name))
        .collect()
}

/// A device that lets the relay send next to nothing before it has read that.
async fn deaf(scene: &Scene, device: &Device) -> Client {
    let transport = QuicTransportConfig::builder()
        .max_idle_timeout(Some(VarInt::from_u32(10_000).into()))
        .keep_alive_interval(Duration::from_secs(3))
        .max_concurrent_uni_streams(VarInt::from_u32(1000))
        .stream_receive_window(VarInt::from_u32(2048))
        .build();
    Client::over(endpoint(device, vec![kx_group::X25519MLKEM768], transport).await, &scene.address).await
}

/// Sends as much of these as the relay takes within a moment.
async fn pour(stream: &mut Stream, bytes: &[u8]) {
    let _ = tokio::time::timeout(Duration::from_millis(20), stream.send.write_all(bytes)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_costs_a_bounded_amount_of_memory() {
    let mut scene = Scene::new().await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let honest = Client::connect(&scene.address, &a).await;
    let (mut session, _) = honest.session(&chain).await;
    for n in 0..48 {
        session.push(&chain, n, vec![n.to_le_bytes()[0]; MAX_BLOB]).await;
    }
    let group = chain.roster.group();
    let mut chunks = honest.open().await;
    let mut addresses = Vec::new();
    for n in 0..48u8 {
        let data = Bytes::from(vec![n; 1 << 20]);
        addresses.push(Hash::of(&data));
        chunks.send(ChunkPut { req: n.into(), group, address: Hash::of(&data), data }).await;
        chunks.next().await;
    }
    scene.settled().await;
    let before = scene.peak();

    let client = deaf(&scene, &b).await;
    let mut streams = Vec::new();
    for n in 0..40 {
        let mut stream = client.open().await;
        stream.send(hello(&chain)).await;
        assert!(matches!(stream.next().await, Message::Welcome(_)));
        let mut requests = Vec::new();
        for req in 0..4 {
            Message::from(Subscribe { req, after_cursor: 0, mode: SubscribeMode::Blobs, credit: u64::MAX })
                .put(&mut requests);
        }
        for req in 10..50 {
            Message::from(Pull { req, after_cursor: 0, limit: None }).put(&mut requests);
            Message::from(RosterGet { req, from: 0 }).put(&mut requests);
        }
        if n % 2 == 0 {
            requests.extend((0..50_000).flat_map(|_| frame(b"\x92\x6f\x80")));
        }
        pour(&mut stream, &requests).await;
        streams.push(stream);
    }
    for n in 0..20 {
        let mut stream = client.open().await;
        let mut requests = Vec::new();
        for req in 0..8 {
            Message::from(ChunkGet { req, group, addresses: addresses.clone(), wait_ms: 30_000 })
                .put(&mut requests);
        }
        for req in 10..50 {
            let addresses = vec![Hash([n; 32]); 8192];
            Message::from(ChunkHave { req, group, addresses }).put(&mut requests);
        }
        pour(&mut stream, &requests).await;
        streams.push(stream);
    }
    scene.settled().await;
    let cost = scene.peak() - before;
    println!("who reads nothing: {before} MiB before, {cost} MiB more");
    // Pages and chunks on their way out: 8 MiB, twice while they are made. Small answers: 256 KiB and one more on each of
    // 60 streams. QUIC's own buffers: 8 MiB in, a few KiB out. Measured: 28 MiB.
    assert!(cost < 64, "{cost} MiB");
    // Others of the group are not held up by it either.
    session.push(&chain, 1000, &b"goes on"[..]).await;
    drop(streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_announced_costs_nothing_before_the_bytes_are_there() {
    let mut scene = Scene::new().await;
    let client = Client::connect(&scene.address, &Device::new(1)).await;
    scene.settled().await;
    let before = scene.peak();
    let length = u32::try_from(MAX_FRAME).unwrap().to_be_bytes();
    let mut streams = Vec::new();
    for _ in 0..64 {
        let mut stream = client.open().await;
        stream.raw(&[&length[..], &[0x92; 100]].concat()).await;
        streams.push(stream);
    }
    scene.settled().await;
    let cost = scene.peak() - before;
    println!("announced: {before} MiB before, {cost} MiB more");
    assert!(cost < 4, "{cost} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_fills_no_memory_with_the_first_halves_of_frames() {
    let mut scene = Scene::new().await;
    let client = Client::connect(&scene.address, &Device::new(1)).await;
    scene.settled().await;
    let before = scene.peak();
    let body = vec![0x92; MAX_FRAME - 1];
    let mut streams = Vec::new();
    for _ in 0..64 {
        let mut stream = client.open().await;
        let _ = stream
            .send
            .write_all(&[&u32::try_from(MAX_FRAME).unwrap().to_be_bytes()[..], &body].concat())
            .await;
        streams.push(stream);
    }
    scene.settled().await;
    let cost = scene.peak() - before;
    println!("first halves: {before} MiB before, {cost} MiB more");
    // QUIC keeps up to 8 MiB that nobody has read yet, in packets that are larger. Without a limit: 100 MiB.
    assert!(cost < 32, "{cost} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_brings_no_more_rosters_than_a_connection_may_have_waiting() {
    let mut scene = Scene::new().await;
    // A roster that the stranger is no member of, with as much beside its statements as fits.
    let a = Device::new(1);
    let mut chain = Chain::new(&a);
    for n in 0..14 {
        chain.rotate_with(&a, vec![noise(n, 1 << 20).into()]);
    }
    let client = Client::connect(&scene.address, &Device::new(2)).await;
    scene.settled().await;
    let before = scene.peak();
    let (mut taken, mut refused) = (0, 0);
    let mut streams = Vec::new();
    for _ in 0..12 {
        let mut stream = client.open().await;
        stream.send(hello(&chain)).await;
        assert_eq!(stream.error().await.code, Code::UnknownGroup);
        for (req, append) in (0..).zip(&chain.appends) {
            stream.send(RosterAppend { req, statements: vec![append.clone()] }).await;
            match stream.next().await {
                Message::RosterOk(_) => taken += 1,
                Message::Error(e) => {
                    assert_eq!((e.req, e.code), (Some(req), Code::RelayOverloaded));
                    refused += 1;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        streams.push(stream);
    }
    scene.settled().await;
    let cost = scene.peak() - before;
    println!("rosters: {before} MiB before, {cost} MiB more, {taken} taken and {refused} refused");
    assert!(taken >= 30 && refused >= 8, "{taken} {refused}");
    // 32 MiB, and the frames that they came in.
    assert!(cost < 80, "{cost} MiB");
}
