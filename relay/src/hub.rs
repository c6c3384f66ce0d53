//! The groups that are in use, in memory: rosters, sessions, and the newest blobs on their way out.

mod group;
mod presence;
mod tail;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use zerok_protocol::GroupId;

pub(crate) use group::{Ended, Group, Registration, ended_by, ends};
pub(crate) use tail::Step;

use crate::known::Known;
use crate::store::{Storage, StoreError, Stored};

/// Groups without sessions that are kept before they are forgotten.
const IDLE_GROUPS: usize = 256;

#[derive(Default)]
pub(crate) struct Hub {
    groups: Mutex<HashMap<GroupId, Arc<Group>>>,
    /// Held while a group is loaded or made, so that there is never a second copy of one. A few of them, so that a long
    /// roster does not hold up everybody's.
    loading: [tokio::sync::Mutex<()>; 32],
    /// Nobody can choose a group's place among them.
    places: RandomState,
    tail_bytes: Arc<AtomicUsize>,
    /// Groups in which somebody came or went.
    pub(crate) presence: Arc<presence::Changed>,
}

impl Hub {
    fn live(&self, id: &GroupId) -> Option<Arc<Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn loading(&self, id: &GroupId) -> &tokio::sync::Mutex<()> {
        let [first, rest @ ..] = &self.loading;
        let place = usize::try_from(self.places.hash_one(id) >> 48).unwrap_or(0) % self.loading.len();
        place.checked_sub(1).and_then(|n| rest.get(n)).unwrap_or(first)
    }

    /// The group, loaded if need be.
    pub(crate) async fn open(
        &self,
        storage: &dyn Storage,
        id: GroupId,
    ) -> Result<Option<Arc<Group>>, StoreError> {
        if let Some(group) = self.live(&id) {
            return Ok(Some(group));
        }
        let _loading = self.loading(&id).lock().await;
        if let Some(group) = self.live(&id) {
            return Ok(Some(group));
        }
        let Some(record) = storage.group(id).await? else { return Ok(None) };
        let log_id = record.log_id;
        // Signatures by the thousand: not on a thread that serves others.
        let opening = tokio::task::spawn_blocking(move || Known::open(&record.statements));
        let opened = opening.await.map_err(|_| StoreError::Closed)?;
        let known = opened.map_err(|e| StoreError::Database(e.to_string().into()))?;
        let group = Group::new(log_id, known, self.tail_bytes.clone(), self.presence.clone());
        Ok(Some(self.insert(id, group)))
    }

    /// Makes a group by `store`, which stores its first statements, unless there is one already.
    pub(crate) async fn create(
        &self,
        storage: &dyn Storage,
        id: GroupId,
        known: Known,
        store: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<Arc<Group>, StoreError> {
        let _loading = self.loading(&id).lock().await;
        store.await?;
        let record = storage.group(id).await?.ok_or(StoreError::UnknownGroup)?;
        Ok(self.insert(id, Group::new(record.log_id, known, self.tail_bytes.clone(), self.presence.clone())))
    }

    fn insert(&self, id: GroupId, group: Group) -> Arc<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.len() >= IDLE_GROUPS {
            groups.retain(|_, group| Arc::strong_count(group) > 1);
        }
        groups.entry(id).or_insert_with(|| Arc::new(group)).clone()
    }

    /// Hands committed blobs to their groups. Called on the storage's thread, in the order of the commits.
    pub(crate) fn publish(&self, stored: Vec<Stored>) {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let mut touched: Vec<Arc<Group>> = Vec::new();
        for blob in stored {
            let Some(group) = groups.get(&blob.group) else { continue };
            group.take_in(blob);
            if !touched.iter().any(|t| Arc::ptr_eq(t, group)) {
                touched.push(group.clone());
            }
        }
        drop(groups);
        for group in touched {
            group.wake();
        }
    }
}
