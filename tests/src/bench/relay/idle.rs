//! What a thousand devices cost that are connected and say nothing.

use std::time::Duration;

use anyhow::Result;

use super::RelayOptions;
use super::scene::{self, Scene};
use crate::bench::machine::{memory, processor_time};
use crate::bench::report::Report;

/// Devices of a group: a household's.
const MEMBERS: u64 = 5;
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
    let mut idle = Vec::new();
    for group in 1..=groups {
        let (devices, chain) = scene::group(group * MEMBERS..(group + 1) * MEMBERS)?;
        for client in scene.connect(&devices).await? {
            let mut session = client.session(&chain).await?;
            let delivery = client.subscribe(&mut session, 1, 0, 4 << 20).await?;
            idle.push((client, session, delivery));
        }
    }
    scene.rest().await?;
    let busy = processor_time(process)?;
    tokio::time::sleep(SPAN).await;
    let busy = (processor_time(process)? - busy) / SPAN.as_secs_f64() * 100.0;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let each = (memory(process)? - before) / idle.len() as f64;
    report.row(format!("{} idle devices, memory of each", idle.len()), each, "KiB").aim("≤ 130 KiB");
    report.row("the same, processor of all", busy, "% of a core").aim("< 5 %");
    report.row("the relay before", before / 1024.0, "MiB");
    for (client, ..) in idle {
        client.close().await;
    }
    Ok(())
}
