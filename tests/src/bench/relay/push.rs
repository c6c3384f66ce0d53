//! Durable blobs a second, eight connections.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::scene::{self, Scene, in_time};
use super::{RelayOptions, pusher, rows};
use crate::bench::machine::processor_time;
use crate::bench::report::{Report, rate};
use crate::process::Exit;

const CONNECTIONS: u64 = 8;
const IN_FLIGHT: usize = 256;
const SIZE: usize = 1024;
/// Rows of the floor at most: they are held in memory.
const FLOOR_ROWS: usize = 200_000;

pub(super) async fn run(report: &mut Report, options: &RelayOptions) -> Result<()> {
    let mut scene = Scene::new()?;
    let each = options.count(25_000);
    let count = each * usize::try_from(CONNECTIONS)?;
    let (devices, chain) = scene::group(0..CONNECTIONS)?;
    let clients = scene.connect(&devices).await?;
    let mut sessions = Vec::new();
    for client in &clients {
        sessions.push(client.session(&chain).await?);
    }
    let process = scene.process();
    let (commits, busy) = (commits(&scene)?, processor_time(process)?);
    let started = Instant::now();
    let mut pushers = JoinSet::new();
    for (no, mut session) in (0u64..).zip(sessions) {
        let chain = chain.clone();
        pushers.spawn(async move {
            pusher::push_all(&mut session, &chain, no << 32, each, SIZE, IN_FLIGHT).await.map(|_| session)
        });
    }
    let pushing = async {
        while let Some(pusher) = pushers.join_next().await {
            pusher??;
        }
        Ok(())
    };
    in_time("pushing", pushing).await?;
    let time = started.elapsed();
    let busy = (processor_time(process)? - busy) / time.as_secs_f64() * 100.0;
    let commits = self::commits(&scene)? - commits;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let commit = (count as f64 / commits.max(1.0)).round();
    ensure!(scene.relay.stop() == Exit::Code(0), "the relay did not stop in order");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let floor = rows::group_commit(&scene.relay.data(), scene.sandbox.path(), commit as usize, FLOOR_ROWS)?;
    let case = format!("push, {SIZE} B durable, {CONNECTIONS} connections with {IN_FLIGHT} under way");
    report.row(case, rate(count, time), "blobs/s").aim("≥ 20000 blobs/s, ratio ≤ 2.5");
    report.floor(floor, format!("the same rows by group commit alone, {commit} in each as the relay did"));
    report.row("the relay meanwhile", busy, "% of a core");
    Ok(())
}

fn commits(scene: &Scene) -> Result<f64> {
    scene.relay.metric("commit_seconds_count").context("the commits in the relay's metrics")
}
