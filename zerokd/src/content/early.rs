//! Chunks that go to the relays while their file is still being read: they are sealed just then, and need not be read
//! and sealed again for it. Nothing rests on this: what finds no room or no relay is uploaded from the queue, once the
//! record is committed. To a relay a chunk without a record is so many bytes until they are dropped.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerok_core::SealedChunk;
use zerok_protocol::{GroupId, Hash};

use super::stream::{Purpose, Streams};

/// Batches under way at once.
const AT_ONCE: usize = 8;
const QUEUE: usize = 64;

/// Takes sealed chunks; cheap to clone.
#[derive(Clone)]
pub(super) struct Early {
    queue: mpsc::Sender<Batch>,
    under_way: watch::Sender<BTreeSet<Hash>>,
}

struct Batch {
    group: GroupId,
    chunks: Vec<SealedChunk>,
    _room: OwnedSemaphorePermit,
    _under_way: UnderWay,
}

/// While it lives, these chunks are on their way.
struct UnderWay {
    set: watch::Sender<BTreeSet<Hash>>,
    addresses: Vec<Hash>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.set.send_modify(|set| {
            for address in &self.addresses {
                set.remove(address);
            }
        });
    }
}

impl Early {
    pub(super) fn start(streams: Arc<Streams>, tracker: &TaskTracker, cancel: CancellationToken) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tracker.spawn(async move {
            let batches =
                stream::unfold(waiting, |mut waiting| async move { Some((waiting.recv().await?, waiting)) });
            let all = batches.for_each_concurrent(AT_ONCE, |batch| put(streams.clone(), batch));
            cancel.run_until_cancelled(all).await;
        });
        Self { queue, under_way: watch::Sender::new(BTreeSet::new()) }
    }

    /// Sends chunks if there is room for all of them now.
    pub(super) fn offer(&self, group: GroupId, chunks: Vec<SealedChunk>, window: &Arc<Semaphore>) {
        let bytes: usize = chunks.iter().map(|chunk| chunk.sealed.len()).sum();
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(place) = self.queue.try_reserve() else { return };
        let Ok(room) = window.clone().try_acquire_many_owned(kib) else { return };
        let addresses: Vec<Hash> = chunks.iter().map(|chunk| chunk.chunk.address).collect();
        self.under_way.send_modify(|set| set.extend(&addresses));
        let under_way = UnderWay { set: self.under_way.clone(), addresses };
        place.send(Batch { group, chunks, _room: room, _under_way: under_way });
    }

    /// Waits until none of these is on its way, so that none is sent twice.
    pub(super) async fn settled(&self, addresses: &BTreeSet<Hash>) {
        let mut under_way = self.under_way.subscribe();
        drop(under_way.wait_for(|set| set.is_disjoint(addresses)).await);
    }
}

/// Gives a batch to every relay that lacks it; whatever goes wrong is the queue's to mend.
async fn put(streams: Arc<Streams>, batch: Batch) {
    for stream in streams.to(batch.group, Purpose::Upload).await {
        let asked = batch.chunks.iter().map(|chunk| chunk.chunk.address).collect();
        let Ok(lacking) = stream.missing(batch.group, asked).await else { continue };
        let puts: FuturesUnordered<_> = batch
            .chunks
            .iter()
            .filter(|chunk| lacking.contains(&chunk.chunk.address))
            .map(|chunk| stream.put(batch.group, chunk.chunk.address, chunk.sealed.clone()))
            .collect();
        puts.for_each(|outcome| async { drop(outcome) }).await;
    }
}
