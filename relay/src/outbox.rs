//! What is to be sent on a stream. Anybody may add a message, from any thread, without waiting; one task writes what
//! has gathered in one go. Whoever makes answers waits for room first, so that a peer that does not read costs no more
//! than [`ROOM`] and one answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use iroh::endpoint::SendStream;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;
use zerok_protocol::Message;

use crate::frames::name;
use crate::metrics::Metrics;

/// Bytes that may wait or be on their way before answers are held back.
const ROOM: usize = 256 << 10;
/// Bytes that may wait before what is only a hint is left out.
const HINTS: usize = 1 << 20;
/// Bytes that may wait before what nobody asked for ends the stream: the peer is not reading.
const TOO_MUCH: usize = 8 << 20;

pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
    room: Notify,
    ended: CancellationToken,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Queue {
    /// Frames in order; small ones gather in `last`.
    frames: Vec<Bytes>,
    last: Vec<u8>,
    bytes: usize,
    /// Bytes that were taken and are being written.
    writing: usize,
    /// The places of what is too large to be counted here; given back when it was written.
    places: Vec<OwnedSemaphorePermit>,
    ended: bool,
}

impl Queue {
    fn put(&mut self, message: &Message) {
        let before = self.last.len();
        message.put(&mut self.last);
        self.bytes += self.last.len() - before;
    }

    fn put_frame(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.put_uncounted(frame);
    }

    fn put_uncounted(&mut self, frame: Bytes) {
        if !self.last.is_empty() {
            self.frames.push(std::mem::take(&mut self.last).into());
        }
        self.frames.push(frame);
    }

    fn take(&mut self) -> (Vec<Bytes>, Vec<OwnedSemaphorePermit>) {
        let mut frames = std::mem::take(&mut self.frames);
        if !self.last.is_empty() {
            frames.push(std::mem::take(&mut self.last).into());
        }
        self.writing = std::mem::take(&mut self.bytes);
        (frames, std::mem::take(&mut self.places))
    }
}

impl Outbox {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            wake: Notify::new(),
            room: Notify::new(),
            ended: CancellationToken::new(),
            metrics,
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message; nothing happens when the stream has ended.
    pub(crate) fn send(&self, message: &Message) {
        if let Message::Error(e) = message {
            self.metrics.error(e.code);
        }
        tracing::trace!(kind = name(message), "send");
        self.add(|queue| queue.put(message));
    }

    /// Adds a page or a chunk, which is not copied. It has its place among what the connection has on its way out, and
    /// does not count here.
    pub(crate) fn send_large(&self, message: Message, place: OwnedSemaphorePermit) {
        tracing::trace!(kind = name(&message), "send");
        let [head, data] = message.into_parts();
        self.add(|queue| {
            queue.put_uncounted(head);
            queue.put_uncounted(data);
            queue.places.push(place);
        });
    }

    /// Adds a frame that was made before.
    pub(crate) fn send_frame(&self, frame: Bytes) {
        self.add(|queue| queue.put_frame(frame));
    }

    fn add(&self, put: impl FnOnce(&mut Queue)) {
        let mut queue = self.queue();
        if queue.ended {
            return;
        }
        put(&mut queue);
        if queue.bytes > TOO_MUCH {
            queue.ended = true;
            self.metrics.unread.inc();
            self.ended.cancel();
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Adds a message that may as well be lost: only when there is room.
    pub(crate) fn offer(&self, message: &Message) {
        if self.queue().bytes < HINTS {
            self.send(message);
        }
    }

    /// The same with a frame that was made before.
    pub(crate) fn offer_frame(&self, frame: &Bytes) {
        if self.queue().bytes < HINTS {
            self.send_frame(frame.clone());
        }
    }

    /// Adds a last message and ends the stream after it.
    pub(crate) fn end_with(&self, message: &Message) {
        self.send(message);
        self.end();
    }

    /// Ends the stream after what waits.
    pub(crate) fn end(&self) {
        self.queue().ended = true;
        self.ended.cancel();
        self.wake.notify_one();
        self.room.notify_waiters();
    }

    /// Fires when nothing more is taken.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Waits until answers may be added, or the stream has ended.
    pub(crate) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            {
                let queue = self.queue();
                if queue.ended || queue.bytes + queue.writing < ROOM {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Writes until the end, or until the peer is gone.
    pub(crate) async fn write_to(self: Arc<Self>, mut stream: SendStream) {
        loop {
            let ((mut frames, places), ended) = {
                let mut queue = self.queue();
                (queue.take(), queue.ended)
            };
            self.room.notify_waiters();
            if frames.is_empty() {
                if ended {
                    break;
                }
                self.wake.notified().await;
                continue;
            }
            let bytes: usize = frames.iter().map(Bytes::len).sum();
            self.metrics.bytes_out.inc_by(u64::try_from(bytes).unwrap_or(0));
            if stream.write_all_chunks(&mut frames).await.is_err() {
                self.end();
                return;
            }
            drop(places);
        }
        if stream.finish().is_ok() {
            // Until the peer has it all, or is gone: closing the connection earlier would discard it.
            let _ = stream.stopped().await;
        }
    }
}
