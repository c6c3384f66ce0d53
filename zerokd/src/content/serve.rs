//! Serving what a relay has dropped and another member asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, mpsc};
use zerok_protocol::{GroupId, Hash};

use super::Content;
use super::piece::PieceError;
use super::rows::{self, DataChunk, State, Stored};
use super::stream::{ChunkStream, Purpose};
use super::upload::{UploadError, send};
use crate::group::Group;
use crate::link::ChunkWant;
use crate::store::StoreError;

/// Wishes served at once.
const AT_ONCE: usize = 2;
/// Addresses under way; whoever asks for more waits and asks again.
const BUSY: usize = 4096;

/// Serves wishes until the daemon stops.
pub(super) async fn run(content: Content, mut wants: mpsc::Receiver<ChunkWant>) {
    let busy: Arc<Mutex<BTreeSet<(GroupId, Hash)>>> = Arc::default();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(Some(want)) = content.inner.cancel.run_until_cancelled(wants.recv()).await {
        let mut mine = Vec::new();
        {
            let mut busy = busy.lock().expect("nobody panics while holding it");
            for address in want.addresses {
                if busy.len() < BUSY && busy.insert((want.group, address)) {
                    mine.push(address);
                }
            }
        }
        if mine.is_empty() {
            continue;
        }
        let (content_, busy, turns) = (content.clone(), busy.clone(), turns.clone());
        content.inner.tracker.spawn(async move {
            let turn = turns.acquire().await;
            if let Err(error) = serve(&content_, want.group, &mine).await {
                tracing::debug!("a member's wish for chunks was not served: {error}");
            }
            drop(turn);
            let mut busy = busy.lock().expect("nobody panics while holding it");
            busy.retain(|(group, address)| *group != want.group || !mine.contains(address));
        });
    }
}

async fn serve(content: &Content, group: GroupId, addresses: &[Hash]) -> Result<(), UploadError> {
    let Ok(group) = content.inner.groups.find(Some(&group)) else { return Ok(()) };
    if content.sources().is_none() {
        return Ok(());
    }
    for stream in content.inner.streams.to(group.id, Purpose::Upload).await {
        // Another member may have been faster.
        let mut lacking = stream.missing(group.id, addresses.to_vec()).await?;
        // Where one file has changed, another may still hold the same piece.
        for attempt in 0..4 {
            if lacking.is_empty() {
                break;
            }
            lacking = serve_from(content, &group, &stream, lacking, attempt).await?;
        }
    }
    Ok(())
}

/// What one content can give.
#[derive(Default)]
struct Share {
    lists: BTreeSet<Hash>,
    pieces: Vec<DataChunk>,
}

/// Serves each address from the content that holds it in `place`; returns what was not served.
async fn serve_from(
    content: &Content,
    group: &Arc<Group>,
    stream: &ChunkStream,
    lacking: Vec<Hash>,
    place: usize,
) -> Result<Vec<Hash>, UploadError> {
    let row = group.row;
    let (shares, mut left) = content
        .inner
        .store
        .read(move |connection| {
            let mut shares: BTreeMap<i64, (Stored, Share)> = BTreeMap::new();
            let mut left = Vec::new();
            for address in lacking {
                let holders = rows::holders(connection, row, &address)?;
                // What waits for its upload is on its way already, slow as it may be.
                if holders.iter().any(|stored| stored.state == State::Waiting) {
                    continue;
                }
                let Some(stored) = holders.into_iter().nth(place) else { continue };
                let piece = rows::data_at(connection, stored.row, &address)?;
                let (_, share) = shares.entry(stored.row).or_insert_with(|| (stored, Share::default()));
                match piece {
                    Some(piece) => share.pieces.push(piece),
                    None => {
                        share.lists.insert(address);
                    }
                }
                left.push(address);
            }
            Ok::<_, StoreError>((shares, left))
        })
        .await?;
    for (stored, share) in shares.into_values() {
        let served: BTreeSet<Hash> =
            share.lists.iter().copied().chain(share.pieces.iter().map(|piece| piece.chunk.address)).collect();
        match send(content, group, &stored, share.lists, share.pieces, stream).await {
            Ok(()) => left.retain(|address| !served.contains(address)),
            Err(UploadError::Piece(PieceError::Changed)) => content.tell_gone(&stored),
            Err(UploadError::Piece(PieceError::NoKey)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}
