//! A million stored blobs: how soon the relay is there, and what a page costs.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinSet;
use zerok_protocol::{Message, Pull};

use super::scene::{self, Scene, in_time};
use super::{RelayOptions, pusher};
use crate::bench::floor;
use crate::bench::report::{Report, ms, percentile, rate};
use crate::process::Exit;
use crate::raw::{Chain, Client, Device};

const PUSHERS: u64 = 8;
const SIZE: usize = 1024;
const PULLS: usize = 2000;

pub(super) async fn run(report: &mut Report, options: &RelayOptions) -> Result<()> {
    let mut scene = Scene::new()?;
    let count = options.count(1_000_000);
    let (devices, chain) = scene::group(0..PUSHERS + 1)?;
    let [pushing @ .., pulling] = &devices[..] else { bail!("devices") };
    let (cursors, time) = in_time("storing them", fill(&scene, pushing, &chain, count)).await?;
    report.row(
        format!("{count} blobs of {SIZE} B stored, by {PUSHERS} connections"),
        rate(count, time),
        "blobs/s",
    );
    ensure!(scene.relay.stop() == Exit::Code(0), "the relay did not stop in order");
    let started = Instant::now();
    scene.relay.restart();
    report.row(format!("start with {count} blobs"), ms(started.elapsed()), "ms").aim("≤ 1000 ms");
    scene.relay.kill9();
    let started = Instant::now();
    scene.relay.restart();
    report.row("the same after kill -9", ms(started.elapsed()), "ms").aim("≤ 1000 ms");
    for limit in [None, Some(100)] {
        let (mut samples, blobs) = in_time("pulling", pull(&scene, pulling, &chain, cursors, limit)).await?;
        let mut bare = floor::answers(blobs * SIZE, PULLS).await?;
        report.row(
            format!("PULL of {blobs} blobs at a random cursor, p50"),
            ms(percentile(&mut samples, 0.5)),
            "ms",
        );
        report.floor(ms(percentile(&mut bare, 0.5)), "as many bytes by bare QUIC");
        report.row("the same, p99", ms(percentile(&mut samples, 0.99)), "ms").aim("≤ 10 ms");
        report.floor(ms(percentile(&mut bare, 0.99)), "bare QUIC");
    }
    Ok(())
}

/// Stores them; the first and the last cursor, and how long it took.
async fn fill(
    scene: &Scene,
    devices: &[Device],
    chain: &Chain,
    count: usize,
) -> Result<((u64, u64), std::time::Duration)> {
    let clients = scene.connect(devices).await?;
    let each = count / devices.len();
    let started = Instant::now();
    let mut pushers = JoinSet::new();
    let mut first = u64::MAX;
    for (no, client) in (0u64..).zip(&clients) {
        let mut session = client.session(chain).await?;
        first = first.min(pusher::push_all(&mut session, chain, no << 32, 1, SIZE, 1).await?);
        let chain = chain.clone();
        pushers.spawn(async move {
            let last = pusher::push_all(&mut session, &chain, (no << 32) + 1, each - 1, SIZE, 512).await?;
            anyhow::Ok((session, last))
        });
    }
    let mut last = 0;
    while let Some(pusher) = pushers.join_next().await {
        last = last.max(pusher??.1);
    }
    let time = started.elapsed();
    for client in clients {
        client.close().await;
    }
    Ok(((first, last), time))
}

/// How long pages at random cursors take, and how many blobs the usual one has.
async fn pull(
    scene: &Scene,
    device: &Device,
    chain: &Chain,
    (first, last): (u64, u64),
    limit: Option<u32>,
) -> Result<(Vec<std::time::Duration>, usize)> {
    let client = Client::connect(&scene.address, device).await?;
    let mut session = client.session(chain).await?;
    let (mut samples, mut usual) = (Vec::new(), 0);
    let ask = |req, after_cursor| Message::from(Pull { req, after_cursor, limit }).to_frame();
    // The first one brings presence with it; nobody else comes after that.
    session.send.write_all(&ask(0, first)).await?;
    session.frames.next().await?;
    for req in (1u32..).take(PULLS) {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let frame = ask(req, first + u64::from_be_bytes(random) % (last - first));
        let started = Instant::now();
        session.send.write_all(&frame).await?;
        let body = session.frames.body().await?.context("an answer")?;
        let took = started.elapsed();
        match Message::decode(&body)? {
            Message::PullResponse(page) => {
                usual = usual.max(page.blobs.len());
                samples.push(took);
            }
            other => bail!("PULL was answered {other:?}"),
        }
    }
    client.close().await;
    Ok((samples, usual))
}
