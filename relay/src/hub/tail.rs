//! The newest blobs of a group in memory, so that a subscriber that keeps up costs no read of the database.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use zerok_protocol::{Deliver, DeviceId, Message};

use crate::store::Stored;

/// Bytes of payload kept for one group.
const GROUP_BYTES: usize = 8 << 20;
/// Blobs kept for one group.
const GROUP_BLOBS: usize = 8192;
/// Bytes kept for all groups together; beyond, a group keeps only its newest blob.
const ALL_BYTES: usize = 128 << 20;

/// A blob on its way out. Its frame is made once for all subscribers.
pub(crate) struct TailBlob {
    pub(crate) stored: Stored,
    pub(crate) committed: Instant,
    frame: OnceLock<Bytes>,
}

impl TailBlob {
    /// The DELIVER frame.
    pub(crate) fn frame(&self) -> Bytes {
        let make = || Bytes::from(Message::from(Deliver { blob: self.stored.blob.clone() }).to_frame());
        self.frame.get_or_init(make).clone()
    }

    pub(crate) fn size(&self) -> usize {
        self.stored.blob.payload.len()
    }

    /// May `device` see it? Not what it pushed itself, nor what is for another.
    pub(crate) fn visible_to(&self, device: &DeviceId) -> bool {
        self.stored.blob.pusher != *device && self.stored.recipient.is_none_or(|r| r == *device)
    }
}

/// What a subscriber does next.
pub(crate) enum Step {
    /// Sends these; then it has been offered everything up to `upto`. `short` if its credit ended the batch.
    Send { blobs: Vec<Arc<TailBlob>>, upto: u64, short: bool },
    /// Reads from the storage: what comes next is no longer in memory.
    Read,
    /// Waits: it has been offered everything.
    Wait,
}

pub(crate) struct Tail {
    blobs: VecDeque<Arc<TailBlob>>,
    /// Every blob after this cursor is here; none until the first came.
    from: Option<u64>,
    /// The newest cursor; none until the storage or the first blob told it.
    newest: Option<u64>,
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Tail {
    pub(crate) fn new(all: Arc<AtomicUsize>) -> Self {
        Self { blobs: VecDeque::new(), from: None, newest: None, bytes: 0, all }
    }

    pub(crate) fn newest(&self) -> u64 {
        self.newest.unwrap_or(0)
    }

    /// The storage says that this cursor was assigned.
    pub(crate) fn raise(&mut self, cursor: u64) {
        self.newest = self.newest.max(Some(cursor));
    }

    /// Takes the next committed blob; keeps it if anybody may want it soon.
    pub(crate) fn add(&mut self, stored: Stored, keep: bool) {
        let cursor = stored.blob.cursor;
        let before = self.newest.unwrap_or(cursor - 1);
        self.newest = self.newest.max(Some(cursor));
        if !keep {
            self.clear();
            return;
        }
        // Commits come in order, so nothing was assigned between the newest before and this one.
        self.from.get_or_insert(before.min(cursor - 1));
        let size = stored.blob.payload.len();
        self.bytes += size;
        let all = self.all.fetch_add(size, Ordering::Relaxed) + size;
        self.blobs.push_back(Arc::new(TailBlob {
            stored,
            committed: Instant::now(),
            frame: OnceLock::new(),
        }));
        let mut excess = all.saturating_sub(ALL_BYTES);
        while self.blobs.len() > 1
            && (excess > 0 || self.bytes > GROUP_BYTES || self.blobs.len() > GROUP_BLOBS)
        {
            excess = excess.saturating_sub(self.drop_oldest());
        }
    }

    fn drop_oldest(&mut self) -> usize {
        let Some(oldest) = self.blobs.pop_front() else { return 0 };
        self.from = Some(oldest.stored.blob.cursor);
        let size = oldest.size();
        self.bytes -= size;
        self.all.fetch_sub(size, Ordering::Relaxed);
        size
    }

    /// Forgets the blobs; what comes next counts from there.
    pub(crate) fn clear(&mut self) {
        self.blobs.clear();
        self.from = None;
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }

    /// What follows `at` for `device`, within its credit and `max_bytes`.
    pub(crate) fn step(&self, at: u64, device: &DeviceId, credit: u64, max_bytes: usize) -> Step {
        if at >= self.newest() {
            return Step::Wait;
        }
        if self.from.is_none_or(|from| from > at) {
            return Step::Read;
        }
        // The storage may have told of what is committed and not yet here: it must not be taken for offered.
        if self.blobs.back().is_none_or(|newest| newest.stored.blob.cursor <= at) {
            return Step::Read;
        }
        let start = self.blobs.partition_point(|b| b.stored.blob.cursor <= at);
        let (mut blobs, mut upto, mut bytes) = (Vec::new(), at, 0usize);
        for blob in self.blobs.range(start..) {
            if blob.visible_to(device) {
                let after = bytes + blob.size();
                if u64::try_from(after).unwrap_or(u64::MAX) > credit {
                    return Step::Send { blobs, upto, short: true };
                }
                if after > max_bytes && !blobs.is_empty() {
                    return Step::Send { blobs, upto, short: false };
                }
                bytes = after;
                blobs.push(blob.clone());
            }
            upto = blob.stored.blob.cursor;
        }
        Step::Send { blobs, upto, short: false }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use zerok_protocol::{Blob, BlobId, GroupId};

    use super::*;

    fn device(n: u8) -> DeviceId {
        DeviceId([n; 32])
    }

    fn stored(cursor: u64, size: usize) -> Stored {
        let blob = Blob {
            blob_id: BlobId([0; 16]),
            cursor,
            pusher: device(1),
            timestamp: 0,
            payload: vec![0; size].into(),
        };
        Stored { group: GroupId([0; 32]), recipient: None, blob }
    }

    fn cursors(step: &Step) -> Vec<u64> {
        match step {
            Step::Send { blobs, .. } => blobs.iter().map(|b| b.stored.blob.cursor).collect(),
            _ => panic!("nothing is sent"),
        }
    }

    #[test]
    fn a_subscriber_at_the_tip_is_served_from_memory_and_one_behind_reads() {
        let mut tail = Tail::new(Arc::default());
        tail.raise(10);
        assert!(matches!(tail.step(5, &device(2), 100, 100), Step::Read));
        assert!(matches!(tail.step(10, &device(2), 100, 100), Step::Wait));
        tail.add(stored(20, 10), true);
        tail.add(stored(30, 10), true);
        assert!(matches!(tail.step(5, &device(2), 100, 100), Step::Read));
        assert_eq!(cursors(&tail.step(10, &device(2), 100, 100)), [20, 30]);
        assert_eq!(cursors(&tail.step(20, &device(2), 100, 100)), [30]);
        assert_eq!(cursors(&tail.step(10, &device(2), 15, 100)), [20]);
        assert_eq!(cursors(&tail.step(10, &device(2), 100, 15)), [20]);
    }

    #[test]
    fn what_the_storage_told_of_and_is_not_here_yet_is_read_and_never_skipped() {
        let mut tail = Tail::new(Arc::default());
        tail.add(stored(20, 10), true);
        // 30 and 40 are committed, a HELLO has seen that, and they are about to come.
        tail.raise(40);
        assert!(matches!(tail.step(20, &device(2), 100, 100), Step::Read));
        assert!(matches!(tail.step(19, &device(2), 100, 100), Step::Send { upto: 20, .. }));
        tail.add(stored(30, 10), true);
        assert!(matches!(tail.step(20, &device(2), 100, 100), Step::Send { upto: 30, .. }));
        assert!(matches!(tail.step(30, &device(2), 100, 100), Step::Read));
        tail.add(stored(40, 10), true);
        assert_eq!(cursors(&tail.step(20, &device(2), 100, 100)), [30, 40]);
        assert!(matches!(tail.step(40, &device(2), 100, 100), Step::Wait));
    }

    #[test]
    fn own_blobs_are_passed_over_without_costing_credit() {
        let mut tail = Tail::new(Arc::default());
        tail.add(stored(20, 10), true);
        assert!(
            matches!(tail.step(19, &device(1), 0, 100), Step::Send { blobs, upto: 20, .. } if blobs.is_empty())
        );
    }

    #[test]
    fn what_is_dropped_for_room_is_read_again() {
        let all = Arc::new(AtomicUsize::new(0));
        let mut tail = Tail::new(all.clone());
        for cursor in 1..=40 {
            tail.add(stored(cursor, 1 << 20), true);
        }
        assert!(matches!(tail.step(1, &device(2), u64::MAX, 1), Step::Read));
        assert_eq!(cursors(&tail.step(39, &device(2), u64::MAX, 1)), [40]);
        assert!(all.load(Ordering::Relaxed) <= GROUP_BYTES);
        tail.add(stored(41, 1), false);
        assert_eq!(all.load(Ordering::Relaxed), 0);
        assert!(matches!(tail.step(40, &device(2), u64::MAX, 1), Step::Read));
    }
}
