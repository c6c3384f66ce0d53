//! Chunk streams to the relays: many requests in flight on one stream, answers found by their number.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerok_protocol::{ChunkGet, ChunkHave, ChunkOutcome, ChunkPut, Code, GroupId, Hash, Message};

use super::way::{Duplex, Way};
use crate::store::relays::RelayRow;

/// An answer is never later than this after the time that the relay was asked to wait.
const ANSWER: Duration = Duration::from_secs(60);

/// CHUNK_GETs of one stream under way; a relay takes 16.
const GETS_AT_ONCE: usize = 12;
/// Addresses in one CHUNK_GET.
const IN_GET: usize = 64;
/// Wishes that may wait for a place.
const GETS: usize = 1024;

/// Why a request over a chunk stream failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StreamError {
    /// The stream or its connection is gone.
    #[error("the connection was lost")]
    Lost,
    /// The relay asks for a pause.
    #[error("the relay asks to wait {0:?}")]
    Busy(Duration),
    /// The relay refuses.
    #[error("the relay refuses: {0}")]
    Refused(Code),
}

type GetAnswer = oneshot::Sender<Result<Option<Bytes>, StreamError>>;

/// Who waits for the answers to a request.
enum Waiter {
    /// One answer.
    One(oneshot::Sender<Message>),
    /// One for each address; the place is free again when all have come.
    Each { left: BTreeMap<Hash, Vec<GetAnswer>>, _place: OwnedSemaphorePermit },
}

type Waiting = Arc<Mutex<BTreeMap<u32, Waiter>>>;

/// A chunk that somebody here wants.
struct Get {
    group: GroupId,
    address: Hash,
    wait: Duration,
    answer: GetAnswer,
}

/// One stream; cheap to clone.
#[derive(Clone)]
pub(super) struct ChunkStream {
    requests: mpsc::Sender<Message>,
    gets: mpsc::Sender<Get>,
    waiting: Waiting,
    next: Arc<AtomicU32>,
    closed: CancellationToken,
}

/// Forgets a request whose caller went away.
struct Registered<'s> {
    waiting: &'s Waiting,
    req: u32,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.waiting.lock().expect("nobody panics while holding it").remove(&self.req);
    }
}

impl ChunkStream {
    fn start(duplex: Duplex, tracker: &TaskTracker, closed: CancellationToken) -> Self {
        let (gets, asked) = mpsc::channel(GETS);
        let stream =
            Self { requests: duplex.send, gets, waiting: Waiting::default(), next: Arc::default(), closed };
        let (mut answers, waiting, closed) = (duplex.receive, stream.waiting.clone(), stream.closed.clone());
        tracker.spawn(async move {
            while let Some(Some(Ok(message))) = closed.run_until_cancelled(answers.recv()).await {
                if !give(&waiting, message) {
                    break;
                }
            }
            closed.cancel();
            // Whoever waits for a chunk hears by this that the stream is gone.
            waiting.lock().expect("nobody panics while holding it").clear();
        });
        let getter = Getter {
            requests: stream.requests.clone(),
            waiting: stream.waiting.clone(),
            next: stream.next.clone(),
            closed: stream.closed.clone(),
        };
        tracker.spawn(getter.run(asked));
        stream
    }

    async fn request(&self, make: impl FnOnce(u32) -> Message) -> Result<Message, StreamError> {
        let req = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().expect("nobody panics while holding it").insert(req, Waiter::One(answer));
        let _registered = Registered { waiting: &self.waiting, req };
        self.requests.send(make(req)).await.map_err(|_| StreamError::Lost)?;
        match self.answer(answered, ANSWER).await? {
            Message::Error(error) => Err(refusal(&error)),
            message => Ok(message),
        }
    }

    /// Waits for an answer; a relay that never gives one is as good as gone.
    async fn answer<T>(&self, answered: oneshot::Receiver<T>, within: Duration) -> Result<T, StreamError> {
        let answered = self.closed.run_until_cancelled(tokio::time::timeout(within, answered));
        match answered.await {
            Some(Ok(Ok(answer))) => Ok(answer),
            Some(Ok(Err(_))) | None => Err(StreamError::Lost),
            Some(Err(_)) => {
                self.closed.cancel();
                Err(StreamError::Lost)
            }
        }
    }

    /// Which of these the relay lacks; at most 8192.
    pub(super) async fn missing(
        &self,
        group: GroupId,
        addresses: Vec<Hash>,
    ) -> Result<Vec<Hash>, StreamError> {
        match self.request(|req| ChunkHave { req, group, addresses }.into()).await? {
            Message::ChunkMissing(answer) => Ok(answer.addresses),
            _ => Err(StreamError::Lost),
        }
    }

    /// Gives the relay a chunk.
    pub(super) async fn put(
        &self,
        group: GroupId,
        address: Hash,
        data: Bytes,
    ) -> Result<ChunkOutcome, StreamError> {
        match self.request(|req| ChunkPut { req, group, address, data }.into()).await? {
            Message::ChunkPutAck(answer) => Ok(answer.outcome),
            _ => Err(StreamError::Lost),
        }
    }

    /// Asks the relay for a chunk; `None` if it has not come there within `wait`.
    pub(super) async fn get(
        &self,
        group: GroupId,
        address: Hash,
        wait: Duration,
    ) -> Result<Option<Bytes>, StreamError> {
        let (answer, answered) = oneshot::channel();
        let get = Get { group, address, wait, answer };
        self.gets.send(get).await.map_err(|_| StreamError::Lost)?;
        self.answer(answered, wait + ANSWER).await?
    }
}

/// Sends what is wanted, many addresses in one request.
struct Getter {
    requests: mpsc::Sender<Message>,
    waiting: Waiting,
    next: Arc<AtomicU32>,
    closed: CancellationToken,
}

impl Getter {
    async fn run(self, mut asked: mpsc::Receiver<Get>) {
        let places = Arc::new(Semaphore::new(GETS_AT_ONCE));
        let mut kept = None;
        loop {
            let next = async {
                match kept.take() {
                    Some(get) => Some(get),
                    None => asked.recv().await,
                }
            };
            let Some(Some(first)) = self.closed.run_until_cancelled(next).await else { return };
            let place = self.closed.run_until_cancelled(places.clone().acquire_owned()).await;
            let Some(Ok(place)) = place else { return };
            let (group, wait) = (first.group, first.wait);
            let mut left: BTreeMap<Hash, Vec<GetAnswer>> = BTreeMap::new();
            left.entry(first.address).or_default().push(first.answer);
            while left.len() < IN_GET {
                match asked.try_recv() {
                    Ok(get) if (get.group, get.wait) == (group, wait) => {
                        left.entry(get.address).or_default().push(get.answer);
                    }
                    Ok(other) => {
                        kept = Some(other);
                        break;
                    }
                    Err(_) => break,
                }
            }
            let req = self.next.fetch_add(1, Ordering::Relaxed);
            let addresses = left.keys().copied().collect();
            let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(30_000).min(30_000);
            let waiter = Waiter::Each { left, _place: place };
            self.waiting.lock().expect("nobody panics while holding it").insert(req, waiter);
            if self.requests.send(ChunkGet { req, group, addresses, wait_ms }.into()).await.is_err() {
                self.closed.cancel();
                return;
            }
        }
    }
}

/// Hands an answer to who waits for it; false when the stream makes no sense any more.
fn give(waiting: &Waiting, message: Message) -> bool {
    let Some(req) = answered(&message) else { return false };
    let mut waiting = waiting.lock().expect("nobody panics while holding it");
    match (waiting.remove(&req), message) {
        (Some(Waiter::One(waiter)), message) => drop(waiter.send(message)),
        (Some(Waiter::Each { mut left, _place }), Message::Chunk(chunk)) => {
            let mut data = chunk.data;
            let mut waiters = left.remove(&chunk.address).unwrap_or_default();
            if let Some(last) = waiters.pop() {
                waiters.into_iter().for_each(|waiter| drop(waiter.send(Ok(data.clone()))));
                drop(last.send(Ok(data.take())));
            }
            if !left.is_empty() {
                waiting.insert(req, Waiter::Each { left, _place });
            }
        }
        (Some(Waiter::Each { left, .. }), Message::Error(error)) => {
            for waiter in left.into_values().flatten() {
                drop(waiter.send(Err(refusal(&error))));
            }
        }
        // Another answer than was asked for.
        (Some(Waiter::Each { .. }), _) => return false,
        // Whoever asked has gone.
        (None, _) => {}
    }
    true
}

fn refusal(error: &zerok_protocol::Error) -> StreamError {
    match error.retry_after_ms {
        Some(ms) => StreamError::Busy(Duration::from_millis(ms.min(60_000))),
        None => StreamError::Refused(error.code),
    }
}

/// The request that a message answers; `None`: it ends the stream.
fn answered(message: &Message) -> Option<u32> {
    match message {
        Message::ChunkMissing(m) => Some(m.req),
        Message::ChunkPutAck(m) => Some(m.req),
        Message::Chunk(m) => Some(m.req),
        Message::Error(m) => m.req,
        _ => None,
    }
}

/// What a stream is for, so that neither bulk uploads nor long waits delay what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// Chunks that should be there, or on their way.
    Fetch,
    /// Chunks that were not there, and that somebody was asked for.
    Wait,
    /// Chunks and questions to the relay.
    Upload,
}

type Key = (RelayRow, GroupId, Purpose);

/// The open streams, one for each relay, group and purpose; made when first used.
pub(super) struct Streams {
    way: Arc<dyn Way>,
    open: tokio::sync::Mutex<BTreeMap<Key, ChunkStream>>,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Streams {
    pub(super) fn new(way: Arc<dyn Way>, tracker: TaskTracker, cancel: CancellationToken) -> Self {
        Self { way, open: tokio::sync::Mutex::default(), tracker, cancel }
    }

    /// A stream to each relay at which the group has a session.
    pub(super) async fn to(&self, group: GroupId, purpose: Purpose) -> Vec<ChunkStream> {
        let mut streams = Vec::new();
        for relay in self.way.relays(&group) {
            let mut open = self.open.lock().await;
            let key = (relay, group, purpose);
            if let Some(stream) = open.get(&key).filter(|stream| !stream.closed.is_cancelled()) {
                streams.push(stream.clone());
            } else if let Some(duplex) = self.way.open(group, relay).await {
                let stream = ChunkStream::start(duplex, &self.tracker, self.cancel.child_token());
                open.insert(key, stream.clone());
                streams.push(stream);
            }
        }
        streams
    }

    /// Ticks when a session opens or closes.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.way.changed()
    }
}
