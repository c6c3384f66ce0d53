//! What is in the cache, who wants it, and what goes first. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use zerok_protocol::{DeviceId, GroupId, Hash};

use super::Sizes;

/// Bytes of the newest chunks that are also kept in memory.
const MEMORY: usize = 64 << 20;
/// How long a chunk stays for those who may come to want it.
const PINNED: Duration = Duration::from_secs(60);

/// What the smallest chunk counts as: it has a file and its place in memory like any other, and file systems have no
/// more files than one for each so many bytes.
const LEAST: u64 = 16 << 10;
/// How long a vain search for room is not repeated.
const FULL: Duration = Duration::from_millis(250);
/// How long nothing is taken after a file could not be written, for most likely the disk is full.
const UNWRITABLE: Duration = Duration::from_secs(1);

/// Everything that may go is gone, and there is still no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Where a chunk can be read.
pub(super) enum Place {
    Memory(Bytes),
    Disk,
}

/// Chunks to remove from disk.
pub(super) type Evicted = Vec<(GroupId, Hash)>;

pub(super) struct Index {
    sizes: Sizes,
    groups: HashMap<GroupId, Group>,
    bytes: u64,
    in_memory: usize,
    /// Chunks in memory, oldest first; some may be gone.
    memory: VecDeque<(GroupId, Hash)>,
    next: u64,
    /// Until then nothing may go: not looked for again.
    full_until: Option<Instant>,
    /// A file could not be written: until then nothing more is taken.
    unwritable_until: Option<Instant>,
}

#[derive(Default)]
struct Group {
    chunks: HashMap<Hash, Chunk>,
    /// Least recently used first.
    order: BTreeMap<u64, Hash>,
    bytes: u64,
    /// By address and ticket: that of one is found among those of thousands.
    wanted: HashMap<Hash, BTreeMap<u64, Waiter>>,
    /// As for all groups, when it is the group's own size that is reached.
    full_until: Option<Instant>,
}

struct Chunk {
    size: u64,
    used: u64,
    data: Option<Bytes>,
    file: FileState,
    /// Online members that asked for it and do not have it yet.
    asked: BTreeSet<DeviceId>,
    pinned_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileState {
    /// It is being written.
    Begun,
    /// All of it is there.
    Whole,
    /// It could not be written: the chunk is in memory alone.
    Failed,
}

struct Waiter {
    device: DeviceId,
    there: UnboundedSender<Hash>,
}

/// What a chunk of so many bytes counts as.
fn cost(bytes: u64) -> u64 {
    bytes.max(LEAST)
}

impl Index {
    pub(super) fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            groups: HashMap::new(),
            bytes: 0,
            in_memory: 0,
            memory: VecDeque::new(),
            next: 0,
            full_until: None,
            unwritable_until: None,
        }
    }

    pub(super) fn resize(&mut self, sizes: Sizes) {
        self.sizes = sizes;
        self.full_until = None;
        for group in self.groups.values_mut() {
            group.full_until = None;
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Something may go that could not: the next one looks for room again.
    fn look_again(&mut self, id: &GroupId) {
        self.full_until = None;
        if let Some(group) = self.groups.get_mut(id) {
            group.full_until = None;
        }
    }

    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Adds a chunk that was on disk at the start.
    pub(super) fn found(&mut self, id: GroupId, address: Hash, size: u64) {
        let chunk = Chunk {
            size: cost(size),
            used: self.tick(),
            data: None,
            file: FileState::Whole,
            asked: BTreeSet::new(),
            pinned_until: None,
        };
        self.add(id, address, chunk);
    }

    fn add(&mut self, id: GroupId, address: Hash, chunk: Chunk) {
        let group = self.groups.entry(id).or_default();
        self.bytes += chunk.size;
        group.bytes += chunk.size;
        group.order.insert(chunk.used, address);
        group.chunks.insert(address, chunk);
    }

    /// Adds a chunk and wakes who waits for it. Says what must go from disk; nothing if the chunk is known.
    pub(super) fn insert(
        &mut self,
        id: GroupId,
        address: Hash,
        data: Bytes,
        now: Instant,
    ) -> Result<Option<Evicted>, Full> {
        if self.has(&id, &address) {
            return Ok(None);
        }
        if self.unwritable_until.is_some_and(|until| until > now) {
            return Err(Full);
        }
        let size = cost(u64::try_from(data.len()).unwrap_or(u64::MAX));
        let evicted = self.make_room(&id, size, now)?;
        let used = self.tick();
        let waiters = self.groups.entry(id).or_default().wanted.remove(&address).unwrap_or_default();
        for waiter in waiters.values() {
            let _ = waiter.there.send(address);
        }
        self.in_memory += data.len();
        self.memory.push_back((id, address));
        let chunk = Chunk {
            size,
            used,
            data: Some(data),
            file: FileState::Begun,
            asked: waiters.values().map(|w| w.device).collect(),
            pinned_until: Some(now + PINNED),
        };
        self.add(id, address, chunk);
        Ok(Some(evicted))
    }

    /// The chunk is on disk, or cannot be: then it is served from memory for as long as that has room.
    pub(super) fn written(&mut self, id: &GroupId, address: &Hash, written: bool, now: Instant) {
        if !written {
            self.unwritable_until = Some(now + UNWRITABLE);
        }
        if let Some(chunk) = self.chunk(id, address) {
            chunk.file = if written { FileState::Whole } else { FileState::Failed };
        }
        self.trim_memory();
    }

    fn chunk(&mut self, id: &GroupId, address: &Hash) -> Option<&mut Chunk> {
        self.groups.get_mut(id)?.chunks.get_mut(address)
    }

    /// Lets the oldest go from memory that are on disk.
    fn trim_memory(&mut self) {
        while self.in_memory > MEMORY {
            let Some((id, address)) = self.memory.pop_front() else { return };
            let Some(chunk) = self.chunk(&id, &address) else { continue };
            match chunk.file {
                FileState::Whole => {}
                FileState::Failed => {
                    self.forget(&id, &address);
                    continue;
                }
                FileState::Begun => {
                    self.memory.push_front((id, address));
                    return;
                }
            }
            let freed = chunk.data.take().map_or(0, |data| data.len());
            self.in_memory -= freed;
        }
    }

    pub(super) fn has(&self, id: &GroupId, address: &Hash) -> bool {
        self.groups.get(id).is_some_and(|group| group.chunks.contains_key(address))
    }

    /// Where the chunk is; it counts as used.
    pub(super) fn place(&mut self, id: &GroupId, address: &Hash) -> Option<Place> {
        let used = self.tick();
        let group = self.groups.get_mut(id)?;
        let chunk = group.chunks.get_mut(address)?;
        group.order.remove(&chunk.used);
        group.order.insert(used, *address);
        chunk.used = used;
        Some(chunk.data.clone().map_or(Place::Disk, Place::Memory))
    }

    pub(super) fn forget(&mut self, id: &GroupId, address: &Hash) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let Some(chunk) = group.chunks.remove(address) else { return };
        group.order.remove(&chunk.used);
        group.bytes -= chunk.size;
        self.bytes -= chunk.size;
        self.in_memory -= chunk.data.map_or(0, |data| data.len());
        if group.chunks.is_empty() && group.wanted.is_empty() {
            self.groups.remove(id);
        }
    }

    /// Removes what may go until `size` more bytes fit; nothing if that is not enough.
    fn make_room(&mut self, id: &GroupId, size: u64, now: Instant) -> Result<Evicted, Full> {
        let in_group = self.groups.get(id).map_or(0, |g| g.bytes);
        let mut over_group = (in_group + size).saturating_sub(self.sizes.group);
        let mut over_total = (self.bytes + size).saturating_sub(self.sizes.total);
        if over_group == 0 && over_total == 0 {
            return Ok(Vec::new());
        }
        let vain = |until: Option<Instant>| until.is_some_and(|until| until > now);
        let group_full = self.groups.get(id).and_then(|g| g.full_until);
        if over_group > 0 && vain(group_full) || over_total > 0 && vain(self.full_until) {
            return Err(Full);
        }
        let mut going: BTreeSet<(GroupId, Hash)> = BTreeSet::new();
        for (_, address, size) in self.groups.get(id).into_iter().flat_map(|g| g.free(now)) {
            if over_group == 0 {
                break;
            }
            going.insert((*id, address));
            over_group = over_group.saturating_sub(size);
            over_total = over_total.saturating_sub(size);
        }
        if over_total > 0 {
            let free = self
                .groups
                .iter()
                .flat_map(|(id, g)| g.free(now).map(|(used, a, size)| (used, *id, a, size)));
            let mut free: Vec<_> = free.filter(|(_, id, a, _)| !going.contains(&(*id, *a))).collect();
            free.sort_unstable();
            // Somewhat more than is needed, so that not every chunk has to look for it again.
            let mut spare = self.sizes.total / 64;
            for (_, id, address, size) in free {
                if over_total == 0 && spare == 0 {
                    break;
                }
                spare = if over_total == 0 { spare.saturating_sub(size) } else { spare };
                over_total = over_total.saturating_sub(size);
                going.insert((id, address));
            }
        }
        if over_group > 0 || over_total > 0 {
            // A group that is full by itself is nothing to the others.
            if over_group > 0
                && let Some(group) = self.groups.get_mut(id)
            {
                group.full_until = Some(now + FULL);
            }
            if over_total > 0 {
                self.full_until = Some(now + FULL);
            }
            return Err(Full);
        }
        for (id, address) in &going {
            self.forget(id, address);
        }
        Ok(going.into_iter().collect())
    }

    /// Removes what exceeds the sizes, as at the start with smaller ones than before.
    pub(super) fn shrink(&mut self, now: Instant) -> Evicted {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        ids.iter().flat_map(|id| self.make_room(id, 0, now).unwrap_or_default()).collect()
    }

    /// Removes what may go, least recently used first, until `bytes` have gone.
    pub(super) fn give_way(&mut self, bytes: u64, now: Instant) -> Evicted {
        let free =
            self.groups.iter().flat_map(|(id, g)| g.free(now).map(|(used, a, size)| (used, *id, a, size)));
        let mut free: Vec<_> = free.collect();
        free.sort_unstable();
        let mut left = bytes;
        let going = free.into_iter().take_while(|(_, _, _, size)| {
            let goes = left > 0;
            left = left.saturating_sub(*size);
            goes
        });
        let going: Evicted = going.map(|(_, id, address, _)| (id, address)).collect();
        for (id, address) in &going {
            self.forget(id, address);
        }
        going
    }

    /// Notes who wants what; tells at once of what is there.
    pub(super) fn want(
        &mut self,
        id: GroupId,
        device: DeviceId,
        addresses: &[Hash],
        there: &UnboundedSender<Hash>,
    ) -> u64 {
        let ticket = self.tick();
        let group = self.groups.entry(id).or_default();
        for address in addresses {
            if let Some(chunk) = group.chunks.get_mut(address) {
                chunk.asked.insert(device);
                let _ = there.send(*address);
            } else {
                let waiter = Waiter { device, there: there.clone() };
                group.wanted.entry(*address).or_default().insert(ticket, waiter);
            }
        }
        ticket
    }

    pub(super) fn unwant(&mut self, id: &GroupId, addresses: &[Hash], ticket: u64) {
        let Some(group) = self.groups.get_mut(id) else { return };
        for address in addresses {
            if let Some(waiters) = group.wanted.get_mut(address) {
                waiters.remove(&ticket);
                if waiters.is_empty() {
                    group.wanted.remove(address);
                }
            }
        }
        if group.chunks.is_empty() && group.wanted.is_empty() {
            self.groups.remove(id);
        }
    }

    /// A device has it: when everybody who asked does, it may go.
    pub(super) fn served(&mut self, id: &GroupId, address: &Hash, device: &DeviceId, now: Instant) {
        if let Some(chunk) = self.chunk(id, address) {
            chunk.asked.remove(device);
            if chunk.asked.is_empty() {
                chunk.pinned_until = Some(now);
                self.look_again(id);
            }
        }
    }
}

impl Group {
    /// The chunks that may go, least recently used first: when they were used, their address and size.
    fn free(&self, now: Instant) -> impl Iterator<Item = (u64, Hash, u64)> {
        self.order.iter().filter_map(move |(used, address)| {
            let chunk = self.chunks.get(address)?;
            let free = chunk.file != FileState::Begun && chunk.pinned_until.is_none_or(|until| until <= now);
            free.then_some((*used, *address, chunk.size))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId([1; 32]);

    fn index() -> Index {
        Index::new(Sizes { group: 1 << 30, total: 1 << 30 })
    }

    fn insert(index: &mut Index, n: u8, now: Instant) -> Result<Option<Evicted>, Full> {
        index.insert(GROUP, Hash([n; 32]), Bytes::from(vec![n; 100]), now)
    }

    #[test]
    fn what_could_not_be_written_is_served_from_memory_and_for_a_moment_nothing_is_taken() {
        let (mut index, now) = (index(), Instant::now());
        insert(&mut index, 1, now).unwrap();
        index.written(&GROUP, &Hash([1; 32]), false, now);
        assert!(matches!(index.place(&GROUP, &Hash([1; 32])), Some(Place::Memory(_))));
        assert_eq!(insert(&mut index, 2, now), Err(Full));
        assert_eq!(insert(&mut index, 2, now + UNWRITABLE), Ok(Some(Vec::new())));
    }

    #[test]
    fn the_least_recently_used_give_way_but_not_what_is_pinned_or_being_written() {
        let (mut index, now) = (index(), Instant::now());
        for n in 1..=4 {
            insert(&mut index, n, now).unwrap();
        }
        for n in 1..=3 {
            index.written(&GROUP, &Hash([n; 32]), true, now);
        }
        index.place(&GROUP, &Hash([1; 32]));
        assert_eq!(index.give_way(u64::MAX, now), []);
        let later = now + PINNED;
        assert_eq!(index.give_way(LEAST + 1, later), [(GROUP, Hash([2; 32])), (GROUP, Hash([3; 32]))]);
        assert_eq!(index.give_way(u64::MAX, later), [(GROUP, Hash([1; 32]))]);
        assert_eq!(index.bytes(), LEAST);
    }

    #[test]
    fn small_chunks_count_as_what_they_cost() {
        let mut index = Index::new(Sizes { group: 10 * LEAST, total: 100 * LEAST });
        let now = Instant::now();
        for n in 1..=10 {
            insert(&mut index, n, now).unwrap();
        }
        assert_eq!(insert(&mut index, 11, now), Err(Full));
    }

    #[test]
    fn a_group_that_is_full_keeps_no_other_from_making_room() {
        let mut index = Index::new(Sizes { group: 2 * LEAST, total: 100 * LEAST });
        let now = Instant::now();
        let other = GroupId([2; 32]);
        let put = |index: &mut Index, n: u8, now| {
            let put = index.insert(other, Hash([n; 32]), Bytes::from_static(b"other"), now);
            index.written(&other, &Hash([n; 32]), true, now);
            put
        };
        put(&mut index, 1, now).unwrap();
        put(&mut index, 2, now).unwrap();
        let later = now + PINNED;
        for n in 1..=2 {
            insert(&mut index, n, later).unwrap();
        }
        assert_eq!(insert(&mut index, 3, later), Err(Full));
        assert_eq!(put(&mut index, 3, later), Ok(Some(vec![(other, Hash([1; 32]))])));
    }

    #[test]
    fn thousands_who_wait_for_the_same_leave_without_looking_at_each_other() {
        let (mut index, now) = (index(), Instant::now());
        let (there, _arrivals) = tokio::sync::mpsc::unbounded_channel();
        let addresses = [Hash([9; 32])];
        let tickets: Vec<u64> =
            (0..100_000).map(|_| index.want(GROUP, DeviceId([1; 32]), &addresses, &there)).collect();
        for ticket in tickets {
            index.unwant(&GROUP, &addresses, ticket);
        }
        assert!(now.elapsed() < Duration::from_secs(20) && index.groups.is_empty());
    }
}
