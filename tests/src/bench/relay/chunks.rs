//! Chunks in, out, and through: a member puts, another gets.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use tokio::sync::Semaphore;
use zerok_protocol::{ChunkGet, ChunkOutcome, ChunkPut, GroupId, Hash, Message};

use super::RelayOptions;
use super::scene::{self, Scene, in_time};
use crate::bench::floor;
use crate::bench::report::{Report, percentile, rate};
use crate::raw::Client;

/// Bytes that a client has under way.
const IN_FLIGHT: usize = 8 << 20;
/// CHUNK_GETs under way, and bytes that one asks for.
const GETS: usize = 4;
const ASKED: usize = 2 << 20;
/// The usual chunk of a folder, and the largest.
const SIZES: [usize; 2] = [64 << 10, 1 << 20];

/// Floor and relay take turns, so that a slow moment of the machine meets both; the median counts.
const PASSES: usize = 3;

pub(super) async fn run(report: &mut Report, options: &RelayOptions) -> Result<()> {
    let bytes = options.count(256) << 20;
    for size in SIZES {
        let scene = Scene::new()?;
        let (devices, chain) = scene::group(0..2)?;
        let group = chain.roster.group();
        let clients = scene.connect(&devices).await?;
        let [from, to] = &clients[..] else { bail!("two clients") };
        let _sessions = (from.session(&chain).await?, to.session(&chain).await?);
        let (mut up, mut down, mut puts, mut gets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for pass in 0..PASSES {
            let bare = floor::bulk(bytes).await?;
            up.push(bare.0);
            down.push(bare.1);
            let set = Chunks::make(group, size, bytes / size, pass);
            puts.push(in_time("putting chunks", put(from, &set)).await?);
            gets.push(in_time("getting chunks", get(to, &set, Duration::ZERO)).await?);
        }
        let kib = size >> 10;
        let speed = |times: &mut [Duration]| rate(bytes, percentile(times, 0.5)) / 1e6;
        report.row(format!("chunks of {kib} KiB in"), speed(&mut puts), "MB/s");
        report.floor(speed(&mut up), "bare QUIC to a process").aim("ratio ≤ 1.67");
        report.row(format!("chunks of {kib} KiB out"), speed(&mut gets), "MB/s");
        report.floor(speed(&mut down), "bare QUIC from a process").aim("ratio ≤ 1.67");
        let set = Chunks::make(group, size, bytes / size, PASSES);
        let through = async { tokio::try_join!(put(from, &set), get(to, &set, Duration::from_secs(30))) };
        let (_, through) = in_time("chunks through", through).await?;
        let case = format!("chunks of {kib} KiB through, put while waited for");
        report.row(case, rate(bytes, through) / 1e6, "MB/s");
    }
    Ok(())
}

struct Chunks {
    group: GroupId,
    size: usize,
    addresses: Vec<Hash>,
    /// CHUNK_PUT frames, made before the clock runs.
    frames: Vec<Bytes>,
}

impl Chunks {
    fn make(group: GroupId, size: usize, count: usize, pass: usize) -> Self {
        let mut set = Self { group, size, addresses: Vec::new(), frames: Vec::new() };
        for (req, n) in (0u32..).zip(0..count) {
            let data = Bytes::from(crate::noise(&format!("{size} {pass} {n}"), size));
            let address = Hash::of(&data);
            set.addresses.push(address);
            set.frames.push(Message::from(ChunkPut { req, group, address, data }).to_frame().into());
        }
        set
    }
}

async fn put(client: &Client, set: &Chunks) -> Result<Duration> {
    let (mut send, mut frames) = client.open().await?;
    let room = Semaphore::new(IN_FLIGHT / set.size);
    let started = Instant::now();
    let writing = async {
        for frame in &set.frames {
            room.acquire().await?.forget();
            send.write_chunk(frame.clone()).await?;
        }
        anyhow::Ok(())
    };
    let reading = async {
        for _ in &set.frames {
            match frames.next().await? {
                Message::ChunkPutAck(ack) if ack.outcome == ChunkOutcome::Stored => room.add_permits(1),
                other => bail!("CHUNK_PUT was answered {other:?}"),
            }
        }
        Ok(())
    };
    tokio::try_join!(writing, reading)?;
    Ok(started.elapsed())
}

async fn get(client: &Client, set: &Chunks, wait: Duration) -> Result<Duration> {
    let (mut send, mut frames) = client.open().await?;
    let mut asks = (0u32..).zip(set.addresses.chunks(ASKED / set.size)).map(|(req, addresses)| {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        Message::from(ChunkGet { req, group: set.group, addresses: addresses.to_vec(), wait_ms }).to_frame()
    });
    let started = Instant::now();
    for ask in asks.by_ref().take(GETS) {
        send.write_all(&ask).await?;
    }
    let mut bodies = Vec::with_capacity(set.addresses.len());
    while bodies.len() < set.addresses.len() {
        let Some(body) = frames.body().await? else { bail!("the relay ended the stream") };
        bodies.push(body);
        if bodies.len() % (ASKED / set.size) == 0
            && let Some(ask) = asks.next()
        {
            send.write_all(&ask).await?;
        }
    }
    let time = started.elapsed();
    for body in bodies {
        let Message::Chunk(chunk) = Message::decode(&body)? else { bail!("no chunk") };
        ensure!(chunk.data.is_some_and(|data| Hash::of(&data) == chunk.address), "not the chunk asked for");
    }
    Ok(time)
}
