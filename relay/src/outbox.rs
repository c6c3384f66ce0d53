//! What is to be sent on a stream. Anybody may add a message, from any thread, without waiting; one task writes what
//! has gathered in one go. Whoever makes answers waits for room first, so that a peer that does not read costs no more
//! than [`ROOM`].

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use iroh::endpoint::SendStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use zerok_protocol::Message;

use crate::metrics::Metrics;

/// Bytes that may wait before answers are held back.
const ROOM: usize = 1 << 20;
/// Bytes that may wait before what nobody asked for ends the stream: the peer is not reading.
const TOO_MUCH: usize = 4 << 20;

pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
    room: Notify,
    ended: CancellationToken,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    ended: bool,
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

    /// Adds a message; nothing happens when the stream has ended.
    pub(crate) fn send(&self, message: &Message) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.ended {
            return;
        }
        if let Message::Error(e) = message {
            self.metrics.error(e.code);
        }
        message.put(&mut queue.bytes);
        if queue.bytes.len() > TOO_MUCH {
            queue.ended = true;
            self.ended.cancel();
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Adds a frame that was made before.
    pub(crate) fn send_frame(&self, frame: &[u8]) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.ended {
            queue.bytes.extend_from_slice(frame);
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Adds a message that may as well be lost: only when there is room.
    pub(crate) fn offer(&self, message: &Message) -> bool {
        let room = self.queue.lock().unwrap_or_else(PoisonError::into_inner).bytes.len() < ROOM;
        if room {
            self.send(message);
        }
        room
    }

    /// Adds a last message and ends the stream after it.
    pub(crate) fn end_with(&self, message: &Message) {
        self.send(message);
        self.end();
    }

    /// Ends the stream after what waits.
    pub(crate) fn end(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.ended.cancel();
        self.wake.notify_one();
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
                let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if queue.ended || queue.bytes.len() < ROOM {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Writes until the end, or until the peer is gone.
    pub(crate) async fn write_to(self: Arc<Self>, mut stream: SendStream) {
        loop {
            let (bytes, ended) = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                (std::mem::take(&mut queue.bytes), queue.ended)
            };
            self.room.notify_waiters();
            if bytes.is_empty() {
                if ended {
                    break;
                }
                self.wake.notified().await;
                continue;
            }
            self.metrics.bytes_out.inc_by(u64::try_from(bytes.len()).unwrap_or(0));
            if stream.write_chunk(Bytes::from(bytes)).await.is_err() {
                self.end();
                return;
            }
        }
        if stream.finish().is_ok() {
            // Until the peer has it all, or is gone: closing the connection earlier would discard it.
            let _ = stream.stopped().await;
        }
    }
}
