//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How long a condition may take before the test fails. Generous, because a busy machine is no defect.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a condition is asked for.
const INTERVAL: Duration = Duration::from_millis(10);

/// Asks until the condition holds.
///
/// # Panics
/// It did not within the deadline.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Asks until there is an answer, and returns it.
///
/// # Panics
/// There was none within the deadline.
#[track_caller]
pub fn wait_for<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    wait_ok(what, || answer().ok_or_else(String::new))
}

/// Asks until the answer is good, and returns it.
///
/// # Panics
/// It was not within the deadline; the message has the last reason why.
#[track_caller]
pub fn wait_ok<T>(what: &str, mut answer: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match answer() {
            Ok(answer) => return answer,
            Err(why) if started.elapsed() >= PATIENCE => {
                panic!("waited {} s in vain: {what}\n{why}", PATIENCE.as_secs())
            }
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}
