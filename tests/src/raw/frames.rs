//! Frames of one incoming stream.

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use iroh::endpoint::RecvStream;
use zerok_protocol::{HEADER_LEN, Message, frame_length};

/// The incoming direction of a stream, drained into a buffer.
#[derive(Debug)]
pub struct Frames {
    stream: RecvStream,
    received: BytesMut,
}

impl Frames {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, received: BytesMut::new() }
    }

    /// The next frame's body; none at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// The connection is lost, or what comes is not in frames.
    pub async fn body(&mut self) -> Result<Option<Bytes>> {
        let mut chunks: [Bytes; 16] = std::array::from_fn(|_| Bytes::new());
        loop {
            if let Some(body) = self.take()? {
                return Ok(Some(body));
            }
            let Some(count) = self.stream.read_many_chunks(&mut chunks).await? else {
                ensure!(self.received.is_empty(), "the stream ended inside a frame");
                return Ok(None);
            };
            for chunk in chunks.iter().take(count) {
                self.received.extend_from_slice(chunk);
            }
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>> {
        let Some(header) = self.received.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let whole = HEADER_LEN + frame_length(*header)?;
        if self.received.len() < whole {
            self.received.reserve(whole - self.received.len());
            return Ok(None);
        }
        let mut frame = self.received.split_to(whole);
        Ok(Some(frame.split_off(HEADER_LEN).freeze()))
    }

    /// The next message, presence and news of the roster passed over.
    ///
    /// # Errors
    /// The stream has ended, or what comes is no message.
    pub async fn next(&mut self) -> Result<Message> {
        loop {
            let body = self.body().await?.context("the relay ended the stream")?;
            match Message::decode(&body)? {
                Message::Presence(_) | Message::RosterNews(_) => {}
                message => return Ok(message),
            }
        }
    }
}
