//! Push on one device until received by a subscriber on the other: three processes, everything durable.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use zerok_client::{Push, StartAt};

use super::report::{Report, ms, percentile};
use super::{floor, scene};

/// What to measure.
#[derive(Debug, Clone, Copy, Args)]
pub struct LatencyOptions {
    /// How many pushes, one after the other.
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// Bytes of each.
    #[arg(long, default_value_t = 1024)]
    size: usize,
}

/// Runs it.
///
/// # Errors
/// The scene does not work.
pub async fn latency(options: LatencyOptions) -> Result<Report> {
    let pair = scene::pair();
    let (anna, ben) = scene::clients(&pair).await?;
    let mut entries = ben.entries("bench", StartAt::Beginning);
    let (mut whole, mut local) = (Vec::new(), Vec::new());
    for i in 0..options.count + 100 {
        let data = crate::noise(&i.to_string(), options.size);
        let started = Instant::now();
        let pushed = anna.push(Push::new("bench", data)).await?;
        local.push(started.elapsed());
        let batch = tokio::time::timeout(Duration::from_secs(20), entries.next()).await.context("lost")??;
        whole.push(started.elapsed());
        ensure!(batch.entries.len() == 1 && batch.entries[0].id == pushed.id, "another entry came");
    }
    let (whole, local) = (&mut whole[100..], &mut local[100..]);
    let fsync = floor::fsync(pair.sandbox.path(), 1000)?;
    let echo = floor::echo(2000).await?;
    let best = echo * 2 + fsync * 3;

    let mut report = Report::new("latency");
    let is = format!("2 echoes of {:.3} + 3 fsyncs of {:.3}", ms(echo), ms(fsync));
    let case = format!("{} B, push → subscriber on the other device", options.size);
    report.row(format!("{case}, p50"), ms(percentile(whole, 0.5)), "ms").floor(ms(best), is).aim("ratio ≤ 2");
    report.row(format!("{case}, p90"), ms(percentile(whole, 0.9)), "ms");
    report.row(format!("{case}, p99"), ms(percentile(whole, 0.99)), "ms");
    report
        .row("push answered (durable here), p50", ms(percentile(local, 0.5)), "ms")
        .floor(ms(fsync), "one fsync");
    report.row("push answered (durable here), p99", ms(percentile(local, 0.99)), "ms");
    Ok(report)
}
