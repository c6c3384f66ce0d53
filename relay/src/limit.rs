//! How often something may happen: a bucket for each holder (a device, an address, everybody), refilled at a rate.
//! Pace, not failure: a refusal says when to try again.

mod address;
mod pace;
mod rates;

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

pub(crate) use self::rates::{Limited, Rates};

/// A rate, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(Quota);

impl Rate {
    /// Zero counts as one: the configuration refuses it before.
    pub(crate) fn per_minute(count: u32, burst: u32) -> Self {
        Self(Quota::per_minute(at_least_one(count)).allow_burst(at_least_one(burst)))
    }

    /// Zero counts as one.
    pub(crate) fn per_second(count: u32, burst: u32) -> Self {
        Self(Quota::per_second(at_least_one(count)).allow_burst(at_least_one(burst)))
    }

    fn burst(self) -> u32 {
        self.0.burst_size().get()
    }
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

/// A bucket for each holder. One that is full again is forgotten by [`Buckets::sweep`], so that strangers who come and
/// go leave nothing behind.
pub(crate) struct Buckets<K: Clone + Eq + Hash> {
    limiter: RwLock<(Rate, DefaultKeyedRateLimiter<K>)>,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { limiter: RwLock::new((rate, DefaultKeyedRateLimiter::keyed(rate.0))) }
    }

    /// Takes one, or says how long until there is one.
    pub(crate) fn take(&self, holder: &K) -> Result<(), Duration> {
        self.take_many(holder, 1)
    }

    /// Takes `count` at once (no more than the burst counts), or says how long until there are so many.
    fn take_many(&self, holder: &K, count: u32) -> Result<(), Duration> {
        let guard = self.limiter.read().unwrap_or_else(PoisonError::into_inner);
        let (rate, limiter) = &*guard;
        match limiter.check_key_n(holder, at_least_one(count.min(rate.burst()))) {
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                Err(wait.max(Duration::from_millis(1)))
            }
            _ => Ok(()),
        }
    }

    /// Another rate from now on; every holder begins with a full bucket. The same rate changes nothing.
    pub(crate) fn set(&self, rate: Rate) {
        let mut guard = self.limiter.write().unwrap_or_else(PoisonError::into_inner);
        if guard.0 != rate {
            *guard = (rate, DefaultKeyedRateLimiter::keyed(rate.0));
        }
    }

    /// Forgets the holders whose buckets are full.
    pub(crate) fn sweep(&self) {
        let guard = self.limiter.read().unwrap_or_else(PoisonError::into_inner);
        guard.1.retain_recent();
        guard.1.shrink_to_fit();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.limiter.read().unwrap_or_else(PoisonError::into_inner).1.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_rules() {
        let buckets = Buckets::new(Rate::per_minute(60, 3));
        for _ in 0..3 {
            assert_eq!(buckets.take(&"a"), Ok(()));
        }
        let wait = buckets.take(&"a").unwrap_err();
        assert!(wait > Duration::from_millis(900) && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(buckets.take(&"b"), Ok(()));
    }

    #[test]
    fn who_waits_as_long_as_told_is_served() {
        let buckets = Buckets::new(Rate::per_second(100, 1));
        assert_eq!(buckets.take(&()), Ok(()));
        // The wait counts from its answer on.
        let wait = buckets.take(&()).unwrap_err();
        let told = Instant::now() + wait;
        while Instant::now() < told {
            std::thread::yield_now();
        }
        assert_eq!(buckets.take(&()), Ok(()));
    }

    #[test]
    fn more_than_a_burst_at_once_counts_as_a_burst() {
        let buckets = Buckets::new(Rate::per_minute(1, 5));
        assert_eq!(buckets.take_many(&(), 1000), Ok(()));
        assert!(buckets.take(&()).is_err());
    }

    #[test]
    fn strangers_who_come_and_go_leave_nothing_behind() {
        // A bucket is full again after a microsecond.
        let buckets = Buckets::new(Rate::per_second(1_000_000, 1));
        for stranger in 0..100_000 {
            assert_eq!(buckets.take(&stranger), Ok(()));
        }
        assert_eq!(buckets.len(), 100_000);
        std::thread::yield_now();
        let deadline = Instant::now() + Duration::from_secs(10);
        while buckets.len() > 0 {
            assert!(Instant::now() < deadline, "{} are left", buckets.len());
            buckets.sweep();
        }
    }

    #[test]
    fn a_sweep_forgets_nobody_who_has_taken_too_much() {
        let buckets = Buckets::new(Rate::per_minute(1, 1));
        assert_eq!(buckets.take(&()), Ok(()));
        buckets.sweep();
        assert!(buckets.take(&()).is_err());
    }

    #[test]
    fn a_new_rate_rules_at_once_and_the_same_one_changes_nothing() {
        let buckets = Buckets::new(Rate::per_minute(1, 1));
        assert_eq!(buckets.take(&()), Ok(()));
        buckets.set(Rate::per_minute(1, 1));
        assert!(buckets.take(&()).is_err());
        buckets.set(Rate::per_minute(1, 2));
        assert_eq!((buckets.take(&()), buckets.take(&())), (Ok(()), Ok(())));
        assert!(buckets.take(&()).is_err());
    }
}
