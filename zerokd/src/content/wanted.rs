//! What no relay has: asked of the other members, many addresses in one signal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerok_protocol::{GroupId, Hash};

use super::way::Way;

/// Addresses in one signal: at 34 bytes each far below the limit of a signal.
const IN_SIGNAL: usize = 256;
/// What is asked for within this time goes together.
const COMPANY: Duration = Duration::from_millis(20);
const QUEUE: usize = 1024;

/// Takes wishes; cheap to clone.
#[derive(Clone)]
pub(super) struct Wanted {
    queue: mpsc::Sender<(GroupId, Hash)>,
}

impl Wanted {
    pub(super) fn start(way: Arc<dyn Way>, tracker: &TaskTracker, cancel: CancellationToken) -> Self {
        let (queue, mut wishes) = mpsc::channel(QUEUE);
        tracker.spawn(async move {
            while let Some(Some((group, address))) = cancel.run_until_cancelled(wishes.recv()).await {
                let mut together = BTreeMap::from([(group, vec![address])]);
                tokio::time::sleep(COMPANY).await;
                while let Ok((group, address)) = wishes.try_recv() {
                    together.entry(group).or_insert_with(Vec::new).push(address);
                }
                for (group, addresses) in together {
                    for addresses in addresses.chunks(IN_SIGNAL) {
                        way.want(&group, addresses.to_vec());
                    }
                }
            }
        });
        Self { queue }
    }

    /// Asks for one; a wish that finds no room is uttered again with the next attempt.
    pub(super) fn ask(&self, group: GroupId, address: Hash) {
        let _ = self.queue.try_send((group, address));
    }
}
