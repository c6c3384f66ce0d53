//! The chunk cache from outside.

use std::collections::BTreeSet;

use bytes::Bytes;
use zerok_protocol::*;

use crate::client::{Client, Stream, TestRelay, config};
use crate::devices::{Chain, Device};

fn data(n: u32, size: usize) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&n.to_be_bytes());
    let mut out = vec![0; size];
    hasher.finalize_xof().fill(&mut out);
    out.into()
}

fn put(chain: &Chain, req: u32, data: &Bytes) -> ChunkPut {
    ChunkPut { req, group: chain.roster.group(), address: Hash::of(data), data: data.clone() }
}

fn get(chain: &Chain, req: u32, addresses: Vec<Hash>, wait_ms: u32) -> ChunkGet {
    ChunkGet { req, group: chain.roster.group(), addresses, wait_ms }
}

async fn outcome(stream: &mut Stream) -> (u32, ChunkOutcome) {
    match stream.next().await {
        Message::ChunkPutAck(ack) => (ack.req, ack.outcome),
        other => panic!("no outcome: {other:?}"),
    }
}

async fn chunk(stream: &mut Stream) -> Chunk {
    match stream.next().await {
        Message::Chunk(chunk) => chunk,
        other => panic!("no chunk: {other:?}"),
    }
}

struct Pair {
    relay: TestRelay,
    a: Client,
    b: Client,
    chain: Chain,
    _sessions: (Stream, Stream),
}

async fn pair(relay: TestRelay) -> Pair {
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (a, b) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let sessions = (a.session(&chain).await.0, b.session(&chain).await.0);
    Pair { relay, a, b, chain, _sessions: sessions }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_wait_for_their_put_and_come_as_they_land() {
    let p = pair(TestRelay::start().await).await;
    let chunks: Vec<Bytes> = (0..20).map(|n| data(n, 100_000)).collect();
    let mut up = p.a.open().await;
    up.send(put(&p.chain, 0, &chunks[0])).await;
    assert_eq!(outcome(&mut up).await, (0, ChunkOutcome::Stored));
    let mut down = p.b.open().await;
    let all: Vec<Hash> = chunks.iter().map(|c| Hash::of(c)).collect();
    down.send(get(&p.chain, 7, all.clone(), 30_000)).await;
    assert_eq!(chunk(&mut down).await.address, all[0]);
    for (n, chunk) in (1u32..).zip(&chunks[1..]) {
        up.send(put(&p.chain, n, chunk)).await;
    }
    let mut left: BTreeSet<Hash> = all[1..].iter().copied().collect();
    while !left.is_empty() {
        let chunk = chunk(&mut down).await;
        assert_eq!((chunk.req, Hash::of(&chunk.data.unwrap())), (7, chunk.address));
        assert!(left.remove(&chunk.address));
    }
    drop(p.relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_and_a_get_without_time_says_so() {
    let p = pair(TestRelay::start().await).await;
    let (here, not_here) = (data(1, 10), data(2, 10));
    let mut stream = p.a.open().await;
    stream.send(put(&p.chain, 1, &here)).await;
    outcome(&mut stream).await;
    let both = vec![Hash::of(&here), Hash::of(&not_here)];
    stream.send(ChunkHave { req: 2, group: p.chain.roster.group(), addresses: both.clone() }).await;
    match stream.next().await {
        Message::ChunkMissing(m) => assert_eq!((m.req, m.addresses), (2, vec![both[1]])),
        other => panic!("{other:?}"),
    }
    stream.send(get(&p.chain, 3, both.clone(), 0)).await;
    let first = chunk(&mut stream).await;
    assert_eq!((first.address, first.data), (both[0], Some(here)));
    let second = chunk(&mut stream).await;
    assert_eq!((second.address, second.data), (both[1], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_is_a_mismatch_and_a_stranger_gets_nothing() {
    let p = pair(TestRelay::start().await).await;
    let chunk = data(1, 10);
    let mut stream = p.a.open().await;
    stream.send(ChunkPut { address: Hash([1; 32]), ..put(&p.chain, 1, &chunk) }).await;
    assert_eq!(outcome(&mut stream).await, (1, ChunkOutcome::Mismatch));
    stream.send(put(&p.chain, 2, &chunk)).await;
    outcome(&mut stream).await;
    let stranger = Client::connect(&p.relay.address(), &Device::new(9)).await;
    let mut theirs = stranger.open().await;
    theirs.send(get(&p.chain, 4, vec![Hash::of(&chunk)], 0)).await;
    let e = theirs.error().await;
    assert_eq!((e.req, e.code), (Some(4), Code::Unauthorized));
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_survive_a_restart_and_a_damaged_one_is_never_served() {
    let p = pair(TestRelay::start().await).await;
    let (good, bad) = (data(1, 1000), data(2, 1000));
    let mut stream = p.a.open().await;
    for (req, chunk) in [(1, &good), (2, &bad)] {
        stream.send(put(&p.chain, req, chunk)).await;
        assert_eq!(outcome(&mut stream).await.1, ChunkOutcome::Stored);
    }
    let dir = p.relay.dir.clone();
    p.relay.running.stop().await;
    let chunks = dir.path().join("relay/chunks");
    let mode = std::os::unix::fs::PermissionsExt::mode(&chunks.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    // Of a group that is gone.
    let gone = chunks.join(GroupId([9; 32]).to_hex());
    std::fs::create_dir_all(gone.join("aa")).unwrap();
    let address = Hash::of(&bad).to_hex();
    let file = dir.path().join("relay/chunks").join(p.chain.roster.group().to_hex());
    std::fs::write(file.join(&address[..2]).join(&address), vec![0; 1000]).unwrap();
    let running = zerok_relay::start(config(&dir)).await.unwrap();
    assert!(!gone.exists());
    let p = pair(TestRelay { running, dir }).await;
    let mut stream = p.b.open().await;
    stream.send(get(&p.chain, 1, vec![Hash::of(&good), Hash::of(&bad)], 0)).await;
    let mut answers = std::collections::BTreeMap::new();
    for _ in 0..2 {
        let chunk = chunk(&mut stream).await;
        answers.insert(chunk.address, chunk.data);
    }
    assert_eq!(answers[&Hash::of(&good)], Some(good));
    assert_eq!(answers[&Hash::of(&bad)], None);
    // Put again, it is there again.
    stream.send(put(&p.chain, 2, &bad)).await;
    assert_eq!(outcome(&mut stream).await, (2, ChunkOutcome::Stored));
    stream.send(get(&p.chain, 3, vec![Hash::of(&bad)], 0)).await;
    assert_eq!(chunk(&mut stream).await.data, Some(bad));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cache_says_so_until_what_was_asked_for_was_fetched() {
    let relay = TestRelay::with(|c| c.content.max_per_group = 250_000).await;
    let p = pair(relay).await;
    let chunks: Vec<Bytes> = (0..3).map(|n| data(n, 100_000)).collect();
    let mut up = p.a.open().await;
    for (n, chunk) in (0..).zip(&chunks[..2]) {
        up.send(put(&p.chain, n, chunk)).await;
        assert_eq!(outcome(&mut up).await.1, ChunkOutcome::Stored);
    }
    up.send(put(&p.chain, 2, &chunks[2])).await;
    assert_eq!(outcome(&mut up).await, (2, ChunkOutcome::Full));
    let mut down = p.b.open().await;
    down.send(get(&p.chain, 1, vec![Hash::of(&chunks[0])], 0)).await;
    assert!(chunk(&mut down).await.data.is_some());
    // The answer may be on its way before the relay has noted it.
    loop {
        up.send(put(&p.chain, 3, &chunks[2])).await;
        if outcome(&mut up).await.1 == ChunkOutcome::Stored {
            break;
        }
    }
    down.send(get(&p.chain, 2, vec![Hash::of(&chunks[0]), Hash::of(&chunks[1])], 0)).await;
    let (one, two) = (chunk(&mut down).await, chunk(&mut down).await);
    assert_eq!((one.address, one.data.is_some()), (Hash::of(&chunks[1]), true));
    assert_eq!((two.address, two.data), (Hash::of(&chunks[0]), None));
}
