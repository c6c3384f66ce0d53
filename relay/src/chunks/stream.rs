//! A chunk stream: CHUNK_PUT, CHUNK_GET and CHUNK_HAVE, many at a time, answered as they are done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use zerok_protocol::{
    Chunk, ChunkGet, ChunkHave, ChunkMissing, ChunkOutcome, ChunkPut, ChunkPutAck, Code, GroupId, Hash,
    MAX_CHUNK, Message,
};

use super::Put;
use crate::connection::{BUDGET, Conn};
use crate::frames::{Frames, FramesError, decode};
use crate::outbox::Outbox;
use crate::refuse::{self, Refusal};

/// Addresses of one CHUNK_GET and of one CHUNK_HAVE.
const MAX_GET: usize = 256;
const MAX_HAVE: usize = 8192;
/// CHUNK_GETs of one stream that may be waiting.
const MAX_WAITING: usize = 16;
/// Chunks of one CHUNK_GET that are read from disk at a time.
const READS: usize = 4;
/// Longest wait for a chunk.
const MAX_WAIT: Duration = Duration::from_secs(30);

type Refused = (Option<u32>, Refusal);

/// Serves a stream that began with a CHUNK_* message.
pub(crate) async fn serve(conn: Arc<Conn>, first: Message, mut frames: Frames, outbox: Arc<Outbox>) {
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    let mut message = first;
    loop {
        if let Err((req, refusal)) = handle(&conn, &outbox, &waiting, message).await {
            outbox.send(&refusal.answer(req));
        }
        message = loop {
            let frame = tokio::select! {
                () = outbox.ended().cancelled() => return,
                () = conn.relay.stop.cancelled() => return outbox.end_with(&refuse::shutting_down()),
                frame = frames.next_answerable(&outbox) => frame,
            };
            match frame {
                Ok(Some(frame)) => match decode(&frame) {
                    Ok(message) => break message,
                    Err(refusal) => outbox.send(&refusal.answer(None)),
                },
                // What was asked for is still answered.
                Ok(None) => return drain(&conn, &outbox, &waiting).await,
                Err(FramesError::Lost(_)) => return,
                Err(e) => return outbox.end_with(&Refusal::invalid(e.to_string()).answer(None)),
            }
        };
    }
}

async fn drain(conn: &Conn, outbox: &Outbox, waiting: &Semaphore) {
    let answered = async {
        let _gets = waiting.acquire_many(u32::try_from(MAX_WAITING).unwrap_or(u32::MAX)).await;
        let _puts = conn.budget.acquire_many(u32::try_from(BUDGET).unwrap_or(u32::MAX)).await;
    };
    tokio::select! {
        () = outbox.ended().cancelled() => {}
        () = conn.relay.stop.cancelled() => {}
        () = answered => {}
    }
}

async fn handle(
    conn: &Arc<Conn>,
    outbox: &Arc<Outbox>,
    waiting: &Arc<Semaphore>,
    message: Message,
) -> Result<(), Refused> {
    match message {
        Message::ChunkPut(request) => put(conn, outbox, request).await,
        Message::ChunkGet(request) => get(conn, outbox, waiting, request),
        Message::ChunkHave(request) => have(conn, outbox, request),
        other => {
            let text = format!("message {:#04x} does not belong on a chunk stream", other.kind());
            Err((None, Refusal::invalid(text)))
        }
    }
}

/// Chunks are for members with a session on the same connection.
fn check_access(conn: &Conn, req: u32, group: &GroupId) -> Result<(), Refused> {
    if conn.has_access(group) {
        Ok(())
    } else {
        Err((Some(req), Refusal::new(Code::Unauthorized, "no session of this group on this connection")))
    }
}

async fn put(conn: &Arc<Conn>, outbox: &Arc<Outbox>, request: ChunkPut) -> Result<(), Refused> {
    let ChunkPut { req, group, address, data } = request;
    check_access(conn, req, &group)?;
    if data.len() > MAX_CHUNK {
        return Err((Some(req), Refusal::invalid(format!("a chunk is at most {MAX_CHUNK} bytes"))));
    }
    conn.pace(data.len()).await;
    let answer = move |outcome| Message::from(ChunkPutAck { req, outcome });
    if Hash::of(&data) != address {
        outbox.send(&answer(ChunkOutcome::Mismatch));
        return Ok(());
    }
    let cost = u32::try_from(data.len() + 512).unwrap_or(u32::MAX);
    let Ok(permit) = conn.budget.clone().acquire_many_owned(cost).await else { return Ok(()) };
    // A cache that is never synced: it is there once it is in memory, and its budget is free once it is on disk.
    match conn.relay.chunks.put(group, address, data, move || drop(permit)) {
        Put::Taken => {
            conn.relay.metrics.chunks_in.inc();
            outbox.send(&answer(ChunkOutcome::Stored));
        }
        Put::Known => outbox.send(&answer(ChunkOutcome::Stored)),
        Put::Full => outbox.send(&answer(ChunkOutcome::Full)),
    }
    Ok(())
}

fn have(conn: &Conn, outbox: &Outbox, request: ChunkHave) -> Result<(), Refused> {
    let ChunkHave { req, group, addresses } = request;
    check_access(conn, req, &group)?;
    if addresses.len() > MAX_HAVE {
        return Err((Some(req), Refusal::invalid(format!("at most {MAX_HAVE} addresses"))));
    }
    let addresses = conn.relay.chunks.missing(&group, addresses);
    outbox.send(&ChunkMissing { req, addresses }.into());
    Ok(())
}

fn get(
    conn: &Arc<Conn>,
    outbox: &Arc<Outbox>,
    waiting: &Arc<Semaphore>,
    request: ChunkGet,
) -> Result<(), Refused> {
    check_access(conn, request.req, &request.group)?;
    let req = Some(request.req);
    if request.addresses.len() > MAX_GET {
        return Err((req, Refusal::invalid(format!("at most {MAX_GET} addresses"))));
    }
    let places = (waiting.clone().try_acquire_owned(), conn.gets.clone().try_acquire_owned());
    let (Ok(place), Ok(of_all)) = places else {
        let refusal = Refusal::new(Code::RelayOverloaded, "too many CHUNK_GET under way");
        return Err((req, refusal.retry_after(Duration::from_millis(100))));
    };
    let (conn, outbox) = (conn.clone(), outbox.clone());
    conn.tasks.clone().spawn(async move {
        tokio::select! {
            () = outbox.ended().cancelled() => {}
            () = conn.relay.stop.cancelled() => {}
            () = answer_all(&conn, &outbox, request) => {}
        }
        drop((place, of_all));
    });
    Ok(())
}

async fn answer_all(conn: &Conn, outbox: &Outbox, request: ChunkGet) {
    let ChunkGet { req, group, addresses, wait_ms } = request;
    let deadline = Instant::now() + Duration::from_millis(wait_ms.into()).min(MAX_WAIT);
    let mut left: BTreeSet<Hash> = addresses.into_iter().collect();
    let mut wanted = conn.relay.chunks.want(group, conn.device, left.iter().copied().collect());
    let mut reads = FuturesUnordered::new();
    let mut waiting = true;
    while !left.is_empty() || !reads.is_empty() {
        tokio::select! {
            Some((address, read)) = reads.next() => match read {
                Some((data, place)) => send(conn, outbox, (req, group), address, data, place).await,
                // Lost on disk: it may be put again.
                None => drop(left.insert(address)),
            },
            // What is there already is told at once, even when there is no time to wait.
            told = timeout_at(deadline, wanted.next()), if waiting && reads.len() < READS => match told {
                Ok(Some(address)) if conn.has_access(&group) && left.remove(&address) => {
                    reads.push(read(conn, group, address));
                }
                Ok(Some(_)) => {}
                _ => waiting = false,
            },
            else => break,
        }
    }
    drop(reads);
    drop(wanted);
    for address in left {
        outbox.room().await;
        outbox.send(&Chunk { req, address, data: None }.into());
    }
}

/// Reads a chunk once it has its place among what is on its way out of this connection.
async fn read(conn: &Conn, group: GroupId, address: Hash) -> (Hash, Option<(Bytes, OwnedSemaphorePermit)>) {
    let read = async {
        let place = conn.outgoing(MAX_CHUNK).await?;
        Some((conn.relay.chunks.read(group, address).await?, place))
    };
    (address, read.await)
}

async fn send(
    conn: &Conn,
    outbox: &Outbox,
    (req, group): (u32, GroupId),
    address: Hash,
    data: Bytes,
    mut place: OwnedSemaphorePermit,
) {
    let size = data.len();
    drop(place.split(MAX_CHUNK.saturating_sub(size)));
    conn.pace(size).await;
    outbox.send_large(Chunk { req, address, data: Some(data) }.into(), place);
    conn.relay.metrics.chunks_out.inc();
    conn.relay.chunks.served(&group, &address, &conn.device);
}
