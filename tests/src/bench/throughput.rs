//! Blobs per second: sixteen pushers with one blob a call, and calls of a thousand; accepted, and received by a
//! subscriber on the other device.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use tokio::task::JoinSet;
use zerok_client::api::BlobsClient;
use zerok_client::types::NewEntry;
use zerok_client::{Client, Push, StartAt};

use super::report::{Report, rate};
use super::{floor, scene};

/// What to measure.
#[derive(Debug, Clone, Copy, Args)]
pub struct ThroughputOptions {
    /// Blobs pushed one a call, over all pushers.
    #[arg(long, default_value_t = 20_000)]
    single: usize,
    /// Blobs pushed a thousand a call.
    #[arg(long, default_value_t = 200_000)]
    batched: usize,
    /// Connections that push at once.
    #[arg(long, default_value_t = 16)]
    pushers: usize,
    /// Bytes of each blob.
    #[arg(long, default_value_t = 1024)]
    size: usize,
}

/// Runs it.
///
/// # Errors
/// The scene does not work.
pub async fn throughput(options: ThroughputOptions) -> Result<Report> {
    let pair = scene::pair();
    let (anna, ben) = scene::clients(&pair).await?;
    let dir = pair.sandbox.path();
    let mut report = Report::new("throughput");

    let singles = options.single / options.pushers * options.pushers;
    let received = receive(ben.clone(), "single", singles);
    let started = Instant::now();
    let mut pushers = JoinSet::new();
    for _ in 0..options.pushers {
        let client = Client::connect_to(pair.anna.socket()).await?;
        pushers.spawn(async move {
            let blob = crate::noise("blob", options.size);
            for _ in 0..options.single / options.pushers {
                client.push(Push::new("single", blob.clone())).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(pusher) = pushers.join_next().await {
        pusher??;
    }
    let accepted = started.elapsed();
    let arrived = received.await??.duration_since(started);
    let case = format!("{} pushers, one {} B blob a call", options.pushers, options.size);
    let alone = floor::sqlite(dir, 2000, 1)?;
    report.row(format!("{case}: accepted"), rate(singles, accepted), "blobs/s").aim("≥ 5000 blobs/s");
    report.floor(alone, "SQLite, one commit a row");
    report.row(format!("{case}: received"), rate(singles, arrived), "blobs/s");

    let calls = options.batched / 1000;
    let received = receive(ben, "batched", calls * 1000);
    let entries: Vec<_> = (0..1000)
        .map(|i| NewEntry { data: crate::noise(&i.to_string(), options.size).into(), key: None })
        .collect();
    let started = Instant::now();
    for _ in 0..calls {
        anna.blob_push_many("batched".into(), entries.clone(), None, None, None, None).await?;
    }
    let accepted = started.elapsed();
    let arrived = received.await??.duration_since(started);
    let case = format!("push_many, 1000 blobs of {} B a call", options.size);
    let grouped = floor::sqlite(dir, 100, 1000)?;
    report.row(format!("{case}: accepted"), rate(calls * 1000, accepted), "blobs/s").aim("≥ 50000 blobs/s");
    report.floor(grouped, "SQLite, 1000 rows a commit");
    report.row(format!("{case}: received"), rate(calls * 1000, arrived), "blobs/s");
    Ok(report)
}

/// When the last of `count` entries was received.
fn receive(client: Client, channel: &'static str, count: usize) -> tokio::task::JoinHandle<Result<Instant>> {
    tokio::spawn(async move {
        let mut entries = client.entries(channel, StartAt::Beginning);
        let mut have = 0;
        while have < count {
            let next = tokio::time::timeout(Duration::from_secs(30), entries.next());
            have += next.await.with_context(|| format!("{have} of {count} received"))??.entries.len();
        }
        Ok(Instant::now())
    })
}
