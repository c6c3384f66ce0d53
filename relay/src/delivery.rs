//! A delivery: from a cursor on, everything the device may see, in order, within its credit, on a stream of its own (or
//! as notices on the session). From memory when the device keeps up, from the storage when it is behind.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use iroh::endpoint::SendStream;
use tokio::sync::watch;
use zerok_protocol::{Blob, CaughtUp, Deliver, Delivery, Message, Notify, Subscribe, SubscribeMode};

use crate::hub::Step;
use crate::session::Session;
use crate::store::{PageLimit, StoreError};

/// Bytes written at once.
const BATCH: usize = 256 << 10;
/// Blobs and bytes of one page from the storage.
const PAGE: PageLimit = PageLimit { blobs: 256, bytes: 1 << 20 };

/// Why a delivery ends before its session.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    /// The device closed the stream, or is gone.
    #[error("the stream is gone")]
    Gone,
    /// The session took its end away.
    #[error("unsubscribed")]
    Unsubscribed,
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs until the session, the stream or the relay ends.
pub(crate) async fn run(session: Arc<Session>, subscribe: Subscribe, granted: watch::Receiver<u64>) {
    let over = session.over.clone();
    let delivering = async {
        let out = match subscribe.mode {
            SubscribeMode::Notify => Out::Session,
            SubscribeMode::Blobs => Out::Stream(open(&session, subscribe.req).await?),
        };
        let state =
            State { session: &session, at: subscribe.after_cursor, spent: 0, granted, out, told: None };
        state.deliver().await
    };
    let stopped = tokio::select! {
        () = over.cancelled() => return,
        stopped = delivering => stopped,
    };
    if let Err(Stopped::Store(e)) = stopped {
        tracing::error!(error = %e, "a delivery ended");
    }
}

async fn open(session: &Session, req: u32) -> Result<SendStream, Stopped> {
    let mut stream = session.conn.quic.open_uni().await.map_err(|_| Stopped::Gone)?;
    let first = Message::from(Delivery { group: session.id, req }).to_frame();
    stream.write_all(&first).await.map_err(|_| Stopped::Gone)?;
    Ok(stream)
}

enum Out {
    Stream(SendStream),
    Session,
}

impl Out {
    /// Waits until nobody reads any more.
    async fn gone(&self) {
        match self {
            Out::Stream(stream) => drop(stream.stopped().await),
            Out::Session => std::future::pending().await,
        }
    }
}

struct State<'a> {
    session: &'a Session,
    /// Everything up to here was offered.
    at: u64,
    /// Credit used so far, of all that was ever granted.
    spent: u64,
    granted: watch::Receiver<u64>,
    out: Out,
    /// The cursor of the last CAUGHT_UP.
    told: Option<u64>,
}

impl State<'_> {
    async fn deliver(mut self) -> Result<(), Stopped> {
        let group = self.session.group.clone();
        let mut newest = group.watch();
        loop {
            newest.mark_unchanged();
            let credit = self.credit();
            // Before anything is read or made: who reads nothing holds no more than its connection may.
            let place = match self.out {
                Out::Stream(_) => self.session.conn.outgoing(PAGE.bytes).await,
                Out::Session => None,
            };
            let short = match group.step(self.at, &self.session.conn.device, credit, BATCH) {
                Step::Wait => {
                    self.caught_up().await?;
                    drop(place);
                    self.wait(&mut newest).await?;
                    continue;
                }
                Step::Read => self.read_page(credit).await?,
                Step::Send { blobs, upto, short } => {
                    let committed = blobs.first().map(|b| b.committed);
                    let frames: Vec<Bytes> = match self.out {
                        Out::Stream(_) => blobs.iter().map(|b| b.frame()).collect(),
                        Out::Session => blobs.iter().map(|b| notice(&b.stored.blob)).collect(),
                    };
                    let bytes = blobs.iter().map(|b| b.size()).sum();
                    self.send(frames, bytes, upto, !short).await?;
                    if let Some(committed) = committed {
                        let took = Instant::now().saturating_duration_since(committed);
                        self.session.conn.relay.metrics.delivery_seconds.observe(took.as_secs_f64());
                    }
                    short.then_some(0)
                }
            };
            drop(place);
            if let Some(needed) = short {
                self.credit_of(needed).await?;
            }
        }
    }

    fn credit(&mut self) -> u64 {
        let granted = *self.granted.borrow_and_update();
        match self.out {
            Out::Stream(_) => granted.saturating_sub(self.spent),
            // Notices carry no payload.
            Out::Session => u64::MAX,
        }
    }

    /// Until there is more credit, and enough for so many bytes: a few at a time make nobody read a large blob again and
    /// again.
    async fn credit_of(&mut self, needed: u64) -> Result<(), Stopped> {
        loop {
            tokio::select! {
                changed = self.granted.changed() => changed.map_err(|_| Stopped::Unsubscribed)?,
                () = self.out.gone() => return Err(Stopped::Gone),
            }
            if self.credit() >= needed {
                return Ok(());
            }
        }
    }

    /// Until there is more, or nobody is there any more.
    async fn wait(&mut self, newest: &mut watch::Receiver<u64>) -> Result<(), Stopped> {
        tokio::select! {
            changed = newest.changed() => changed.map_err(|_| Stopped::Gone),
            changed = self.granted.changed() => changed.map_err(|_| Stopped::Unsubscribed),
            () = self.out.gone() => Err(Stopped::Gone),
        }
    }

    /// Sends a page from the storage; if credit ended it, what the next blob needs.
    async fn read_page(&mut self, credit: u64) -> Result<Option<u64>, Stopped> {
        let conn = &self.session.conn;
        let limit =
            PageLimit { bytes: usize::try_from(credit).unwrap_or(usize::MAX).min(PAGE.bytes), ..PAGE };
        let page = conn.relay.storage.page(self.session.id, conn.device, self.at, limit).await?;
        let (mut frames, mut bytes, mut upto, mut short) = (Vec::new(), 0usize, self.at, None);
        let has_more = page.has_more;
        for blob in page.blobs {
            let after = bytes + blob.payload.len();
            if u64::try_from(after).unwrap_or(u64::MAX) > credit {
                short = u64::try_from(blob.payload.len()).ok();
                break;
            }
            bytes = after;
            upto = blob.cursor;
            frames.push(match self.out {
                Out::Stream(_) => Bytes::from(Message::from(Deliver { blob }).to_frame()),
                Out::Session => notice(&blob),
            });
        }
        if short.is_none() {
            upto = page.upto;
        }
        self.send(frames, bytes, upto, short.is_none() && !has_more).await?;
        Ok(short)
    }

    /// Sends frames, and with them that it is all, if it is.
    async fn send(
        &mut self,
        mut frames: Vec<Bytes>,
        bytes: usize,
        upto: u64,
        may_be_all: bool,
    ) -> Result<(), Stopped> {
        if !frames.is_empty() {
            tracing::trace!(blobs = frames.len(), "deliver");
        }
        self.session.conn.relay.metrics.deliveries.inc_by(u64::try_from(frames.len()).unwrap_or(0));
        self.spent = self.spent.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.at = upto;
        if may_be_all && upto >= self.session.group.newest() {
            frames.extend(self.caught_up_frame());
        }
        self.write(frames).await
    }

    async fn caught_up(&mut self) -> Result<(), Stopped> {
        match self.caught_up_frame() {
            Some(frame) => self.write(vec![frame]).await,
            None => Ok(()),
        }
    }

    fn caught_up_frame(&mut self) -> Option<Bytes> {
        if self.told == Some(self.at) || matches!(self.out, Out::Session) {
            return None;
        }
        self.told = Some(self.at);
        // A device may be ahead of a relay that was restored.
        let cursor = self.at.min(self.session.group.newest());
        Some(Bytes::from(Message::from(CaughtUp { cursor }).to_frame()))
    }

    async fn write(&mut self, mut frames: Vec<Bytes>) -> Result<(), Stopped> {
        match &mut self.out {
            Out::Stream(stream) => {
                let bytes: usize = frames.iter().map(Bytes::len).sum();
                self.session.conn.pace(bytes).await;
                stream.write_all_chunks(&mut frames).await.map_err(|_| Stopped::Gone)?;
                let metrics = &self.session.conn.relay.metrics;
                metrics.bytes_out.inc_by(u64::try_from(bytes).unwrap_or(0));
            }
            Out::Session => {
                for frame in frames {
                    self.session.outbox.room().await;
                    self.session.outbox.send_frame(frame);
                }
            }
        }
        Ok(())
    }
}

fn notice(blob: &Blob) -> Bytes {
    let size = u64::try_from(blob.payload.len()).unwrap_or(u64::MAX);
    Bytes::from(Message::from(Notify { cursor: blob.cursor, size }).to_frame())
}
