//! One connection that pushes as fast as it may: a bounded number under way, written in batches.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use tokio::sync::Semaphore;
use zerok_protocol::roster::Roster;
use zerok_protocol::{BlobId, Message, Push};

use crate::raw::{Chain, Session};

/// Frames written at once at most.
const BATCH: usize = 32;

/// Pushes `count` blobs with at most `in_flight` unanswered; returns the last cursor. `first` numbers them, so that no
/// two runs push the same.
pub(super) async fn push_all(
    session: &mut Session,
    chain: &Chain,
    first: u64,
    count: usize,
    size: usize,
    in_flight: usize,
) -> Result<u64> {
    let room = Arc::new(Semaphore::new(in_flight));
    let Session { send, frames, .. } = session;
    let writing = async {
        let mut left = count;
        let mut buffer = Vec::with_capacity(BATCH * (size + 128));
        let mut n = first;
        while left > 0 {
            room.acquire().await?.forget();
            let mut batch = 1;
            while batch < BATCH.min(left) && room.try_acquire().map(|permit| permit.forget()).is_ok() {
                batch += 1;
            }
            buffer.clear();
            for _ in 0..batch {
                blob(&chain.roster, n, payload(n, size)).put(&mut buffer);
                n += 1;
            }
            left -= batch;
            send.write_all(&buffer).await?;
        }
        anyhow::Ok(())
    };
    let reading = async {
        let mut last = 0;
        for _ in 0..count {
            match frames.next().await? {
                Message::PushAck(ack) => {
                    ensure!(ack.cursor > last, "cursors increase");
                    last = ack.cursor;
                    room.add_permits(1);
                }
                other => bail!("PUSH was answered {other:?}"),
            }
        }
        Ok(last)
    };
    let ((), last) = tokio::try_join!(writing, reading)?;
    Ok(last)
}

/// The PUSH of blob `n`, with an id that is spread like a random one.
pub(super) fn blob(roster: &Roster, n: u64, payload: Bytes) -> Message {
    let (a, b) = (mix(n), mix(!n));
    let mut id = [0; 16];
    id[..8].copy_from_slice(&a.to_be_bytes());
    id[8..].copy_from_slice(&b.to_be_bytes());
    Message::from(Push {
        req: u32::try_from(n & 0xffff_ffff).unwrap_or(0),
        blob_id: BlobId(id),
        epoch_id: roster.epoch(),
        recipient: None,
        ttl_seconds: None,
        payload,
    })
}

/// A payload that nothing can shrink, different for every `n`; begins with `n`.
pub(super) fn payload(n: u64, size: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(size + 8);
    bytes.extend_from_slice(&n.to_be_bytes());
    let mut state = mix(n);
    while bytes.len() < size {
        state = mix(state);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// Splitmix64.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
