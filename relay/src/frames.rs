//! Reading frames from a QUIC stream. The stream is drained as fast as it comes; a length is checked before anything is
//! kept for it, and memory grows only with bytes that have arrived.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{ReadError, RecvStream};
use zerok_protocol::{FrameError, HEADER_LEN, MAX_FRAME, MAX_MAILBOX_MESSAGE, Message, frame_length};

use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::refuse::Refusal;

/// Largest frame on a stream that no session stands behind: HELLO and everything about mailboxes fit. Strangers fill no
/// memory with the first halves of larger ones.
pub(crate) const STRANGERS_FRAME: usize = MAX_MAILBOX_MESSAGE + (16 << 10);

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FramesError {
    /// What follows is not in frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Larger than what is taken before a session is there.
    #[error("frame of {0} bytes where at most {STRANGERS_FRAME} are taken without a session")]
    TooEarly(usize),
    /// The stream ended inside a frame.
    #[error("truncated frame")]
    Truncated,
    /// The stream or the connection is gone.
    #[error("stream lost")]
    Lost(#[source] ReadError),
}

/// The message in a frame, noted in the trace: its type and rough size, nothing else.
pub(crate) fn decode(frame: &[u8]) -> Result<Message, Refusal> {
    let message = Message::decode(frame).map_err(|e| Refusal::invalid(e.to_string()))?;
    tracing::trace!(kind = name(&message), size = frame.len().next_power_of_two(), "received");
    Ok(message)
}

/// The name of a message's type.
pub(crate) fn name(message: &Message) -> &'static str {
    let kind = message.kind();
    Message::KINDS.iter().find(|(n, _)| *n == kind).map_or("", |(_, name)| name)
}

/// Frames of one stream.
pub(crate) struct Frames {
    stream: RecvStream,
    received: BytesMut,
    /// Largest body taken.
    most: usize,
    metrics: Arc<Metrics>,
}

impl Frames {
    /// `most` is the largest body taken, until [`Frames::lift`].
    pub(crate) fn new(stream: RecvStream, most: usize, metrics: Arc<Metrics>) -> Self {
        Self { stream, received: BytesMut::new(), most, metrics }
    }

    /// Takes every frame of the protocol from here on.
    pub(crate) fn lift(&mut self) {
        self.most = MAX_FRAME;
    }

    /// The next frame once its answer has room: who does not read is not listened to. Cancel-safe.
    pub(crate) async fn next_answerable(&mut self, outbox: &Outbox) -> Result<Option<Bytes>, FramesError> {
        outbox.room().await;
        self.next().await
    }

    /// The next frame's body; none at the end of the stream. Cancel-safe: nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FramesError> {
        let mut chunks: [Bytes; 16] = std::array::from_fn(|_| Bytes::new());
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            let Some(count) = self.stream.read_many_chunks(&mut chunks).await.map_err(FramesError::Lost)?
            else {
                return if self.received.is_empty() { Ok(None) } else { Err(FramesError::Truncated) };
            };
            for chunk in chunks.iter().take(count) {
                self.received.extend_from_slice(chunk);
            }
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>, FramesError> {
        let Some(header) = self.received.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let length = frame_length(*header)?;
        if length > self.most {
            return Err(FramesError::TooEarly(length));
        }
        let missing = (HEADER_LEN + length).saturating_sub(self.received.len());
        if missing > 0 {
            // All at once when a good part is there; before, only as bytes arrive.
            if self.received.len() > length / 8 {
                self.received.reserve(missing);
            }
            return Ok(None);
        }
        self.metrics.bytes_in.inc_by(u64::try_from(HEADER_LEN + length).unwrap_or(0));
        let mut frame = self.received.split_to(HEADER_LEN + length);
        Ok(Some(frame.split_off(HEADER_LEN).freeze()))
    }
}
