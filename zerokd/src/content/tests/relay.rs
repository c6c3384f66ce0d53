//! A relay's chunk cache in memory, and the ways of devices to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use zerok_protocol::{Chunk, ChunkGet, ChunkMissing, ChunkOutcome, ChunkPutAck, GroupId, Hash, Message};

use crate::content::way::{Duplex, Way};
use crate::link::ChunkWant;
use crate::store::relays::RelayRow;
use crate::wire::WireError;

/// How the relay behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// As it should: a GET waits for the chunk.
    Patient,
    /// A GET of what is not there is answered at once, as if its time were over.
    Impatient,
    /// Takes nothing.
    Full,
    /// Answers GETs with other bytes.
    Lying,
}

pub(super) struct Cache {
    pub(super) chunks: Mutex<BTreeMap<Hash, Bytes>>,
    pub(super) mood: Mutex<Mood>,
    /// Ticks with every chunk that came in.
    pub(super) stored: watch::Sender<usize>,
    pub(super) served: AtomicUsize,
    pub(super) refused: watch::Sender<usize>,
    /// While it lives, there are connections; a new one when the link is mended.
    link: Mutex<Option<CancellationToken>>,
    sessions: watch::Sender<u64>,
    /// After so many served chunks the link breaks.
    breaks_after: Mutex<Option<usize>>,
    members: Mutex<Vec<mpsc::Sender<ChunkWant>>>,
}

impl Cache {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            chunks: Mutex::default(),
            mood: Mutex::new(Mood::Patient),
            stored: watch::Sender::new(0),
            served: AtomicUsize::new(0),
            refused: watch::Sender::new(0),
            link: Mutex::new(Some(CancellationToken::new())),
            sessions: watch::Sender::new(0),
            breaks_after: Mutex::default(),
            members: Mutex::default(),
        })
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(super) fn cut(&self) {
        if let Some(link) = self.link.lock().unwrap().take() {
            link.cancel();
        }
        self.sessions.send_modify(|tick| *tick += 1);
    }

    pub(super) fn cut_after(&self, served: usize) {
        *self.breaks_after.lock().unwrap() = Some(self.served() + served);
    }

    pub(super) fn mend(&self) {
        *self.breaks_after.lock().unwrap() = None;
        *self.link.lock().unwrap() = Some(CancellationToken::new());
        self.sessions.send_modify(|tick| *tick += 1);
    }

    /// Ticks when the link breaks or is mended.
    pub(super) fn sessions(&self) -> watch::Receiver<u64> {
        self.sessions.subscribe()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.link.lock().unwrap().is_none()
    }

    pub(super) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    pub(super) fn stored(&self) -> usize {
        *self.stored.borrow()
    }

    /// Waits until the cache has the chunk.
    pub(super) async fn has(&self, address: Hash) {
        let mut stored = self.stored.subscribe();
        stored.wait_for(|_| self.chunks.lock().unwrap().contains_key(&address)).await.unwrap();
    }

    async fn get(self: Arc<Self>, get: ChunkGet, answers: mpsc::Sender<Result<Message, WireError>>) {
        for address in get.addresses {
            let mut stored = self.stored.subscribe();
            let there = || self.chunks.lock().unwrap().get(&address).cloned();
            if *self.mood.lock().unwrap() == Mood::Patient {
                stored.wait_for(|_| there().is_some()).await.unwrap();
            }
            let mut data = there();
            if *self.mood.lock().unwrap() == Mood::Lying {
                data = data.map(|data| data.slice(..data.len() - 1));
            }
            if data.is_some() {
                let served = self.served.fetch_add(1, Ordering::SeqCst) + 1;
                if self.breaks_after.lock().unwrap().is_some_and(|limit| served >= limit) {
                    return self.cut();
                }
            }
            drop(answers.send(Ok(Chunk { req: get.req, address, data }.into())).await);
        }
    }

    async fn serve(
        self: Arc<Self>,
        mut requests: mpsc::Receiver<Message>,
        answers: mpsc::Sender<Result<Message, WireError>>,
    ) {
        while let Some(request) = requests.recv().await {
            let answer: Message = match request {
                Message::ChunkHave(have) => {
                    let chunks = self.chunks.lock().unwrap();
                    let addresses = have.addresses.into_iter().filter(|a| !chunks.contains_key(a)).collect();
                    ChunkMissing { req: have.req, addresses }.into()
                }
                Message::ChunkPut(put) => {
                    assert_eq!(Hash::of(&put.data), put.address);
                    let outcome = if *self.mood.lock().unwrap() == Mood::Full {
                        self.refused.send_modify(|n| *n += 1);
                        ChunkOutcome::Full
                    } else {
                        self.chunks.lock().unwrap().insert(put.address, put.data);
                        self.stored.send_modify(|n| *n += 1);
                        ChunkOutcome::Stored
                    };
                    ChunkPutAck { req: put.req, outcome }.into()
                }
                Message::ChunkGet(get) => {
                    tokio::spawn(self.clone().get(get, answers.clone()));
                    continue;
                }
                other => panic!("{other:?}"),
            };
            drop(answers.send(Ok(answer)).await);
        }
    }
}

/// One device's way to the cache.
pub(super) struct FakeWay {
    cache: Arc<Cache>,
    member: usize,
}

impl FakeWay {
    /// The way, and what others want of the device.
    pub(super) fn new(cache: &Arc<Cache>) -> (Arc<Self>, mpsc::Receiver<ChunkWant>) {
        let (wants, wanted) = mpsc::channel(64);
        let mut members = cache.members.lock().unwrap();
        members.push(wants);
        (Arc::new(Self { cache: cache.clone(), member: members.len() - 1 }), wanted)
    }
}

impl Way for FakeWay {
    fn relays(&self, _: &GroupId) -> Vec<RelayRow> {
        self.cache.link.lock().unwrap().iter().map(|_| 1).collect()
    }

    fn open(&self, _: GroupId, _: RelayRow) -> BoxFuture<'_, Option<Duplex>> {
        async move {
            let link = self.cache.link.lock().unwrap().clone()?;
            let ((send, requests), (answers, receive)) = (mpsc::channel(1024), mpsc::channel(1024));
            let cache = self.cache.clone();
            tokio::spawn(async move {
                // When the link goes, what is on its way goes with it.
                let (lossy, mut kept) = mpsc::channel(1024);
                let serving = tokio::spawn(cache.serve(requests, lossy));
                while let Some(Some(answer)) = link.run_until_cancelled(kept.recv()).await {
                    drop(answers.send(answer).await);
                }
                serving.abort();
            });
            Some(Duplex { send, receive })
        }
        .boxed()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.cache.sessions.subscribe()
    }

    fn want(&self, group: &GroupId, addresses: Vec<Hash>) {
        for (member, wants) in self.cache.members.lock().unwrap().iter().enumerate() {
            if member != self.member {
                drop(wants.try_send(ChunkWant { group: *group, addresses: addresses.clone() }));
            }
        }
    }
}
