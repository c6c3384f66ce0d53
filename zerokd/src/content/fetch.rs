//! Fetching a content into a staged file: in order, from what lies here, else from a relay, else by asking the other
//! members. Every piece is verified by its address, the whole by its hash. What was written stays when the link is
//! lost, and is taken over by the next attempt after it was verified.

mod obtain;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use futures_util::{TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use zerok_core::{
    ChunkError, ChunkKind, ChunkRef, ContentRef, LeafRef, ListError, Root, open_chunk, open_root, parse_leaf,
    parse_root,
};
use zerok_protocol::{EpochId, Hash};

use super::Content;
use super::piece::{self, Pieces, fingerprint};
use super::rows::{self, DataChunk, ListChunk, LocalPiece, Rows, State};
use crate::group::Group;
use crate::store::StoreError;
use write::{Piece, Writer};

/// Bytes of one fetch between request and disk, in KiB.
const WINDOW_KIB: usize = 4 << 10;
/// Requests of one fetch in flight.
const AT_ONCE: usize = 64;
/// Leaves read ahead.
const LEAVES: usize = 2;

/// Why a content could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// It is sealed under an epoch whose key has not come yet.
    #[error("the key of the epoch under which the file is sealed is not here")]
    NoKey,
    /// No relay has it and no member has sent it: try again later, with the same staged file.
    #[error("no relay and no other device has the file now")]
    Unavailable,
    /// A chunk is not what it must be, by its author's doing: another attempt gives the same.
    #[error("the file is damaged: {0}")]
    Chunk(#[from] ChunkError),
    /// Its list of chunks is not one.
    #[error("the file is damaged: {0}")]
    List(#[from] ListError),
    /// Its chunks together are not what the record says.
    #[error("the file is damaged: its contents do not have the hash that its record names")]
    Hash,
    /// The staged file cannot be written.
    #[error("the file cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The daemon is stopping.
    #[error("stopping")]
    Stopped,
}

impl FetchError {
    /// Would another attempt end the same, whatever the network does?
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Chunk(_) | Self::List(_) | Self::Hash)
    }
}

impl Content {
    /// Writes a content into `staged`, which may hold the beginning of it from an earlier attempt (it must be open for
    /// reading too). It is complete and verified when this returns, but not synced. The rows are to be inserted in
    /// the transaction that takes the file into the index.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub(crate) async fn fetch(
        &self,
        group: &Arc<Group>,
        content: &ContentRef,
        staged: File,
    ) -> Result<Rows, FetchError> {
        let fetch = async {
            let _turn = self.inner.fetches.acquire().await.map_err(|_| FetchError::Stopped)?;
            let fetch = Fetch {
                engine: self.clone(),
                group: group.clone(),
                content: content.clone(),
                staged: Arc::new(staged),
                opened: Mutex::default(),
            };
            Arc::new(fetch).run().await
        };
        self.inner.cancel.run_until_cancelled(fetch).await.unwrap_or(Err(FetchError::Stopped))
    }
}

/// One content on its way into one file.
struct Fetch {
    engine: Content,
    group: Arc<Group>,
    content: ContentRef,
    staged: Arc<File>,
    /// Files here that have pieces of it.
    opened: Mutex<BTreeMap<Hash, Option<Arc<File>>>>,
}

/// A piece that is wanted, where it goes, and where it may lie already.
struct Want {
    chunk: ChunkRef,
    offset: u64,
    local: Vec<LocalPiece>,
    room: Option<OwnedSemaphorePermit>,
}

impl Fetch {
    async fn run(self: Arc<Self>) -> Result<Rows, FetchError> {
        let begun = self.staged.metadata()?.len().min(self.content.size);
        let (leaves, mut lists) = self.leaves().await?;
        let (pieces, queue) = mpsc::channel(AT_ONCE);
        let writer = Writer::start(self.staged.clone(), self.content.clone(), queue);

        let room = Arc::new(Semaphore::new(WINDOW_KIB));
        let this = &self;
        let mut offset = 0;
        let wants = stream::iter(leaves.into_iter().map(Ok::<_, FetchError>))
            .map_ok(|leaf| this.clone().wants(leaf))
            .try_buffered(LEAVES)
            .map_ok(|wants| stream::iter(wants.into_iter().map(Ok::<_, FetchError>)))
            .try_flatten()
            .map_ok(move |want| {
                let at = offset;
                offset += u64::from(want.chunk.length);
                Want { offset: at, ..want }
            })
            // In order, so that the piece that everything waits for always has room.
            .and_then(|want| {
                let room = room.clone();
                async move {
                    let kib = want.chunk.length.div_ceil(1024);
                    let room = room.acquire_many_owned(kib).await.map_err(|_| FetchError::Stopped)?;
                    Ok(Want { room: Some(room), ..want })
                }
            });
        let mut fetched =
            std::pin::pin!(wants.map_ok(|want| this.clone().piece(want, begun)).try_buffered(AT_ONCE));
        let mut failed = None;
        while failed.is_none() {
            match fetched.try_next().await {
                Ok(Some(piece)) => {
                    // A writer that has given up says why.
                    if pieces.send(piece).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => failed = Some(error),
            }
        }
        drop(pieces);
        let written = writer.finish().await;
        if let Some(error) = failed {
            return Err(error);
        }
        let data = written?;
        for (place, list) in (0..).zip(&mut lists) {
            list.place = place;
        }
        let content = self.content.clone();
        Ok(Rows { grp: self.group.row, content, state: State::Done, data, lists })
    }

    /// The leaves, each with its pieces if they are known already, and what is to be remembered of the lists.
    async fn leaves(self: &Arc<Self>) -> Result<(Vec<Leaf>, Vec<ListChunk>), FetchError> {
        if let Some(known) = self.known().await? {
            return Ok(known);
        }
        let this = self.clone();
        let keys = self.keys(self.content.epoch)?;
        let root = self
            .obtain(self.content.root, move |sealed| open_root(&keys, &this.group.id, &this.content, &sealed))
            .await?;
        let list = |chunk| ListChunk { chunk, place: 0 };
        let own = ChunkRef {
            address: self.content.root,
            epoch: self.content.epoch,
            length: u32::try_from(root.len()).unwrap_or(u32::MAX),
        };
        match parse_root(&root, self.content.size)? {
            Root::Chunks(chunks) => Ok((vec![Leaf::Known(chunks)], vec![list(own)])),
            Root::Leaves(leaves) => {
                let lists = leaves.iter().map(|leaf| leaf.chunk).chain([own]).map(list).collect();
                Ok((leaves.into_iter().map(Leaf::Named).collect(), lists))
            }
        }
    }

    /// A copy of what is here needs no list.
    async fn known(&self) -> Result<Option<(Vec<Leaf>, Vec<ListChunk>)>, FetchError> {
        let (grp, root) = (self.group.row, self.content.root);
        let found = self
            .engine
            .inner
            .store
            .read(move |connection| {
                let Some(stored) = rows::find(connection, grp, &root)? else { return Ok(None) };
                let data = rows::data(connection, stored.row, 0, usize::MAX)?;
                Ok::<_, StoreError>(Some((stored.content, data, rows::lists(connection, stored.row)?)))
            })
            .await?;
        Ok(found.filter(|(content, ..)| *content == self.content).map(|(_, data, lists)| {
            let chunks: Vec<ChunkRef> = data.into_iter().map(|piece| piece.chunk).collect();
            (chunks.chunks(256).map(|chunks| Leaf::Known(chunks.to_vec())).collect(), lists)
        }))
    }

    /// The pieces of a leaf, with where they may lie here.
    async fn wants(self: Arc<Self>, leaf: Leaf) -> Result<Vec<Want>, FetchError> {
        let chunks = match leaf {
            Leaf::Known(chunks) => chunks,
            Leaf::Named(leaf) => {
                let (keys, this) = (self.keys(leaf.chunk.epoch)?, self.clone());
                let open = move |sealed: bytes::Bytes| {
                    open_chunk(&keys, &this.group.id, &leaf.chunk, ChunkKind::List, &sealed)
                };
                parse_leaf(&self.obtain(leaf.chunk.address, open).await?, &leaf)?
            }
        };
        let grp = self.group.row;
        let search = self.engine.sources().is_some();
        let wants = self.engine.inner.store.read(move |connection| {
            let wants = chunks.into_iter().map(|chunk| {
                let local = if search { rows::local(connection, grp, &chunk)? } else { Vec::new() };
                Ok::<_, StoreError>(Want { chunk, offset: 0, local, room: None })
            });
            wants.collect::<Result<Vec<_>, _>>()
        });
        Ok(wants.await?)
    }

    /// One piece, from wherever it is nearest.
    async fn piece(self: Arc<Self>, want: Want, begun: u64) -> Result<Piece, FetchError> {
        let Want { chunk, offset, local, room } = want;
        let done = |plaintext: Vec<u8>, fingerprint, written| Piece {
            row: DataChunk { chunk, offset, fingerprint },
            plaintext,
            written,
            room,
        };
        if offset + u64::from(chunk.length) <= begun {
            let this = self.clone();
            let there = tokio::task::spawn_blocking(move || this.staged_piece(chunk, offset)).await;
            if let Ok(Some(plaintext)) = there {
                let fingerprint = fingerprint(&self.group, &plaintext);
                return Ok(done(plaintext, fingerprint, true));
            }
        }
        if !local.is_empty() {
            let this = self.clone();
            let here = tokio::task::spawn_blocking(move || this.local_piece(&local)).await;
            if let Ok(Some((plaintext, fingerprint))) = here {
                return Ok(done(plaintext, fingerprint, false));
            }
        }
        let (keys, this) = (self.keys(chunk.epoch)?, self.clone());
        let open = move |sealed: bytes::Bytes| {
            let plaintext = open_chunk(&keys, &this.group.id, &chunk, ChunkKind::Data, &sealed)?;
            let fingerprint = fingerprint(&this.group, &plaintext);
            Ok((plaintext, fingerprint))
        };
        let (plaintext, fingerprint) = self.obtain(chunk.address, open).await?;
        Ok(done(plaintext, fingerprint, false))
    }

    /// What an earlier attempt wrote, if it is the piece; blocking.
    fn staged_piece(&self, chunk: ChunkRef, offset: u64) -> Option<Vec<u8>> {
        let row = DataChunk { chunk, offset, fingerprint: Default::default() };
        Pieces::of(self.staged.try_clone().ok()?, &self.group).seal(&row).ok()?;
        piece::read(&self.staged, &row).ok()
    }

    /// The piece out of a file here, if it still is what it was; blocking.
    fn local_piece(&self, places: &[LocalPiece]) -> Option<(Vec<u8>, rows::Fingerprint)> {
        places.iter().find_map(|place| {
            let plaintext = piece::read(&*self.open_source(place)?, &place.piece).ok()?;
            let fingerprint = fingerprint(&self.group, &plaintext);
            (fingerprint == place.piece.fingerprint).then_some((plaintext, fingerprint))
        })
    }

    fn open_source(&self, place: &LocalPiece) -> Option<Arc<File>> {
        let mut opened = self.opened.lock().expect("nobody panics while holding it");
        // A content made of the pieces of very many others is not worth keeping them all open.
        if opened.len() > 16 && !opened.contains_key(&place.hash) {
            opened.clear();
        }
        opened
            .entry(place.hash)
            .or_insert_with(|| {
                let file = self.engine.sources()?.open(self.group.row, &place.hash, place.size)?;
                Some(Arc::new(file))
            })
            .clone()
    }

    fn keys(&self, epoch: EpochId) -> Result<zerok_core::EpochKeys, FetchError> {
        self.group.epoch(epoch).ok_or(FetchError::NoKey)
    }
}

/// A leaf of the content's list.
enum Leaf {
    /// Its pieces are known.
    Known(Vec<ChunkRef>),
    /// It is to be fetched.
    Named(LeafRef),
}
