//! Minutes of mixed load: pushes, deliveries, acknowledgements, pages, signals, chunks, devices and groups that come
//! and go. The relay's memory must stay as it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use zerok_protocol::{Ack, ChunkGet, ChunkPut, Credit, Hash, Message, Pull, Signal};

use super::scene::{self, Scene};
use super::{RelayOptions, pusher};
use crate::bench::machine::{memory, processor_time};
use crate::bench::report::Report;
use crate::raw::{Chain, Client, Device, Session};

/// Groups under load, and their members: one pushes, the others take in.
const GROUPS: u64 = 10;
const MEMBERS: u64 = 4;
/// Blobs a second and group.
const PACE: u64 = 50;
const CHUNK: usize = 64 << 10;

/// A small cache, so that chunks come and go, too.
const SMALL_CACHE: &[(&str, &str)] =
    &[("ZEROK_RELAY_CONTENT_MAX_PER_GROUP", "67108864"), ("ZEROK_RELAY_CONTENT_MAX_TOTAL", "268435456")];

pub(super) async fn run(report: &mut Report, options: &RelayOptions) -> Result<()> {
    let mut scene = Scene::with(SMALL_CACHE)?;
    let process = scene.process();
    let length = Duration::from_secs(options.minutes * if options.quick { 6 } else { 60 });
    let mut load: JoinSet<Result<()>> = JoinSet::new();
    for group in 0..GROUPS {
        let (devices, chain) = scene::group(group * MEMBERS..(group + 1) * MEMBERS)?;
        let chain = Arc::new(chain);
        let mut clients = scene.connect(&devices).await?;
        let Some(first) = clients.pop() else { bail!("no client") };
        // The first one brings the roster.
        let session = first.session(&chain).await?;
        load.spawn(push(first, session, chain.clone()));
        for client in clients {
            load.spawn(receive(client, chain.clone()));
        }
    }
    load.spawn(come_and_go(scene.address.clone()));
    let (started, busy) = (Instant::now(), processor_time(process)?);
    let mut samples = Vec::new();
    let mut second = interval(Duration::from_secs(1));
    while started.elapsed() < length {
        tokio::select! {
            _ = second.tick() => {
                samples.push((started.elapsed(), memory(process)?));
                if samples.len() % 30 == 0 {
                    eprintln!("  {} s: {:.0} MiB", samples.len(), memory(process)? / 1024.0);
                }
            }
            Some(ended) = load.join_next() => {
                ended??;
                bail!("a part of the load ended");
            }
        }
    }
    let busy = (processor_time(process)? - busy) / started.elapsed().as_secs_f64() * 100.0;
    let stored = scene.relay.metric("blobs").unwrap_or(f64::NAN);
    let delivered = scene.relay.metric("deliveries").unwrap_or(f64::NAN);
    let chunks = scene.relay.metric("chunks_out").unwrap_or(f64::NAN);
    let early = median_between(&samples, length, 0.15, 0.25);
    let late = median_between(&samples, length, 0.9, 1.0);
    ensure!(early > 0.0 && late > 0.0, "too short for a figure");
    report.row(format!("memory after {} s of mixed load", length.as_secs()), late / 1024.0, "MiB");
    report.floor(early / 1024.0, "after a fifth of the time").aim("ratio ≤ 1.10");
    report.row("the relay meanwhile", busy, "% of a core");
    report.row("blobs delivered", delivered, "");
    report.row("chunks served", chunks, "");
    report.row("blobs stored at the end", stored, "");
    Ok(())
}

fn median_between(samples: &[(Duration, f64)], length: Duration, from: f64, to: f64) -> f64 {
    let mut within: Vec<f64> = samples
        .iter()
        .filter(|(at, _)| *at >= length.mul_f64(from) && *at <= length.mul_f64(to))
        .map(|(_, kib)| *kib)
        .collect();
    within.sort_unstable_by(f64::total_cmp);
    within.get(within.len() / 2).copied().unwrap_or(0.0)
}

/// Pushes at its pace, blobs of many sizes; a page, a signal and a chunk now and then.
async fn push(client: Client, mut session: Session, chain: Arc<Chain>) -> Result<()> {
    let (mut chunks, mut answers) = client.open().await?;
    let group = chain.roster.group();
    let mut tick = interval(Duration::from_millis(1000 / PACE));
    // A busy machine makes it slower, not bursty.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0u64.. {
        tick.tick().await;
        let req = u32::try_from(n & 0xffff_ffff)?;
        let size = usize::try_from(n * 7919 % 16_384)? + 64;
        let mut frames = pusher::blob(&chain.roster, n, pusher::payload(n, size)).to_frame();
        match n % 10 {
            3 => Message::from(Pull { req, after_cursor: 0, limit: Some(20) }).put(&mut frames),
            6 => signal(n).put(&mut frames),
            _ => {}
        }
        session.send.write_all(&frames).await?;
        for _ in 0..if n % 10 == 3 { 2 } else { 1 } {
            match session.frames.next().await? {
                Message::PushAck(_) | Message::PullResponse(_) | Message::Signal(_) => {}
                other => bail!("answered {other:?}"),
            }
        }
        if n % 10 == 0 {
            let data = pusher::payload(n, CHUNK);
            let address = Hash::of(&data);
            let mut frames = Message::from(ChunkPut { req, group, address, data }).to_frame();
            Message::from(ChunkGet { req, group, addresses: vec![address], wait_ms: 1000 }).put(&mut frames);
            chunks.write_all(&frames).await?;
            for _ in 0..2 {
                let answer = answers.next().await?;
                ensure!(matches!(answer, Message::ChunkPutAck(_) | Message::Chunk(_)), "answered {answer:?}");
            }
        }
    }
    Ok(())
}

fn signal(n: u64) -> Message {
    Signal { recipient: None, sender: None, payload: Bytes::copy_from_slice(&n.to_be_bytes()) }.into()
}

/// Takes in what the others push, and acknowledges it.
async fn receive(client: Client, chain: Arc<Chain>) -> Result<()> {
    let mut session = client.session(&chain).await?;
    let mut delivery = client.subscribe(&mut session, 1, 0, 4 << 20).await?;
    let mut taken = 0;
    loop {
        tokio::select! {
            message = delivery.next() => if let Message::Deliver(deliver) = message? {
                taken += u64::try_from(deliver.blob.payload.len())?;
                if taken > 64 << 10 {
                    let mut frames = Message::from(Ack { cursor: deliver.blob.cursor }).to_frame();
                    Message::from(Credit { req: 1, bytes: taken }).put(&mut frames);
                    session.send.write_all(&frames).await?;
                    taken = 0;
                }
            },
            message = session.frames.next() => match message? {
                Message::Signal(_) => {}
                other => bail!("a session said {other:?}"),
            },
        }
    }
}

/// A device a second that connects with a group of its own, pushes a little and goes.
async fn come_and_go(address: zerok_protocol::RelayAddr) -> Result<()> {
    let mut second = interval(Duration::from_secs(1));
    for seed in 1_000_000u64.. {
        second.tick().await;
        let device = Device::new(seed);
        let chain = Chain::of(std::slice::from_ref(&device))?;
        let client = Client::connect(&address, &device).await?;
        let mut session = client.session(&chain).await?;
        pusher::push_all(&mut session, &chain, 0, 10, 1024, 10).await?;
        client.close().await;
    }
    Ok(())
}
