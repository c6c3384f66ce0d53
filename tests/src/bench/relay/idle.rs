//! What a thousand devices cost that are connected and say nothing.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::RelayOptions;
use super::scene::{self, Scene, in_time};
use crate::bench::machine::{memory, processor_time};
use crate::bench::report::Report;
use crate::raw::{Client, Frames, Session};

/// Devices of a group: a household's.
const MEMBERS: u64 = 5;
/// Waves of as many devices that come and go.
const WAVES: u64 = 2;
/// How long iroh remembers an endpoint that is gone, and a little more.
const REMEMBERED: Duration = Duration::from_secs(65);
const SPAN: Duration = Duration::from_secs(20);

pub(super) async fn run(report: &mut Report, options: &RelayOptions) -> Result<()> {
    let mut scene = Scene::new()?;
    let process = scene.process();
    // What the first device of all costs is the relay's own.
    let (devices, chain) = scene::group(0..1)?;
    for client in scene.connect(&devices).await? {
        client.session(&chain).await?;
        client.close().await;
    }
    let before = memory(process)?;
    let groups = u64::try_from(options.count(200))?;
    let idle = arrive(&scene, 1..=groups).await?;
    scene.rest().await?;
    let busy = processor_time(process)?;
    tokio::time::sleep(SPAN).await;
    let busy = (processor_time(process)? - busy) / SPAN.as_secs_f64() * 100.0;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let each = (memory(process)? - before) / idle.len() as f64;
    report.row(format!("{} idle devices, memory of each", idle.len()), each, "KiB").aim("≤ 130 KiB");
    report.row("the same, processor of all", busy, "% of a core").aim("< 5 %");
    report.row("the relay before", before / 1024.0, "MiB");
    leave(&mut scene, idle).await?;
    // The second wave finds the room that the first left; from there on nothing more should be needed.
    let mut after = Vec::new();
    for wave in 1..=WAVES {
        let others = arrive(&scene, groups * wave + 1..=groups * (wave + 1)).await?;
        leave(&mut scene, others).await?;
        tokio::time::sleep(REMEMBERED).await;
        after.push(memory(process)?);
    }
    let count = groups * MEMBERS * (WAVES - 1);
    let [first, .., last] = &after[..] else { bail!("waves") };
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let left = (last - first) / count as f64;
    report.row(format!("what {count} others leave behind that came and went, memory of each"), left, "KiB");
    Ok(())
}

type Idler = (Client, Session, Frames);

/// Groups of devices that connect and subscribe.
async fn arrive(scene: &Scene, groups: RangeInclusive<u64>) -> Result<Vec<Idler>> {
    let mut idle = Vec::new();
    for group in groups {
        let (devices, chain) = scene::group(group * MEMBERS..(group + 1) * MEMBERS)?;
        for client in scene.connect(&devices).await? {
            let mut session = client.session(&chain).await?;
            let delivery = client.subscribe(&mut session, 1, 0, 4 << 20).await?;
            idle.push((client, session, delivery));
        }
    }
    Ok(idle)
}

/// They close, and the relay has noticed.
async fn leave(scene: &mut Scene, idle: Vec<Idler>) -> Result<()> {
    for (client, ..) in idle {
        client.close().await;
    }
    let gone = async {
        while scene.relay.metric("connections").context("the relay's metrics")? > 0.0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    in_time("the relay notices that they are gone", gone).await?;
    scene.rest().await
}
