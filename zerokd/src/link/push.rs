//! Pushing own bundles, in order and pipelined, and repairs for members that ask.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zerok_core::{Backoff, Want, bundle_blob_id, bundle_nonce, seal};
use zerok_protocol::{BlobId, Code, DeviceId, Error, Hash, Message, Push};

use super::end::{SessionEnd, pause};
use crate::clock;
use crate::context::Context;
use crate::group::Group;
use crate::store::{StoreError, log};
use crate::wire::WireError;

/// Bundles and bytes that may be unanswered.
const WINDOW: usize = 64;
const WINDOW_BYTES: usize = 4 << 20;
/// With fewer unanswered, a push's own transaction cuts its bundle.
const READY: usize = 8;
/// Bundles read from the database at once.
const PAGE: usize = 16;
/// Bytes of repairs for one Want, and how many may wait for all askers together.
const REPAIR_BYTES: usize = 4 << 20;
const REPAIRS: usize = 4096;

enum What {
    Own(u64),
    Repair,
}

pub(super) struct Pusher {
    context: Context,
    group: Arc<Group>,
    ready: bool,
    req: u32,
    /// The last own bundle that was handed to the relay.
    handed: u64,
    /// The last one with all before it acknowledged.
    sent: u64,
    acknowledged: BTreeMap<u64, ()>,
    unanswered: BTreeMap<u32, (What, usize)>,
    unanswered_bytes: usize,
    /// How many may be unanswered: fewer when the relay asks for less haste.
    window: usize,
    repairs: VecDeque<(DeviceId, Bytes)>,
    paused: Option<Instant>,
    /// How long to wait for room at a relay that is full: a second at first, at most a minute.
    patience: Backoff,
    /// The pause is for want of room at the relay.
    full: bool,
    stuck: bool,
    /// Everything there was has been handed over; only an outgoing tick brings more.
    drained: bool,
    max_blob: u64,
    /// Counts refusals for a blob id that the relay has with another payload.
    salt: u64,
}

impl Pusher {
    pub(super) fn new(context: Context, group: Arc<Group>, sent: u64, max_blob: u64) -> Self {
        Self {
            context,
            group,
            ready: false,
            req: 16,
            handed: sent,
            sent,
            acknowledged: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            unanswered_bytes: 0,
            window: WINDOW,
            repairs: VecDeque::new(),
            paused: None,
            patience: Backoff::default(),
            full: false,
            stuck: false,
            drained: false,
            max_blob,
            salt: 0,
        }
    }

    pub(super) fn next_req(&mut self) -> u32 {
        self.req = self.req.wrapping_add(1).max(16);
        self.req
    }

    /// The last own bundle with all before it acknowledged.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused
    }

    /// There may be something new to send.
    pub(super) fn wake(&mut self) {
        self.drained = false;
    }

    pub(super) fn resume(&mut self) {
        self.paused = None;
        self.full = false;
    }

    /// Another member has taken something in: the relay may have room again.
    pub(super) fn room_made(&mut self) {
        if self.full {
            self.resume();
        }
    }

    /// A new epoch: what was refused as stale may go now.
    pub(super) fn roster_changed(&mut self) {
        self.paused = None;
    }

    fn set_ready(&mut self, ready: bool) {
        if self.ready != ready {
            self.ready = ready;
            self.context.store.recent().set_ready(ready);
        }
    }

    /// Sends what there is to send, as far as the window reaches.
    pub(super) async fn pump(&mut self, out: &mpsc::Sender<Message>) -> Result<(), SessionEnd> {
        loop {
            let free = self.paused.is_none() && !self.stuck;
            self.set_ready(free && self.unanswered.len() < READY);
            if !free || self.unanswered.len() >= self.window || self.unanswered_bytes >= WINDOW_BYTES {
                return Ok(());
            }
            if let Some((recipient, bundle)) = self.repairs.pop_front() {
                let (blob, nonce) = (BlobId(clock::random()), clock::random());
                self.send(out, What::Repair, Some(recipient), blob, Some(nonce), None, bundle).await?;
                continue;
            }
            if let Some(bundle) = self.context.store.recent().get(self.group.row, self.handed + 1) {
                self.send_own(out, bundle.seq, bundle.hash, bundle.bytes).await?;
                continue;
            }
            if self.drained {
                return Ok(());
            }
            let (row, after) = (self.group.row, self.handed);
            let count = (self.window - self.unanswered.len()).min(PAGE);
            let (found, uncut) = self.context.store.read_blocking(|connection| {
                let own = log::own_chain(connection, row)?;
                let found = log::own_bundles(connection, row, after, count, WINDOW_BYTES)?;
                Ok::<_, StoreError>((found, own.next_n - 1 > own.entries))
            })?;
            if !found.is_empty() {
                for (seq, hash, bytes) in found {
                    self.send_own(out, seq, hash, bytes).await?;
                }
                continue;
            }
            if !uncut {
                self.drained = true;
                return Ok(());
            }
            let keys = self.context.keys.clone();
            let cut = self
                .context
                .store
                .write(move |connection| log::cut_pending(connection, row, &keys, PAGE))
                .await?;
            if cut == 0 {
                return Ok(());
            }
        }
    }

    async fn send_own(
        &mut self,
        out: &mpsc::Sender<Message>,
        seq: u64,
        hash: Hash,
        bundle: Bytes,
    ) -> Result<(), SessionEnd> {
        let (epoch, _) = self.group.current();
        let device = self.context.keys.id();
        let blob = match self.salt {
            0 => bundle_blob_id(&self.group.keys, device, self.group.chain, seq, epoch),
            _ => BlobId(clock::random()),
        };
        self.handed = self.handed.max(seq);
        self.send(out, What::Own(seq), None, blob, None, Some(hash), bundle).await
    }

    #[expect(clippy::too_many_arguments, reason = "one place seals and sends")]
    async fn send(
        &mut self,
        out: &mpsc::Sender<Message>,
        what: What,
        recipient: Option<DeviceId>,
        blob_id: BlobId,
        nonce: Option<[u8; 24]>,
        hash: Option<Hash>,
        bundle: Bytes,
    ) -> Result<(), SessionEnd> {
        let (epoch_id, keys) = self.group.current();
        // The same bundle gives the same bytes, so that a repeat is answered with the first cursor.
        let nonce = match (nonce, hash) {
            (Some(nonce), _) => nonce,
            (None, Some(_)) => bundle_nonce(&keys, &blob_id, &bundle),
            (None, None) => clock::random(),
        };
        let payload = seal(&keys, self.group.id, epoch_id, blob_id, nonce, &bundle);
        let size = payload.len();
        if size as u64 > self.max_blob {
            self.too_large(size);
            return Ok(());
        }
        let req = self.next_req();
        self.unanswered.insert(req, (what, size));
        self.unanswered_bytes += size;
        let push = Push { req, blob_id, epoch_id, recipient, ttl_seconds: None, payload };
        Ok(out.send(push.into()).await.map_err(|_| WireError::Lost)?)
    }

    fn too_large(&mut self, size: usize) {
        self.stuck = true;
        let text = format!("a relay takes no blob of {size} bytes: what this device pushed after it waits");
        self.context.problems.set(
            "blob_too_large",
            &self.group.id.to_hex(),
            text,
            "ask the relay's operator to raise storage.max_blob_size, or use another relay",
        );
    }

    /// An answer to a push; true if `sent` moved.
    pub(super) fn acknowledged(&mut self, req: u32) -> bool {
        let Some((what, size)) = self.unanswered.remove(&req) else { return false };
        self.unanswered_bytes -= size;
        let What::Own(seq) = what else { return false };
        self.patience.reset();
        self.window = (self.window + 1).min(WINDOW);
        self.context.problems.clear("relay_full", &self.group.id.to_hex());
        self.acknowledged.insert(seq, ());
        let before = self.sent;
        while self.acknowledged.remove(&(self.sent + 1)).is_some() {
            self.sent += 1;
        }
        self.sent > before
    }

    /// A refusal of a push; false if `req` was none.
    pub(super) fn refused(&mut self, req: u32, error: &Error) -> bool {
        let Some((what, size)) = self.unanswered.remove(&req) else { return false };
        self.unanswered_bytes -= size;
        let now = Instant::now();
        if error.code == Code::RateLimited {
            self.window = (self.window / 2).max(1);
            self.paused = Some(now + pause(error));
        }
        if matches!(what, What::Repair) {
            return true; // whoever needs it asks again
        }
        self.full = false;
        match error.code {
            Code::RateLimited => {}
            Code::StaleEpoch => self.paused = Some(now + Duration::from_secs(1)),
            Code::GroupQuotaExceeded => {
                self.full = true;
                self.paused = Some(now + self.patience.next(u64::from_be_bytes(clock::random())));
                let text = "a relay has no room left for this group: what this device pushed waits here";
                let hint =
                    "another device must come online and fetch, or ask the relay's operator for more room";
                self.context.problems.set("relay_full", &self.group.id.to_hex(), text, hint);
            }
            Code::BlobConflict => self.salt += 1,
            Code::BlobTooLarge => self.too_large(size),
            _ => self.paused = Some(now + Duration::from_secs(5)),
        }
        // Everything that is not acknowledged goes again; answers to the first attempt are passed over.
        self.unanswered.retain(|_, (what, _)| matches!(what, What::Repair));
        self.unanswered_bytes = self.unanswered.values().map(|(_, size)| size).sum();
        self.acknowledged.clear();
        self.handed = self.sent;
        self.drained = false;
        true
    }

    /// Puts what another member lacks and this device holds into its repairs, as far as the budget reaches.
    pub(super) async fn serve_want(&mut self, asker: DeviceId, wants: &[Want]) -> Result<(), SessionEnd> {
        let (row, wants) = (self.group.row, wants.to_vec());
        let found = self
            .context
            .store
            .read(move |connection| {
                let (mut found, mut budget) = (Vec::new(), REPAIR_BYTES);
                for want in &wants {
                    found.extend(log::bundles_of(connection, row, want, &mut budget)?);
                }
                Ok::<_, StoreError>(found)
            })
            .await?;
        for bundle in found {
            if self.repairs.len() < REPAIRS {
                self.repairs.push_back((asker, bundle));
            }
        }
        Ok(())
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.set_ready(false);
    }
}
