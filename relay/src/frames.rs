//! Reading frames from a QUIC stream. The stream is drained as fast as it comes; a length is checked before anything is
//! kept for it, and memory grows only with bytes that have arrived.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{ReadError, RecvStream};
use zerok_protocol::{FrameError, HEADER_LEN, Message, frame_length};

use crate::metrics::Metrics;
use crate::refuse::Refusal;

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FramesError {
    /// What follows is not in frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
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
    metrics: Arc<Metrics>,
}

impl Frames {
    pub(crate) fn new(stream: RecvStream, metrics: Arc<Metrics>) -> Self {
        Self { stream, received: BytesMut::new(), metrics }
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

    fn take(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(header) = self.received.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let length = frame_length(*header)?;
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
