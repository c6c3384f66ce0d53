//! The hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): Unix milliseconds in the upper 48 bits, a
//! counter in the lower 16. It orders what different devices did, follows the wall clock, and never runs backwards.

use serde::{Deserialize, Serialize};

/// How far ahead of the own clock a remote time may pull, in milliseconds.
const MAX_AHEAD_MS: u64 = 10 * 60 * 1000;

/// A time of the hybrid clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The time of an own event: later than `last`, and not before `now_ms`.
    #[must_use]
    pub fn tick(last: Hlc, now_ms: u64) -> Hlc {
        Hlc(last.0.saturating_add(1).max(at(now_ms)))
    }

    /// The own clock after a remote time was seen. A remote clock that is more than ten minutes ahead pulls only so far.
    #[must_use]
    pub fn observe(last: Hlc, remote: Hlc, now_ms: u64) -> Hlc {
        let limit = at(now_ms.saturating_add(MAX_AHEAD_MS));
        Hlc(last.0.max(remote.0.min(limit)))
    }

    /// Its Unix milliseconds.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0 >> 16
    }
}

/// The first time of a millisecond; a clock past the year 6400 stays at the last that fits a signed integer.
fn at(ms: u64) -> u64 {
    ms.min((1 << 47) - 1) << 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_remote_clock_that_is_far_ahead_pulls_ten_minutes_at_most() {
        let now = 1_800_000_000_000;
        let seen = Hlc::observe(Hlc(0), Hlc(u64::MAX), now);
        assert_eq!(seen.millis(), now + MAX_AHEAD_MS);
        assert_eq!(Hlc::tick(seen, now), Hlc(seen.0 + 1));
    }

    #[test]
    fn events_of_one_millisecond_are_counted() {
        let first = Hlc::tick(Hlc(0), 5);
        assert_eq!(first, Hlc(5 << 16));
        assert_eq!(Hlc::tick(first, 5), Hlc((5 << 16) + 1));
        assert_eq!(Hlc::tick(first, 6), Hlc(6 << 16));
        assert_eq!(Hlc::tick(first, 3), Hlc((5 << 16) + 1));
    }

    proptest! {
        #[test]
        fn the_clock_never_runs_backwards(
            events in prop::collection::vec((any::<u64>(), prop::option::of(any::<u64>())), 0..50),
        ) {
            let mut last = Hlc(0);
            for (now, remote) in events {
                let next = match remote {
                    Some(remote) => Hlc::observe(last, Hlc(remote), now),
                    None => Hlc::tick(last, now),
                };
                prop_assert!(next >= last);
                prop_assert!(remote.is_some() || next > last);
                prop_assert!(next.0 <= i64::MAX.unsigned_abs());
                last = next;
            }
        }
    }
}
