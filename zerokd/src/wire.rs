//! Messages on QUIC streams. A task drains each receiving stream into a bounded queue, because a stream that is not
//! read kills the connection; another batches what is sent into few writes.

use std::time::Duration;

use iroh::endpoint::{RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use zerok_protocol::{DecodeError, FrameError, HEADER_LEN, Message, frame_length};

/// Messages that wait between the stream and who handles them. Credit bounds a delivery's bytes; a relay that sends
/// more small messages than this without being asked has its stream stalled, and loses the connection.
const INCOMING: usize = 16 * 1024;
const OUTGOING: usize = 1024;
/// Bytes in one write.
const BATCH: usize = 256 << 10;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The connection or stream is gone.
    #[error("the connection was lost")]
    Lost,
    /// The relay did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// A frame that breaks the limits.
    #[error("the relay sent a frame that breaks the protocol: {0}")]
    Frame(#[from] FrameError),
    /// A frame that is no message.
    #[error("the relay sent what is no message: {0}")]
    Decode(#[from] DecodeError),
    /// A message that does not belong here.
    #[error("the relay answered with an unexpected message")]
    Unexpected,
}

/// Reads one message.
pub(crate) async fn read(stream: &mut RecvStream) -> Result<Message, WireError> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).await.map_err(|_| WireError::Lost)?;
    let mut body = vec![0; frame_length(header)?];
    stream.read_exact(&mut body).await.map_err(|_| WireError::Lost)?;
    let message = Message::decode(&body)?;
    tracing::trace!(kind = message.kind(), bytes = body.len(), "received");
    Ok(message)
}

/// Writes one message.
pub(crate) async fn write(stream: &mut SendStream, message: &Message) -> Result<(), WireError> {
    stream.write_all(&message.to_frame()).await.map_err(|_| WireError::Lost)
}

/// Starts draining a stream. Messages of unknown types are passed over; the queue closes when the stream ends, after
/// the error that ended it, if it was more than the end of the connection.
pub(crate) fn drain(
    mut stream: RecvStream,
    tracker: &TaskTracker,
) -> mpsc::Receiver<Result<Message, WireError>> {
    let (queue, drained) = mpsc::channel(INCOMING);
    tracker.spawn(async move {
        loop {
            let message = match read(&mut stream).await {
                Err(WireError::Decode(DecodeError::UnknownType(_))) => continue,
                Err(WireError::Lost) => return,
                other => other,
            };
            let ended = message.is_err();
            if queue.send(message).await.is_err() || ended {
                return;
            }
        }
    });
    drained
}

/// Starts a writer: what waits goes out in one write. It ends with its senders, or with the connection.
pub(crate) fn writer(mut stream: SendStream, tracker: &TaskTracker) -> mpsc::Sender<Message> {
    let (queue, mut waiting) = mpsc::channel::<Message>(OUTGOING);
    tracker.spawn(async move {
        let mut batch = Vec::new();
        let lost = stream.stopped();
        tokio::pin!(lost);
        loop {
            let message = tokio::select! {
                message = waiting.recv() => message,
                _ = &mut lost => return,
            };
            let Some(message) = message else { break };
            batch.clear();
            put(&message, &mut batch);
            while batch.len() < BATCH {
                let Ok(message) = waiting.try_recv() else { break };
                put(&message, &mut batch);
            }
            if stream.write_all(&batch).await.is_err() {
                return;
            }
        }
        drop(stream.finish());
    });
    queue
}

fn put(message: &Message, batch: &mut Vec<u8>) {
    let before = batch.len();
    message.put(batch);
    tracing::trace!(kind = message.kind(), bytes = batch.len() - before, "sent");
}
