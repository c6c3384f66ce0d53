//! From HELLO to WELCOME: judged, refused with a reason, or asked for the roster and judged again.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use zerok_protocol::{Code, GroupId, Hello, Message, RosterAppend, RosterOk, VERSION, Welcome};

use super::Place;
use crate::admission::{self, Staging, Stranger};
use crate::connection::{Access, Conn};
use crate::frames::{Frames, decode};
use crate::hub::{Ended, Registration};
use crate::outbox::Outbox;
use crate::refuse::{self, Refusal};

/// An admitted session's places.
pub(super) struct Admission {
    pub(super) id: GroupId,
    pub(super) place: Registration,
    _access: Access,
    _counted: Place,
}

/// Judges HELLO after HELLO, with the statements between, until one is admitted or time is over.
pub(super) async fn until_admitted(
    conn: &Arc<Conn>,
    first: Hello,
    frames: &mut Frames,
    outbox: &Arc<Outbox>,
) -> Option<Admission> {
    let deadline = Instant::now() + conn.relay.settings().hello_timeout;
    let group = first.group;
    let token = first.token.clone();
    let mut staging = Staging::default();
    let mut brought = false;
    let mut message = Message::from(first);
    loop {
        let refusal = match message {
            Message::Hello(hello) if hello.group == group => {
                match hello_again(conn, &hello, brought, outbox).await {
                    Ok(admission) => return Some(admission),
                    // The roster may change that; all else it cannot.
                    Err(refusal) if refusal.code == Code::UnknownGroup => Some((None, refusal)),
                    Err(refusal) => {
                        tracing::debug!(code = %refusal.code, "session refused");
                        outbox.end_with(&refusal.answer(None));
                        return None;
                    }
                }
            }
            Message::RosterAppend(append) => {
                let req = append.req;
                // Who has the genesis was a member once: no stranger learns more than before.
                let genesis = append.statements.first().map(|a| a.statement.hash());
                brought |= genesis.is_some_and(|hash| hash.as_bytes() == group.as_bytes());
                let taken = if brought {
                    take_statements(conn, group, &token, &mut staging, append, outbox).await
                } else {
                    // The same whether the group is here or not: who knows only its id learns nothing.
                    conn.message().and(Err(Refusal::invalid("a roster is brought from its genesis on")))
                };
                taken.err().map(|refusal| (Some(req), refusal))
            }
            _ => Some((None, Refusal::invalid("expected ROSTER_APPEND, or HELLO for the same group"))),
        };
        if let Some((req, refusal)) = refusal {
            outbox.send(&refusal.answer(req));
        }
        message = next(conn, frames, outbox, deadline).await?;
    }
}

async fn next(conn: &Conn, frames: &mut Frames, outbox: &Outbox, deadline: Instant) -> Option<Message> {
    loop {
        let frame = tokio::select! {
            () = conn.relay.stop.cancelled() => {
                outbox.end_with(&refuse::shutting_down());
                return None;
            }
            () = outbox.ended().cancelled() => return None,
            frame = timeout_at(deadline, frames.next_answerable(outbox)) => frame,
        };
        let refusal = match frame {
            Ok(Ok(Some(frame))) => match decode(&frame) {
                Ok(message) => return Some(message),
                Err(refusal) => {
                    outbox.send(&refusal.answer(None));
                    continue;
                }
            },
            Ok(Ok(None)) => return None,
            Ok(Err(e)) => Refusal::invalid(e.to_string()),
            Err(_) => Refusal::invalid("not admitted in time"),
        };
        outbox.end_with(&refusal.answer(None));
        return None;
    }
}

async fn take_statements(
    conn: &Arc<Conn>,
    group: GroupId,
    token: &Option<String>,
    staging: &mut Staging,
    append: RosterAppend,
    outbox: &Arc<Outbox>,
) -> Result<(), Refusal> {
    conn.message()?;
    let RosterAppend { req, statements } = append;
    let (conn, outbox, token) = (conn.clone(), outbox.clone(), token.clone());
    let mut staged = std::mem::take(staging);
    // A task of its own: once begun, it is finished, whatever becomes of the stream.
    let task = conn.tasks.clone().spawn(async move {
        let answer = |head| outbox.send(&RosterOk { req, head }.into());
        let stranger = Some(Stranger { staging: &mut staged, share: conn.staged.clone(), token });
        let result = admission::append(&conn.relay, group, conn.device, stranger, statements, answer).await;
        (staged, result)
    });
    let (staged, result) =
        task.await.map_err(|_| Refusal::new(Code::Internal, "the statements were lost"))?;
    *staging = staged;
    result
}

async fn hello_again(
    conn: &Arc<Conn>,
    hello: &Hello,
    brought: bool,
    outbox: &Arc<Outbox>,
) -> Result<Admission, Refusal> {
    // It reads the database, as other requests do.
    conn.message()?;
    let relay = &conn.relay;
    let group = admission::judge(relay, conn.device, hello, brought).await?;
    // Here and not before: strangers take no places.
    let counted =
        Place::take(relay).ok_or_else(|| Refusal::new(Code::RelayOverloaded, "too many sessions"))?;
    let place = match group.register(conn.device, outbox.clone()) {
        Ok(place) => place,
        // Shut out in this very moment.
        Err(Ended) => {
            return Err(admission::shut_out(relay, hello.group, &group.known(), conn.device).await?);
        }
    };
    let access = conn.admit(hello.group, &group);
    let member = relay.storage.member(hello.group, conn.device).await?;
    group.raise(member.last_cursor);
    place.welcome(|head| {
        Welcome {
            version: VERSION,
            log_id: group.log_id,
            head,
            max_cursor: group.newest(),
            your_acked: member.acked,
            your_last_push: member.last_push,
            limits: relay.settings().told(),
        }
        .into()
    });
    Ok(Admission { id: hello.group, place, _access: access, _counted: counted })
}
