//! Being admitted to a group at a relay, and where to go on from.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use zerok_protocol::roster::Append;
use zerok_protocol::{Code, Hello, Message, RosterAppend, VERSION, Welcome};

use super::deliveries::Incoming;
use super::end::SessionEnd;
use crate::context::Context;
use crate::group::Group;
use crate::store::relays::{self, Progress, RelayRow};
use crate::store::{StoreError, groups};
use crate::wire::WireError;

/// How long an answer may take during admission.
const ANSWER: Duration = Duration::from_secs(10);
/// Statements in one ROSTER_APPEND, in bytes.
const APPEND_BYTES: usize = 768 << 10;

/// HELLO until WELCOME; a relay that does not know the group gets the whole roster first.
pub(super) async fn admit(
    context: &Context,
    group: &Group,
    out: &mpsc::Sender<Message>,
    incoming: &mut Incoming,
    last_cursor: u64,
    token: Option<String>,
) -> Result<Welcome, SessionEnd> {
    let mut appended = false;
    loop {
        let head = group.standing().roster.head();
        let hello =
            Hello { versions: vec![VERSION], group: group.id, head, last_cursor, token: token.clone() };
        out.send(hello.into()).await.map_err(|_| WireError::Lost)?;
        match answer(incoming).await? {
            Message::Welcome(welcome) => return Ok(welcome),
            Message::Error(error) if error.code == Code::UnknownGroup && !appended => {
                appended = true;
                let statements = statements_from(context, group, 0).await?;
                for part in parts(statements) {
                    let append = RosterAppend { req: 0, statements: part };
                    out.send(append.into()).await.map_err(|_| WireError::Lost)?;
                    match answer(incoming).await? {
                        Message::RosterOk(_) => {}
                        Message::Error(error) => return Err(SessionEnd::refusal(&error)),
                        _ => return Err(WireError::Unexpected.into()),
                    }
                }
            }
            Message::Error(error) => return Err(SessionEnd::refusal(&error)),
            _ => return Err(WireError::Unexpected.into()),
        }
    }
}

/// The next answer; what the relay says on its own account is passed over.
async fn answer(incoming: &mut Incoming) -> Result<Message, WireError> {
    let next = async {
        loop {
            match incoming.recv().await {
                Some(Ok(Message::Presence(_) | Message::RosterNews(_) | Message::Signal(_))) => {}
                Some(other) => return other,
                None => return Err(WireError::Lost),
            }
        }
    };
    timeout(ANSWER, next).await.unwrap_or(Err(WireError::Timeout(ANSWER)))
}

/// The roster's stored statements from a number on.
pub(super) async fn statements_from(
    context: &Context,
    group: &Group,
    from: u64,
) -> Result<Vec<Append>, StoreError> {
    let row = group.row;
    let stored = context.store.read(move |connection| groups::statements_from(connection, row, from)).await?;
    Ok(stored)
}

/// Statements in parts that fit a frame.
pub(super) fn parts(statements: Vec<Append>) -> Vec<Vec<Append>> {
    let (mut parts, mut part, mut size) = (Vec::new(), Vec::new(), 0);
    for append in statements {
        let envelopes: usize = append.envelopes.iter().map(|e| e.enc.len() + e.ciphertext.len() + 64).sum();
        let length = append.statement.bytes.len() + envelopes + 1024;
        if size + length > APPEND_BYTES && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            size = 0;
        }
        size += length;
        part.push(append);
    }
    parts.push(part);
    parts
}

/// Where to go on from. A relay that lost its log, or is another one now, starts again: its stream from 0, and own
/// bundles above what every other member is known to hold.
pub(super) async fn settle(
    context: &Context,
    relay: RelayRow,
    group: &Arc<Group>,
    known: Option<Progress>,
    welcome: &Welcome,
) -> Result<Progress, SessionEnd> {
    if let Some(progress) = known
        && progress.log_id == welcome.log_id
        && welcome.max_cursor >= progress.cursor
    {
        return Ok(progress);
    }
    let lost = known.is_some();
    let sent = if lost { lowest_known(context, group) } else { 0 };
    let progress = Progress { log_id: welcome.log_id, cursor: 0, sent };
    let row = group.row;
    context.store.write(move |connection| relays::set_progress(connection, relay, row, progress)).await?;
    if lost {
        tracing::warn!("a relay lost its log; this device refills it from bundle {}", sent + 1);
        context.events.emit("relay.refilled", Some(group.id), serde_json::json!({ "from": sent + 1 }));
    }
    Ok(progress)
}

fn lowest_known(context: &Context, group: &Group) -> u64 {
    let own = context.keys.id();
    let peers = group.peers();
    let roster = group.standing().roster;
    let others = roster.counted().filter(|device| **device != own);
    let known = others.map(|device| {
        let held = peers.get(device).and_then(|(vector, _)| vector.get(&own, &group.chain));
        held.map_or(0, |position| position.seq)
    });
    known.min().unwrap_or(0)
}
