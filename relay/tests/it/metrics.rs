//! The metrics: valid text, complete, naming nobody, and each moved by something that a device does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh::endpoint::{QuicTransportConfig, VarInt};
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use zerok_protocol::*;

use crate::client::{Client, PATIENCE, Stream, TestRelay, endpoint, endpoint_addr};
use crate::devices::{Chain, Device};

/// What `/metrics` said, parsed and checked (OpenMetrics 1.0, "Text format").
pub(crate) struct Scrape {
    content_type: String,
    /// Name, unit included and suffixes not, and type.
    families: BTreeMap<String, String>,
    /// By name and labels, as in `x_total{code="1000"}`.
    samples: BTreeMap<String, f64>,
}

pub(crate) async fn scrape(addr: SocketAddr) -> Scrape {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
    Scrape::parse(kind, body)
}

impl Scrape {
    fn parse(content_type: &str, text: &str) -> Self {
        let mut all = Self {
            content_type: content_type.to_owned(),
            families: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        let mut family = (String::new(), String::new());
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (word, name, rest) = (words.next(), words.next().unwrap(), words.next().unwrap());
                match word {
                    Some("HELP") => assert!(!rest.is_empty() && !all.families.contains_key(name), "{line}"),
                    Some("TYPE") => {
                        family = (name.to_owned(), rest.to_owned());
                        assert!(all.families.insert(family.0.clone(), family.1.clone()).is_none(), "{line}");
                    }
                    Some("UNIT") => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                    _ => panic!("neither HELP, TYPE nor UNIT: {line}"),
                }
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let name = sample.split('{').next().unwrap();
            let suffixes: &[&str] = match family.1.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("no type that this relay uses: {other}"),
            };
            let suffix =
                name.strip_prefix(&family.0).unwrap_or_else(|| panic!("{line} is not of {family:?}"));
            assert!(suffixes.contains(&suffix), "{line}");
            check_labels(sample);
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(value >= 0.0, "{line}");
            assert!(all.samples.insert(sample.to_owned(), value).is_none(), "twice: {line}");
        }
        all.check_histograms(text);
        all
    }

    /// Buckets count upwards, and the last one counts everything.
    fn check_histograms(&self, text: &str) {
        for (name, _) in self.families.iter().filter(|(_, kind)| *kind == "histogram") {
            let prefix = format!("{name}_bucket{{le=\"");
            let buckets: Vec<f64> = text
                .lines()
                .filter_map(|line| line.strip_prefix(&prefix))
                .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
                .collect();
            assert!(buckets.is_sorted() && buckets.len() > 2, "{name}: {buckets:?}");
            assert_eq!(
                self.samples[&format!("{name}_bucket{{le=\"+Inf\"}}")],
                self.get(&format!("{name}_count"))
            );
            assert_eq!(buckets.last().copied().unwrap(), self.get(&format!("{name}_count")));
        }
    }

    /// A sample, by its name without the prefix; what has never been counted is 0.
    pub(crate) fn get(&self, name: &str) -> f64 {
        let name = name.strip_prefix("zerok_relay_").unwrap_or(name);
        self.samples.get(&format!("zerok_relay_{name}")).copied().unwrap_or(0.0)
    }

    /// All samples of a family together, so that whatever moves it is seen.
    fn sum(&self, family: &str) -> f64 {
        let name = format!("zerok_relay_{family}");
        let of = |sample: &str| {
            let rest = sample.split('{').next().unwrap().strip_prefix(&name);
            matches!(rest, Some("" | "_total" | "_count"))
        };
        self.samples.iter().filter(|(sample, _)| of(sample)).map(|(_, value)| value).sum()
    }
}

/// Labels are few, and no value could be an id or an address.
fn check_labels(sample: &str) {
    let Some((_, labels)) = sample.split_once('{') else { return };
    for label in labels.strip_suffix('}').unwrap().split(',') {
        let (key, value) = label.split_once('=').unwrap();
        assert!(["code", "kind", "limit", "reason", "le"].contains(&key), "{sample}");
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap();
        let number = value.parse::<f64>().is_ok() && value.len() <= 8;
        let word = value.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(number || word, "{sample}");
    }
}

/// Waits until each of these has moved by so much since `before`.
pub(crate) async fn moved(addr: SocketAddr, before: &Scrape, by: &[(&str, f64)]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = scrape(addr).await;
        let off: Vec<_> = by
            .iter()
            .map(|(name, by)| (name, by, now.get(name) - before.get(name)))
            .filter(|(_, by, moved)| *by != moved)
            .collect();
        if off.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "(name, expected, found): {off:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The families that moved, and that were expected to.
struct Seen {
    addr: SocketAddr,
    last: Scrape,
    moved: BTreeSet<String>,
}

impl Seen {
    /// What was done since the last call moves these.
    async fn expect(&mut self, families: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = scrape(self.addr).await;
            let still: Vec<_> =
                families.iter().filter(|family| now.sum(family) == self.last.sum(family)).collect();
            if still.is_empty() {
                self.last = now;
                break;
            }
            assert!(Instant::now() < deadline, "nothing moved {still:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.moved.extend(families.iter().map(|family| format!("zerok_relay_{family}")));
    }
}

/// Takes every packet of `from` to the relay, and none back: handshakes that stay half open.
async fn one_way(to: SocketAddr) -> SocketAddr {
    let (inside, outside) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let addr = inside.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = vec![0; 65_536];
        while let Ok(size) = inside.recv(&mut packet).await {
            let _ = outside.send_to(&packet[..size], to).await;
        }
    });
    addr
}

async fn chunk_stream(client: &Client, chain: &Chain, session: &mut Stream, seen: &mut Seen) {
    let data = Bytes::from(vec![7; 10_000]);
    let (group, address) = (chain.roster.group(), Hash::of(&data));
    let mut chunks = client.open().await;
    chunks.send(ChunkPut { req: 1, group, address, data }).await;
    assert!(matches!(chunks.next().await, Message::ChunkPutAck(_)));
    seen.expect(&["chunks_in", "chunk_bytes"]).await;
    chunks.send(ChunkGet { req: 2, group, addresses: vec![address], wait_ms: 0 }).await;
    assert!(matches!(chunks.next().await, Message::Chunk(_)));
    seen.expect(&["chunks_out"]).await;
    session.send(Signal { recipient: None, sender: None, payload: Bytes::from_static(b"s") }).await;
    seen.expect(&["signals"]).await;
    session.send(Signal { recipient: None, sender: None, payload: Bytes::from_static(b"s") }).await;
    assert_eq!(session.error().await.code, Code::RateLimited);
    seen.expect(&["rate_limited", "errors"]).await;
}

async fn half_open(relay: &TestRelay) -> tokio::task::JoinSet<()> {
    let mut address = relay.address();
    address.addrs = vec![one_way(address.addrs[0]).await];
    let client = endpoint(
        &Device::new(9),
        vec![aws_lc_rs::kx_group::X25519MLKEM768],
        QuicTransportConfig::builder().build(),
    )
    .await;
    let mut connecting = tokio::task::JoinSet::new();
    for _ in 0..140 {
        let (client, addr) = (client.clone(), endpoint_addr(&address));
        connecting.spawn(async move { drop(client.connect(addr, ALPN).await) });
    }
    connecting
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_moved_by_what_it_counts_and_none_is_without_a_test() {
    let relay = TestRelay::with(|c| {
        c.http.bind = Some("127.0.0.1:0".parse().unwrap());
        c.limits.signals_per_minute = 1;
        c.limits.signals_per_minute_burst = 1;
    })
    .await;
    let addr = relay.running.http_addr().unwrap();
    let mut seen = Seen { addr, last: scrape(addr).await, moved: BTreeSet::new() };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(seen.last.content_type, kind);
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);

    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    seen.expect(&["connections", "connections_accepted"]).await;
    let (mut sa, _) = ca.session(&chain).await;
    seen.expect(&[
        "sessions",
        "sessions_admitted",
        "groups",
        "commit_seconds",
        "bytes_in",
        "bytes_out",
        "errors",
    ])
    .await;
    sa.push(&chain, 1, vec![1; 1000]).await;
    seen.expect(&["pushes", "blobs", "blob_bytes"]).await;
    let (mut sb, _) = cb.session(&chain).await;
    sb.send(Pull { req: 1, after_cursor: 0, limit: None }).await;
    assert!(matches!(sb.next().await, Message::PullResponse(_)));
    seen.expect(&["pulls"]).await;
    sb.subscribe(2, 0, CREDIT_DEFAULT).await;
    let (mut delivery, _) = cb.delivery().await;
    delivery.blob().await;
    seen.expect(&["deliveries"]).await;
    sa.push(&chain, 2, vec![2; 1000]).await;
    delivery.blob().await;
    seen.expect(&["delivery_seconds"]).await;
    chunk_stream(&ca, &chain, &mut sa, &mut seen).await;
    let other = endpoint(
        &Device::new(8),
        vec![aws_lc_rs::kx_group::X25519MLKEM768],
        QuicTransportConfig::builder().build(),
    )
    .await;
    let foreign = endpoint_addr(&relay.address());
    let connecting = tokio::spawn(async move { other.connect(foreign, b"/something/else").await.is_err() });
    seen.expect(&["rejected_handshakes"]).await;
    connecting.abort();
    let connecting = half_open(&relay).await;
    seen.expect(&["handshake_retries"]).await;
    drop(connecting);

    sa.push(&chain, 3, vec![3; 100_000]).await;
    unread(&relay, &chain, &b, &mut seen).await;
    damaged(relay, &chain, &b, &mut seen).await;
    let exported: BTreeSet<String> = seen.last.families.keys().cloned().collect();
    assert!(exported.is_subset(&seen.moved), "{exported:?} and moved by this test: {:?}", seen.moved);
    // A family that has never counted anything is not exported: the source has them all.
    assert_eq!(registered(), seen.moved, "left: registered; right: moved by this test");
}

/// The families that `metrics.rs` registers.
fn registered() -> BTreeSet<String> {
    let source = include_str!("../../src/metrics.rs");
    let calls = source.split("r.register(").skip(1);
    calls.map(|call| format!("zerok_relay_{}", call.split('"').nth(1).unwrap())).collect()
}

/// A session that ends while what it asked for is not read.
async fn unread(relay: &TestRelay, chain: &Chain, device: &Device, seen: &mut Seen) {
    let transport = QuicTransportConfig::builder().stream_receive_window(VarInt::from_u32(2048)).build();
    let deaf = endpoint(device, vec![aws_lc_rs::kx_group::X25519MLKEM768], transport).await;
    let deaf = Client::over(deaf, &relay.address()).await;
    let (mut session, _) = deaf.session(chain).await;
    session.send(Pull { req: 1, after_cursor: 0, limit: None }).await;
    seen.expect(&["pulls"]).await;
    // The answer is on its way when more has come than who is online.
    session.recv.recv.read_exact(&mut [0; 1500]).await.unwrap();
    session.send(Bye { reason: String::new() }).await;
    seen.expect(&["streams_unread"]).await;
}

/// A blob whose bytes are others than those that were pushed.
async fn damaged(relay: TestRelay, chain: &Chain, device: &Device, seen: &mut Seen) {
    relay.running.stop().await;
    let mut config = crate::client::config(&relay.dir);
    config.http.bind = Some("127.0.0.1:0".parse().unwrap());
    let database = rusqlite::Connection::open(config.data.join("relay.db")).unwrap();
    database.execute("UPDATE blobs SET payload = zeroblob(length(payload))", []).unwrap();
    drop(database);
    let running = zerok_relay::start(config).await.unwrap();
    seen.addr = running.http_addr().unwrap();
    seen.last = scrape(seen.addr).await;
    let client = Client::connect(running.address(), device).await;
    let (mut session, _) = client.session(chain).await;
    session.send(Pull { req: 1, after_cursor: 0, limit: None }).await;
    assert!(matches!(session.next().await, Message::PullResponse(_)));
    seen.expect(&["damaged_items"]).await;
}

/// `increase()` sees nothing in a series that begins with 1.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_handbooks_alerts_watch_is_there_before_it_happens() {
    let relay = TestRelay::with(|c| c.http.bind = Some("127.0.0.1:0".parse().unwrap())).await;
    let samples = scrape(relay.running.http_addr().unwrap()).await.samples;
    for series in [
        "errors_total{code=\"2002\"}",
        "errors_total{code=\"3002\"}",
        "damaged_items_total{kind=\"blob\"}",
        "damaged_items_total{kind=\"chunk\"}",
    ] {
        assert_eq!(samples.get(&format!("zerok_relay_{series}")), Some(&0.0), "{series} in {samples:?}");
    }
}
