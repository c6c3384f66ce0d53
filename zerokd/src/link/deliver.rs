//! Taking in what a relay delivers: opened and verified, stored in one transaction with the cursor, and only then
//! acknowledged. What cannot be opened is kept in quarantine; nothing is skipped.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use zerok_core::{Bundle, Sealed};
use zerok_protocol::{Ack, Blob, Credit, Message};

use super::deliveries::Incoming;
use crate::clock;
use crate::context::Context;
use crate::group::Group;
use crate::store::log::TakenIn;
use crate::store::relays::RelayRow;
use crate::store::{StoreError, groups, log, relays};

/// Blobs and bytes in one transaction.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 4 << 20;
/// Larger batches are opened on a blocking thread.
const INLINE: usize = 64 << 10;

/// Sealed under an epoch whose secret is not here yet.
pub(super) const NO_KEY: &str = "no_key";
/// By a device that is no member as far as this device knows.
pub(super) const NOT_MEMBER: &str = "not_member";
/// Does not open, or is not the blob it says it is: it was altered on the way.
const ALTERED: &str = "altered";
/// Opens, but holds no valid bundle.
const BAD_BUNDLE: &str = "bad_bundle";
/// Its author contradicts what it signed before.
const CONTRADICTS: &str = "contradicts";

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivered {
    /// Everything that the relay had is taken in.
    pub caught_up: bool,
    /// Counts batches that brought something new.
    pub news: u64,
}

pub(super) struct Delivery {
    pub context: Context,
    pub relay: RelayRow,
    pub group: Arc<Group>,
    pub out: mpsc::Sender<Message>,
    pub told: watch::Sender<Delivered>,
    pub req: u32,
}

type Opened = (Blob, Result<Bundle, &'static str>);

impl Delivery {
    /// Runs until the stream or the session ends. Dropping `told` is what tells the session.
    pub(super) async fn run(self, mut stream: Incoming) {
        while let Some(first) = stream.recv().await {
            let (mut blobs, mut bytes, mut caught_up) = (Vec::new(), 0, None);
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Ok(Message::Deliver(deliver)) => {
                        bytes += deliver.blob.payload.len();
                        caught_up = None;
                        blobs.push(deliver.blob);
                    }
                    Ok(Message::CaughtUp(at)) => caught_up = Some(at.cursor),
                    Ok(_) => tracing::debug!("an unexpected message on a delivery stream"),
                    Err(error) => {
                        tracing::warn!("a delivery stream ended: {error}");
                        return;
                    }
                }
                if blobs.len() < BATCH && bytes < BATCH_BYTES {
                    next = stream.try_recv().ok();
                }
            }
            if let Err(error) = self.take_in(blobs, bytes, caught_up).await {
                tracing::error!("a delivery could not be stored: {error}");
                let text = format!("what a relay delivered could not be stored: {error}");
                self.context.problems.set("store", "delivery", text, "check the free disk space");
                return;
            }
        }
    }

    async fn take_in(
        &self,
        blobs: Vec<Blob>,
        bytes: usize,
        caught_up: Option<u64>,
    ) -> Result<(), StoreError> {
        let cursor = caught_up.or_else(|| blobs.last().map(|blob| blob.cursor));
        let Some(cursor) = cursor else { return Ok(()) };
        let mut news = false;
        if !blobs.is_empty() {
            let group = self.group.clone();
            let opened = if bytes <= INLINE {
                open_all(&group, blobs)
            } else {
                let opening = tokio::task::spawn_blocking(move || open_all(&group, blobs));
                opening.await.map_err(|_| StoreError::Closed)?
            };
            news = self.store(opened, cursor).await?;
        } else {
            let (relay, row) = (self.relay, self.group.row);
            self.context
                .store
                .write(move |connection| relays::set_cursor(connection, relay, row, cursor))
                .await?;
        }
        drop(self.out.send(Ack { cursor }.into()).await);
        if bytes > 0 {
            drop(self.out.send(Credit { req: self.req, bytes: bytes as u64 }.into()).await);
        }
        self.told.send_if_modified(|told| {
            let changed = told.caught_up != caught_up.is_some() || news;
            told.caught_up = caught_up.is_some();
            told.news += u64::from(news);
            changed
        });
        Ok(())
    }

    async fn store(&self, opened: Vec<Opened>, cursor: u64) -> Result<bool, StoreError> {
        let (relay, row) = (self.relay, self.group.row);
        let (news, bad) = self
            .context
            .store
            .write(move |connection| {
                let stored = store_all(connection, row, &opened)?;
                relays::set_cursor(connection, relay, row, cursor)?;
                Ok::<_, StoreError>(stored)
            })
            .await?;
        if bad > 0 {
            tracing::warn!("{bad} blobs that a relay delivered were not taken");
            self.context.events.emit(
                "blob.quarantined",
                Some(self.group.id),
                serde_json::json!({ "count": bad }),
            );
        }
        Ok(news)
    }
}

/// Opens, verifies and judges; no database. The author must be a member, now or once.
fn open_all(group: &Group, blobs: Vec<Blob>) -> Vec<Opened> {
    let roster = group.standing().roster;
    let open = |blob: &Blob| -> Result<Bundle, &'static str> {
        let sealed = Sealed::parse(&blob.payload).map_err(|_| ALTERED)?;
        if sealed.blob != blob.blob_id {
            return Err(ALTERED);
        }
        let keys = group.epoch(sealed.epoch).ok_or(NO_KEY)?;
        let plain = sealed.open(&keys, group.id).map_err(|_| ALTERED)?;
        let bundle = Bundle::parse(plain).map_err(|_| BAD_BUNDLE)?;
        if bundle.header.group != group.id {
            return Err(BAD_BUNDLE);
        }
        if !roster.is_member(&bundle.header.device) {
            return Err(NOT_MEMBER);
        }
        Ok(bundle)
    };
    blobs
        .into_iter()
        .map(|blob| {
            let opened = open(&blob);
            (blob, opened)
        })
        .collect()
}

fn store_all(
    connection: &rusqlite::Connection,
    grp: log::GroupRow,
    opened: &[Opened],
) -> Result<(bool, u64), StoreError> {
    let (mut news, mut bad) = (false, 0);
    let now = clock::now_ms();
    for (blob, bundle) in opened {
        let reason = match bundle {
            Ok(bundle) => match log::take_in(connection, grp, bundle, now)? {
                TakenIn::New => {
                    news = true;
                    continue;
                }
                TakenIn::Known => continue,
                TakenIn::Contradicts => CONTRADICTS,
                TakenIn::BadEntry => BAD_BUNDLE,
            },
            Err(reason) => reason,
        };
        bad += 1;
        groups::quarantine(connection, grp, &blob.blob_id, &blob.payload, reason, now)?;
    }
    Ok((news, bad))
}

/// A key or a member came: what waited for it is tried again.
pub(super) async fn retry_quarantined(context: &Context, group: &Arc<Group>) -> Result<(), StoreError> {
    let row = group.row;
    let waiting = context
        .store
        .read(move |connection| {
            let mut waiting = groups::take_quarantined(connection, row, NO_KEY)?;
            waiting.extend(groups::take_quarantined(connection, row, NOT_MEMBER)?);
            Ok::<_, StoreError>(waiting)
        })
        .await?;
    if waiting.is_empty() {
        return Ok(());
    }
    let as_blob = |(blob_id, payload)| Blob {
        blob_id,
        cursor: 0,
        pusher: zerok_protocol::DeviceId([0; 32]),
        timestamp: 0,
        payload,
    };
    let blobs: Vec<Blob> = waiting.into_iter().map(as_blob).collect();
    let opened: Vec<Opened> = open_all(group, blobs)
        .into_iter()
        .filter(|(_, opened)| !matches!(opened, Err(reason) if [NO_KEY, NOT_MEMBER].contains(reason)))
        .collect();
    if opened.is_empty() {
        return Ok(());
    }
    context
        .store
        .write(move |connection| {
            for (blob, _) in &opened {
                groups::drop_quarantined(connection, row, &blob.blob_id)?;
            }
            store_all(connection, row, &opened)
        })
        .await?;
    Ok(())
}
