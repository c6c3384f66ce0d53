//! How long to wait before connecting again: 100 ms, doubled up to 5 s, from the start again after success. The
//! daemon is on this machine, so no random part is needed.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }

    pub(super) async fn wait(&mut self) {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST);
        tokio::time::sleep(now).await;
    }
}
