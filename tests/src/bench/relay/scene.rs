//! A relay process whose limits are out of the way, and devices that talk to it.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt};
use zerok_protocol::RelayAddr;

use crate::bench::machine::processor_time;
use crate::raw::{Chain, Client, Device};
use crate::relay::Relay;
use crate::sandbox::Sandbox;

/// Longer than any part of a case may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// What is measured is how fast the relay is, not how fast it lets one be.
const UNLIMITED: &[(&str, &str)] = &[
    ("RUST_LOG", "error"),
    ("ZEROK_RELAY_LIMITS_MESSAGES_PER_MINUTE", "600000000"),
    ("ZEROK_RELAY_LIMITS_MESSAGES_PER_MINUTE_BURST", "10000000"),
    ("ZEROK_RELAY_LIMITS_GLOBAL_REQUESTS_PER_SECOND", "10000000"),
    ("ZEROK_RELAY_LIMITS_GLOBAL_REQUESTS_PER_SECOND_BURST", "10000000"),
    ("ZEROK_RELAY_STORAGE_MAX_GROUP_STORAGE", "68719476736"),
    ("ZEROK_RELAY_STORAGE_MAX_TOTAL_STORAGE", "68719476736"),
];

/// The relay of a case.
pub(super) struct Scene {
    pub(super) relay: Relay,
    pub(super) address: RelayAddr,
    pub(super) sandbox: Sandbox,
}

impl Scene {
    pub(super) fn new() -> Result<Self> {
        Self::with(&[])
    }

    /// The same with more environment.
    pub(super) fn with(environment: &[(&str, &str)]) -> Result<Self> {
        let sandbox = Sandbox::new();
        let relay = Relay::start_with(&sandbox, "relay", &[UNLIMITED, environment].concat());
        let address = relay.address().parse().context("the relay's address")?;
        Ok(Self { relay, address, sandbox })
    }

    /// Its process id.
    pub(super) fn process(&mut self) -> u32 {
        self.relay.process().id()
    }

    /// Waits until it has nothing to do.
    pub(super) async fn rest(&mut self) -> Result<()> {
        const LOOK: Duration = Duration::from_millis(500);
        let process = self.process();
        let resting = async {
            let mut before = processor_time(process)?;
            loop {
                tokio::time::sleep(LOOK).await;
                let now = processor_time(process)?;
                if now - before < LOOK.as_secs_f64() * 0.1 {
                    return Ok(());
                }
                before = now;
            }
        };
        in_time("the relay comes to rest", resting).await
    }

    /// Connections to it, one of each device.
    pub(super) async fn connect(&self, devices: &[Device]) -> Result<Vec<Client>> {
        self.each(devices, async |client| Ok(client)).await
    }

    /// What comes of the connections of these devices, a few made at a time; in the devices' order.
    pub(super) async fn each<T, F>(&self, devices: &[Device], then: impl Fn(Client) -> F) -> Result<Vec<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let connecting =
            devices.iter().map(async |device| then(Client::connect(&self.address, device).await?).await);
        in_time("connecting", futures_util::stream::iter(connecting).buffered(16).try_collect()).await
    }
}

/// Devices of these seeds, and their group.
pub(super) fn group(seeds: std::ops::Range<u64>) -> Result<(Vec<Device>, Chain)> {
    let devices: Vec<_> = seeds.map(Device::new).collect();
    let chain = Chain::of(&devices)?;
    Ok((devices, chain))
}

/// Fails rather than waits for ever.
pub(super) async fn in_time<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.with_context(|| format!("{what}: not in {} s", PATIENCE.as_secs()))?.with_context(|| what.to_owned())
}
