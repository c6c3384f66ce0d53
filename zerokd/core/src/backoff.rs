//! How long to wait before the next attempt: 1, 2, 4, 8, 16, 30 seconds, each with a random part up to the step itself, so
//! that devices that lost a relay together do not come back together.

use std::time::Duration;

const STEPS: [u64; 6] = [1, 2, 4, 8, 16, 30];

/// Counts attempts that failed in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: usize,
}

impl Backoff {
    /// The time to wait after one more failure; `random` is any random number.
    pub fn next(&mut self, random: u64) -> Duration {
        let last = STEPS.len() - 1;
        let step = STEPS.get(self.failures.min(last)).copied().unwrap_or(30) * 1000;
        self.failures = (self.failures + 1).min(last);
        Duration::from_millis(step + random % (step + 1))
    }

    /// An attempt succeeded: the next failure waits the first step again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_steps_double_up_to_thirty_seconds_and_start_over_after_success() {
        let mut backoff = Backoff::default();
        let steps: Vec<_> = (0..8).map(|_| backoff.next(0).as_secs()).collect();
        assert_eq!(steps, [1, 2, 4, 8, 16, 30, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next(0).as_secs(), 1);
    }

    proptest! {
        #[test]
        fn the_random_part_is_at_most_the_step(randoms in prop::collection::vec(any::<u64>(), 1..10)) {
            let (mut plain, mut random) = (Backoff::default(), Backoff::default());
            for r in randoms {
                let step = plain.next(0);
                let wait = random.next(r);
                prop_assert!(wait >= step && wait <= step * 2);
            }
        }
    }
}
