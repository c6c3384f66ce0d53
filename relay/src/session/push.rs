//! PUSH: checked, stored, answered after the commit.

use std::sync::Arc;

use zerok_protocol::{Code, Hash, Push, PushAck};

use super::{Refused, Session};
use crate::connection::BUDGET;
use crate::refuse::Refusal;
use crate::store::NewBlob;

/// Shortest time a blob is kept, in seconds.
const TTL_FLOOR: u64 = 3600;

pub(super) async fn push(session: &Arc<Session>, push: Push) -> Result<(), Refused> {
    let req = push.req;
    let conn = &session.conn;
    let limits = conn.relay.settings();
    conn.message().map_err(|refusal| (Some(req), refusal))?;
    if push.payload.len() > limits.max_blob {
        let text = format!("a blob is at most {} bytes here", limits.max_blob);
        return Err((Some(req), Refusal::new(Code::BlobTooLarge, text)));
    }
    tracing::debug!(blob = %push.blob_id, size = push.payload.len().next_power_of_two(), "push");
    let ttl = push.ttl_seconds.unwrap_or(limits.default_ttl_secs);
    conn.pace(push.payload.len()).await;
    // What is under way is bounded by bytes; beyond that the device waits.
    let cost = u32::try_from((push.payload.len() + 512).min(BUDGET)).unwrap_or(u32::MAX);
    let Ok(permit) = conn.budget.clone().acquire_many_owned(cost).await else { return Ok(()) };
    // After the waits: the roster may have moved on meanwhile.
    let known = session.group.known();
    if !known.roster.is_member(&conn.device) {
        // Its session is about to end, and says why.
        return Ok(());
    }
    if let Some(recipient) = &push.recipient
        && !known.roster.is_member(recipient)
    {
        return Err((Some(req), Refusal::invalid("the recipient is no member")));
    }
    let blob = NewBlob {
        group: session.id,
        pusher: conn.device,
        blob_id: push.blob_id,
        recipient: push.recipient,
        ttl_seconds: ttl.clamp(TTL_FLOOR.min(limits.max_ttl_secs), limits.max_ttl_secs),
        stale: push.epoch_id != known.roster.epoch(),
        hash: Hash::of(&push.payload),
        payload: push.payload,
    };
    let outbox = session.outbox.clone();
    let metrics = conn.relay.metrics.clone();
    conn.relay.storage.push(
        blob,
        Box::new(move |result| {
            match result {
                Ok(stored) => {
                    metrics.pushes.inc();
                    let (cursor, timestamp) = (stored.cursor, stored.timestamp);
                    outbox.send(&PushAck { req, blob_id: push.blob_id, cursor, timestamp }.into());
                }
                Err(e) => outbox.send(&Refusal::from(e).answer(Some(req))),
            }
            drop(permit);
        }),
    );
    Ok(())
}
