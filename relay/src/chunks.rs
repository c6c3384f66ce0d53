//! The chunk cache: sealed chunks by the hash of their bytes, on disk, never synced, the newest also in memory. What is
//! lost, a device still has; what is damaged is noticed by its hash and forgotten.

mod disk;
mod index;
mod stream;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use zerok_protocol::{DeviceId, GroupId, Hash};

use self::disk::Disk;
pub(crate) use self::disk::{Found, scan as files};
use self::index::{Index, Place};
pub(crate) use self::stream::serve;
use crate::config::Percent;
use crate::free_disk::FreeDisk;
use crate::metrics::Metrics;

/// Sizes that the cache holds to, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) group: u64,
    pub(crate) total: u64,
}

/// What becomes of a chunk that is put.
pub(crate) enum Put {
    /// It is there already.
    Known,
    /// There is no room, and nothing may go.
    Full,
    /// It can be served; `done` is called when its bytes are held for the disk no more.
    Taken,
}

pub(crate) struct Chunks {
    index: Arc<Mutex<Index>>,
    disk: Disk,
    free_disk: FreeDisk,
    metrics: Arc<Metrics>,
}

impl Chunks {
    /// Opens the cache in `dir` with what is there. Reads directories: not for a thread that serves others.
    pub(crate) fn open(
        dir: &Path,
        sizes: Sizes,
        reserve: Percent,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let mut index = Index::new(sizes);
        disk::prepare(dir)?;
        let mut found = disk::scan(dir)?;
        found.sort_unstable_by_key(|chunk| chunk.modified);
        for chunk in found {
            index.found(chunk.group, chunk.address, chunk.size);
        }
        let free_disk = FreeDisk::new(dir, reserve);
        let cache = Self { index: Arc::new(Mutex::new(index)), disk: Disk::start(dir)?, free_disk, metrics };
        let excess = cache.index().shrink(Instant::now());
        cache.disk.remove(excess);
        Ok(cache)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in the cache.
    pub(crate) fn bytes(&self) -> u64 {
        self.index().bytes()
    }

    /// Holds to other sizes from now on.
    pub(crate) fn resize(&self, sizes: Sizes) {
        let mut index = self.index();
        index.resize(sizes);
        let excess = index.shrink(Instant::now());
        self.disk.remove(excess);
    }

    /// Takes a chunk whose hash was checked. It is served from here on; one that cannot be written is forgotten again.
    pub(crate) fn put(
        &self,
        group: GroupId,
        address: Hash,
        data: Bytes,
        done: impl FnOnce() + Send + 'static,
    ) -> Put {
        let mut index = self.index();
        let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if !index.has(&group, &address) && !self.free_disk.take(size) {
            return Put::Full;
        }
        let evicted = match index.insert(group, address, data.clone(), Instant::now()) {
            Ok(Some(evicted)) => evicted,
            Ok(None) => return Put::Known,
            Err(index::Full) => return Put::Full,
        };
        // Under the lock, so that removals and writes reach the disk in the order of the index.
        self.disk.remove(evicted);
        let of = self.index.clone();
        self.disk.write(group, address, data, move |written| {
            of.lock().unwrap_or_else(PoisonError::into_inner).written(
                &group,
                &address,
                written,
                Instant::now(),
            );
            done();
        });
        Put::Taken
    }

    /// While less of the disk is free than there should be, the least recently used go, as far as they may.
    pub(crate) fn keep_reserve(&self) {
        let missing = self.free_disk.missing();
        if missing > 0 {
            let mut index = self.index();
            let evicted = index.give_way(missing, Instant::now());
            self.disk.remove(evicted);
        }
    }

    /// Those of `addresses` that are not there.
    pub(crate) fn missing(&self, group: &GroupId, addresses: Vec<Hash>) -> Vec<Hash> {
        let index = self.index();
        addresses.into_iter().filter(|address| !index.has(group, address)).collect()
    }

    /// Notes that `device` wants these, and tells of each when it is there; of those that are, at once.
    pub(crate) fn want(self: &Arc<Self>, group: GroupId, device: DeviceId, addresses: Vec<Hash>) -> Wanted {
        let (there, arrivals) = mpsc::unbounded_channel();
        let ticket = self.index().want(group, device, &addresses, &there);
        Wanted { cache: self.clone(), group, addresses, ticket, arrivals }
    }

    /// The chunk, if it is there and its bytes are right.
    pub(crate) async fn read(&self, group: GroupId, address: Hash) -> Option<Bytes> {
        match self.index().place(&group, &address)? {
            Place::Memory(data) => return Some(data),
            Place::Disk => {}
        }
        let path = self.disk.path(&group, &address);
        let read = move || std::fs::read(path).ok().filter(|data| Hash::of(data) == address);
        let data = tokio::task::spawn_blocking(read).await.ok().flatten();
        if data.is_none() {
            tracing::warn!("a chunk on disk was lost or damaged; it is forgotten");
            self.metrics.damaged("chunk", 1);
            let mut index = self.index();
            index.forget(&group, &address);
            self.disk.remove(vec![(group, address)]);
        }
        data.map(Bytes::from)
    }

    /// Notes that `device` has it.
    pub(crate) fn served(&self, group: &GroupId, address: &Hash, device: &DeviceId) {
        self.index().served(group, address, device, Instant::now());
    }
}

/// What a device waits for; dropping it ends the wait.
pub(crate) struct Wanted {
    cache: Arc<Chunks>,
    group: GroupId,
    addresses: Vec<Hash>,
    ticket: u64,
    arrivals: mpsc::UnboundedReceiver<Hash>,
}

impl Wanted {
    /// The next address that is there.
    pub(crate) async fn next(&mut self) -> Option<Hash> {
        self.arrivals.recv().await
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.cache.index().unwant(&self.group, &self.addresses, self.ticket);
    }
}
