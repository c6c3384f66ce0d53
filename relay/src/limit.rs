//! Token buckets: how often something may happen. Pace, not failure: a refusal says when to try again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Holders remembered at most before those that have rested are forgotten.
const REMEMBERED: usize = 4096;

/// A rate per minute, and how many may come at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_minute: u32,
    pub(crate) burst: u32,
}

/// One bucket, full at first.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, state: Mutex::new((f64::from(rate.burst), now)) }
    }

    /// Takes one, or says how long until there is one.
    pub(crate) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let per_second = f64::from(self.rate.per_minute.max(1)) / 60.0;
        let since = now.saturating_duration_since(state.1).as_secs_f64();
        let tokens = since.mul_add(per_second, state.0).min(f64::from(self.rate.burst.max(1)));
        *state = (tokens, now);
        if tokens >= 1.0 {
            state.0 = tokens - 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - tokens) / per_second).max(Duration::from_millis(1)))
        }
    }

    fn rested(&self, now: Instant) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let minutes = now.saturating_duration_since(state.1).as_secs_f64() / 60.0;
        minutes * f64::from(self.rate.per_minute) + state.0 >= f64::from(self.rate.burst)
    }
}

/// A bucket for each holder, whatever number of connections it uses.
pub(crate) struct Buckets<K> {
    rate: Rate,
    held: Mutex<HashMap<K, Arc<Bucket>>>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, held: Mutex::default() }
    }

    pub(crate) fn of(&self, holder: K, now: Instant) -> Arc<Bucket> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= REMEMBERED {
            held.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.rested(now));
        }
        held.entry(holder).or_insert_with(|| Arc::new(Bucket::new(self.rate, now))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_rules() {
        let start = Instant::now();
        let bucket = Bucket::new(Rate { per_minute: 60, burst: 3 }, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        let wait = bucket.take(start).unwrap_err();
        assert_eq!(wait.as_millis(), 1000);
        assert_eq!(bucket.take(start + wait), Ok(()));
        assert!(bucket.take(start + wait).is_err());
    }

    #[test]
    fn holders_have_buckets_of_their_own() {
        let now = Instant::now();
        let buckets = Buckets::new(Rate { per_minute: 1, burst: 1 });
        assert!(buckets.of("a", now).take(now).is_ok());
        assert!(buckets.of("a", now).take(now).is_err());
        assert!(buckets.of("b", now).take(now).is_ok());
    }
}
