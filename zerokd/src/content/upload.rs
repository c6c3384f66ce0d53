//! The upload queue: contents whose records are committed go to the relays' caches. The queue is the table; what is
//! on its way is remembered in memory only, so a restart begins with asking what the relay lacks.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use zerok_core::Backoff;
use zerok_protocol::{ChunkOutcome, GroupId, Hash};

use super::piece::{PieceError, Pieces};
use super::rows::{self, ContentRow, DataChunk, State, Stored};
use super::stream::{ChunkStream, Purpose, StreamError};
use super::{Content, Gone, UPLOAD_WINDOW_KIB, list};
use crate::clock;
use crate::group::Group;
use crate::store::StoreError;

/// Contents on their way at once.
const AT_ONCE: usize = 16;
/// Contents read from the queue at once, and marked in one transaction at most.
const PAGE: usize = 64;
/// Pieces of one content that are dealt with at once.
const ASK: usize = 4096;
/// Addresses that the protocol allows in one question.
const MOST_ASKED: usize = 8192;
/// First and longest pause when a relay is full.
const FULL_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Why an upload did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// Try again later.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// What is sealed now is not what the record names.
    #[error(transparent)]
    Piece(#[from] PieceError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The daemon is stopping.
    #[error("stopping")]
    Stopped,
}

/// A sealed chunk on its way, with its share of the window.
pub(super) struct Parcel {
    address: Hash,
    data: bytes::Bytes,
    _room: OwnedSemaphorePermit,
}

enum Outcome {
    Done,
    Gone,
    Later,
}

/// Empties the queue until the daemon stops.
pub(super) async fn run(content: Content) {
    let state = Arc::new(Mutex::new(Pending::default()));
    let queue = Queue { content: content.clone(), state: state.clone(), page: VecDeque::new(), after: 0 };
    let waiting = stream::unfold(queue, |mut queue| async move { Some((queue.next().await?, queue)) });
    let uploads = waiting.map(|stored| {
        let content = content.clone();
        async move { (upload(&content, &stored).await, stored) }
    });
    let mut ended = std::pin::pin!(uploads.buffer_unordered(AT_ONCE).ready_chunks(PAGE));
    while let Some(Some(ended)) = content.inner.cancel.run_until_cancelled(ended.next()).await {
        settle(&content, &state, ended).await;
    }
}

/// What the queue needs to know of the uploads under way.
#[derive(Default)]
struct Pending {
    busy: BTreeSet<ContentRow>,
    backoff: Backoff,
    failed: bool,
}

/// Hands out contents in the order in which they were committed, each once while it is on its way.
struct Queue {
    content: Content,
    state: Arc<Mutex<Pending>>,
    page: VecDeque<Stored>,
    after: ContentRow,
}

impl Queue {
    async fn next(&mut self) -> Option<Stored> {
        let mut changed = self.content.inner.streams.changed();
        loop {
            while let Some(stored) = self.page.pop_front() {
                self.after = stored.row;
                let mut state = self.state.lock().expect("nobody panics while holding it");
                if state.busy.insert(stored.row) {
                    return Some(stored);
                }
            }
            let after = self.after;
            let page = match self.content.sources() {
                Some(_) => self.content.inner.store.read(move |c| rows::waiting(c, after, PAGE)).await,
                None => Ok(Vec::new()),
            };
            match page {
                Ok(page) if !page.is_empty() => self.page.extend(page),
                Ok(_) => {
                    self.after = 0;
                    self.rest(&mut changed).await?;
                }
                Err(StoreError::Closed) => return None,
                Err(error) => {
                    tracing::warn!("the upload queue cannot be read: {error}");
                    self.state.lock().expect("nobody panics while holding it").failed = true;
                    self.rest(&mut changed).await?;
                }
            }
        }
    }

    /// Until there may be something to do; `None` when the daemon stops.
    async fn rest(&self, changed: &mut tokio::sync::watch::Receiver<u64>) -> Option<()> {
        let pause = {
            let mut state = self.state.lock().expect("nobody panics while holding it");
            std::mem::take(&mut state.failed).then(|| state.backoff.next(u64::from_le_bytes(clock::random())))
        };
        let again = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.content.inner.cancel.cancelled() => None,
            () = self.content.inner.wake.notified() => Some(()),
            tick = changed.changed() => tick.ok(),
            () = again => Some(()),
        }
    }
}

/// Marks what ended, in one transaction.
async fn settle(content: &Content, state: &Mutex<Pending>, ended: Vec<(Outcome, Stored)>) {
    let marks: Vec<_> = ended
        .iter()
        .filter_map(|(outcome, stored)| match outcome {
            Outcome::Done => Some((stored.row, State::Done)),
            Outcome::Gone => Some((stored.row, State::Gone)),
            Outcome::Later => None,
        })
        .collect();
    let write = content.inner.store.write(move |connection| {
        marks.iter().try_for_each(|(row, state)| rows::set_state(connection, *row, *state))
    });
    let stored: Result<(), StoreError> = write.await;
    if let Err(error) = &stored {
        tracing::warn!("uploads cannot be marked as done: {error}");
    }
    let mut failed = stored.is_err();
    for (outcome, stored) in &ended {
        match outcome {
            Outcome::Gone => content.tell_gone(stored),
            Outcome::Later => failed = true,
            Outcome::Done => {}
        }
    }
    let mut state = state.lock().expect("nobody panics while holding it");
    for (_, stored) in &ended {
        state.busy.remove(&stored.row);
    }
    if failed {
        state.failed = true;
    } else {
        state.backoff.reset();
    }
    drop(state);
    if failed {
        // So that the queue sees the failure and rests for a while, even if it is resting already.
        content.wake();
    }
}

/// Brings one content to every relay at which the group has a session.
async fn upload(content: &Content, stored: &Stored) -> Outcome {
    let Some(group) = content.inner.groups.by_row(stored.grp) else { return Outcome::Later };
    let mut outcome = Outcome::Later;
    for stream in content.inner.streams.to(group.id, Purpose::Upload).await {
        match transfer(content, &group, stored, &stream).await {
            Ok(()) => outcome = Outcome::Done,
            Err(UploadError::Piece(PieceError::Changed)) => return Outcome::Gone,
            Err(error) => tracing::debug!("an upload is put off: {error}"),
        }
    }
    outcome
}

async fn transfer(
    content: &Content,
    group: &Arc<Group>,
    stored: &Stored,
    stream: &ChunkStream,
) -> Result<(), UploadError> {
    let row = stored.row;
    let read = content.inner.store.read(move |connection| {
        let (lists, page) = (rows::lists(connection, row)?, rows::data(connection, row, 0, ASK)?);
        Ok::<_, StoreError>((lists, page))
    });
    let (lists, mut page) = read.await?;
    let mut lists: Vec<Hash> = lists.iter().map(|list| list.chunk.address).collect();
    loop {
        let last = page.len() < ASK;
        let next = page.last().map_or(0, |piece| piece.offset + 1);
        // The lists go first: whoever waits for the file begins with them.
        let asked = lists.drain(..).chain(page.iter().map(|piece| piece.chunk.address)).collect();
        content.inner.early.settled(&asked).await;
        let mut lacking = missing(stream, group.id, asked).await?;
        // Each piece once, however often it stands in the file; what is left over are lists.
        page.retain(|piece| lacking.remove(&piece.chunk.address));
        send(content, group, stored, lacking, page, stream).await?;
        if last {
            return Ok(());
        }
        page = content.inner.store.read(move |c| rows::data(c, row, next, ASK)).await?;
    }
}

/// Which of these the relay lacks.
async fn missing(
    stream: &ChunkStream,
    group: GroupId,
    addresses: BTreeSet<Hash>,
) -> Result<BTreeSet<Hash>, StreamError> {
    let mut lacking = BTreeSet::new();
    let addresses: Vec<Hash> = addresses.into_iter().collect();
    for some in addresses.chunks(MOST_ASKED) {
        lacking.extend(stream.missing(group, some.to_vec()).await?);
    }
    Ok(lacking)
}

/// Seals these lists and pieces of one content on a blocking thread and gives them to the relay as they come.
pub(super) async fn send(
    content: &Content,
    group: &Arc<Group>,
    stored: &Stored,
    lists: BTreeSet<Hash>,
    pieces: Vec<DataChunk>,
    stream: &ChunkStream,
) -> Result<(), UploadError> {
    if lists.is_empty() && pieces.is_empty() {
        return Ok(());
    }
    let (parcels, queue) = mpsc::channel(64);
    let (sealer, group_id) = ((content.clone(), group.clone(), stored.clone()), group.id);
    let sealing = tokio::task::spawn_blocking(move || {
        let (content, group, stored) = sealer;
        seal(&content, &group, &stored, &lists, &pieces, &parcels)
    });
    let parcels = stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) });
    let puts = parcels.map(|parcel| Ok(put(content, stream, group_id, parcel)));
    let sent = puts.try_buffer_unordered(1024).try_for_each(|()| async { Ok(()) }).await;
    match sealing.await {
        Ok(sealed) => sent.and(sealed),
        Err(_) => Err(UploadError::Stopped),
    }
}

fn seal(
    content: &Content,
    group: &Group,
    stored: &Stored,
    lists: &BTreeSet<Hash>,
    pieces: &[DataChunk],
    parcels: &mpsc::Sender<Parcel>,
) -> Result<(), UploadError> {
    let runtime = tokio::runtime::Handle::current();
    let room = |bytes: usize| -> Result<OwnedSemaphorePermit, UploadError> {
        let kib = u32::try_from(bytes.div_ceil(1024).min(UPLOAD_WINDOW_KIB)).unwrap_or(u32::MAX);
        let window = content.inner.uploads.clone();
        let acquired =
            runtime.block_on(content.inner.cancel.run_until_cancelled(window.acquire_many_owned(kib)));
        acquired.and_then(Result::ok).ok_or(UploadError::Stopped)
    };
    // When nobody takes parcels any more, the one who did has the reason.
    let hand_over = |parcel| parcels.blocking_send(parcel).map_err(|_| UploadError::Stopped);
    for made in list::remake(&content.inner.store, group, stored, lists)? {
        let _room = room(made.sealed.len())?;
        hand_over(Parcel { address: made.chunk.address, data: made.sealed, _room })?;
    }
    if pieces.is_empty() {
        return Ok(());
    }
    let sources = content.sources().ok_or(UploadError::Stopped)?;
    let file =
        sources.open(stored.grp, &stored.content.hash, stored.content.size).ok_or(PieceError::Changed)?;
    let mut source = Pieces::of(file, group);
    for piece in pieces {
        let _room = room(usize::try_from(piece.chunk.length).unwrap_or(usize::MAX))?;
        let data = source.seal(piece)?;
        hand_over(Parcel { address: piece.chunk.address, data, _room })?;
    }
    Ok(())
}

async fn put(
    content: &Content,
    stream: &ChunkStream,
    group: GroupId,
    parcel: Parcel,
) -> Result<(), UploadError> {
    let mut pause = FULL_PAUSE.0;
    loop {
        let wait = match stream.put(group, parcel.address, parcel.data.clone()).await {
            Ok(ChunkOutcome::Stored) => return Ok(()),
            Ok(ChunkOutcome::Full) => {
                let wait = pause;
                pause = (pause * 2).min(FULL_PAUSE.1);
                wait
            }
            // Our own hash of our own bytes: what arrived is not what was sent.
            Ok(ChunkOutcome::Mismatch) => return Err(StreamError::Lost.into()),
            Err(StreamError::Busy(wait)) => wait,
            Err(error) => return Err(error.into()),
        };
        let stopped = content.inner.cancel.run_until_cancelled(tokio::time::sleep(wait)).await.is_none();
        if stopped {
            return Err(UploadError::Stopped);
        }
    }
}

impl Content {
    /// The folders hear it and look again; if too many are told at once the next scan finds the rest.
    pub(super) fn tell_gone(&self, stored: &Stored) {
        let gone = Gone { grp: stored.grp, hash: stored.content.hash, root: stored.content.root };
        let _ = self.inner.gone.try_send(gone);
    }
}
