//! Getting one sealed chunk: from any relay, patiently, and by a signal to the other members.

use std::time::Duration;

use bytes::Bytes;
use zerok_core::ChunkError;
use zerok_protocol::Hash;

use super::super::stream::{ChunkStream, Purpose, StreamError};
use super::{Fetch, FetchError};

/// How long a relay may wait for the chunk, attempt by attempt; after each one in vain the members are asked.
const WAITS: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(30)];
/// How long to wait for a session.
const SESSION: Duration = Duration::from_secs(30);
/// Attempts that the connection, or a relay that sends other bytes, may spoil.
const SPOILED: usize = 6;
const PAUSE: Duration = Duration::from_millis(100);

impl Fetch {
    /// The chunk at `address`, opened; `open` runs on a blocking thread.
    pub(super) async fn obtain<T: Send + 'static>(
        &self,
        address: Hash,
        open: impl Fn(Bytes) -> Result<T, ChunkError> + Clone + Send + 'static,
    ) -> Result<T, FetchError> {
        let (mut waited, mut spoiled) = (0, 0);
        while let Some(wait) = WAITS.get(waited).filter(|_| spoiled < SPOILED) {
            let streams = self.sessions(if waited == 0 { Purpose::Fetch } else { Purpose::Wait }).await?;
            let Some(stream) = streams.get((waited + spoiled) % streams.len()) else { continue };
            match stream.get(self.group.id, address, *wait).await {
                Ok(Some(sealed)) => {
                    let open = open.clone();
                    let opened = tokio::task::spawn_blocking(move || open(sealed)).await;
                    match opened.map_err(|_| FetchError::Stopped)? {
                        // The relay's doing, not the author's.
                        Err(ChunkError::Address) => spoiled += 1,
                        opened => return Ok(opened?),
                    }
                }
                Ok(None) => {
                    self.engine.inner.wanted.ask(self.group.id, address);
                    waited += 1;
                }
                Err(StreamError::Busy(pause)) => {
                    tokio::time::sleep(pause).await;
                    spoiled += 1;
                }
                Err(_) => {
                    spoiled += 1;
                    tokio::time::sleep(PAUSE * 2u32.pow(u32::try_from(spoiled).unwrap_or(0).min(5))).await;
                }
            }
        }
        Err(FetchError::Unavailable)
    }

    /// Streams to the relays, as soon as there is one.
    async fn sessions(&self, purpose: Purpose) -> Result<Vec<ChunkStream>, FetchError> {
        let streams = &self.engine.inner.streams;
        let mut changed = streams.changed();
        let wait = async {
            loop {
                let open = streams.to(self.group.id, purpose).await;
                if !open.is_empty() {
                    return Some(open);
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(SESSION, wait).await.ok().flatten().ok_or(FetchError::Unavailable)
    }
}
