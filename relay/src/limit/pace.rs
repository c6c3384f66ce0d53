//! Bytes per second: whoever is over the rate waits, and nothing is refused.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use zerok_protocol::DeviceId;

use super::{Buckets, Rate};

/// What is counted: small enough that small messages are not counted as large ones, large enough that no rate exceeds
/// what a count can say.
const UNIT: u64 = 64;
/// Taken at once: who has much to move lets others of the same device in between.
const PIECE: u64 = 64 << 10;

/// The bytes of each device, in and out, over all its connections; none if there is no limit.
pub(crate) struct Pace(RwLock<Option<Buckets<DeviceId>>>);

impl Pace {
    pub(crate) fn new(per_second: u64, burst: u64) -> Self {
        Self(RwLock::new(rate(per_second, burst).map(Buckets::new)))
    }

    pub(crate) fn set(&self, per_second: u64, burst: u64) {
        let mut pace = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match (&*pace, rate(per_second, burst)) {
            (Some(buckets), Some(rate)) => buckets.set(rate),
            (_, rate) => *pace = rate.map(Buckets::new),
        }
    }

    pub(crate) fn sweep(&self) {
        if let Some(buckets) = &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            buckets.sweep();
        }
    }

    /// Waits until the device may move so many bytes; true if it had to wait.
    pub(crate) async fn wait(&self, device: &DeviceId, bytes: usize) -> bool {
        let mut left = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut waited = false;
        while left > 0 && self.is_on() {
            match self.take(device, left.min(PIECE)) {
                Ok(()) => left -= left.min(PIECE),
                Err(wait) => {
                    waited = true;
                    tokio::time::sleep(wait).await;
                }
            }
        }
        waited
    }

    /// Is there a limit?
    pub(crate) fn is_on(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self, device: &DeviceId, bytes: u64) -> Result<(), Duration> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Some(buckets) => buckets.take_many(device, units(bytes)),
            None => Ok(()),
        }
    }
}

fn rate(per_second: u64, burst: u64) -> Option<Rate> {
    (per_second > 0).then(|| Rate::per_second(units(per_second), units(burst.max(PIECE))))
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const A: DeviceId = DeviceId([1; 32]);

    #[tokio::test]
    async fn bytes_beyond_the_burst_take_their_time() {
        let pace = Pace::new(1 << 20, 64 << 10);
        let start = Instant::now();
        assert!(!pace.wait(&A, 64 << 10).await);
        assert!(pace.wait(&A, 256 << 10).await);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(200), "{took:?}");
        assert!(!pace.wait(&DeviceId([2; 32]), 64 << 10).await);
    }

    #[tokio::test]
    async fn without_a_limit_nobody_waits_and_one_can_be_set_and_lifted() {
        let pace = Pace::new(0, 1);
        assert!(!pace.wait(&A, usize::MAX).await);
        pace.set(64 << 10, 64 << 10);
        assert!(!pace.wait(&A, 64 << 10).await);
        assert!(pace.take(&A, PIECE).is_err());
        pace.set(0, 0);
        assert!(!pace.wait(&A, usize::MAX).await);
    }
}
