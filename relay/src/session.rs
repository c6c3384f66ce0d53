//! A session: one device, one group, requests answered in any order.

mod admit;
mod push;
mod slow;
mod subscribe;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;
use zerok_protocol::{GroupId, Hello, MAX_SIGNAL, Message};

use self::slow::SlowLane;
use self::subscribe::Subscription;
use crate::connection::{BUDGET, Conn};
use crate::frames::{Frames, FramesError, decode};
use crate::hub::Group;
use crate::metrics::Counted;
use crate::outbox::Outbox;
use crate::refuse::{self, Refusal};
use crate::relay::Relay;

/// An admitted session.
pub(crate) struct Session {
    pub(crate) conn: Arc<Conn>,
    pub(crate) id: GroupId,
    pub(crate) group: Arc<Group>,
    pub(crate) outbox: Arc<Outbox>,
    /// Fires when the session has ended; its deliveries stop with it.
    pub(crate) over: CancellationToken,
}

/// Serves a stream that began with HELLO.
pub(crate) async fn serve(conn: Arc<Conn>, hello: Hello, mut frames: Frames, outbox: Arc<Outbox>) {
    if let Some(registration) = admit::until_admitted(&conn, hello, &mut frames, &outbox).await {
        let _counted = Counted::new(&conn.relay.metrics.sessions);
        conn.relay.metrics.sessions_total.inc();
        tracing::debug!(group = %registration.id, "session admitted");
        let session = Arc::new(Session {
            conn: conn.clone(),
            id: registration.id,
            group: registration.place.group().clone(),
            outbox: outbox.clone(),
            over: CancellationToken::new(),
        });
        let _over = session.over.clone().drop_guard();
        run(&session, &mut frames).await;
        tracing::debug!("session over");
        // Before the deliveries end: who sees them end has lost its access, too.
        drop(registration);
    }
}

/// One of the sessions that the relay takes at a time.
struct Place(Arc<Relay>);

impl Place {
    fn take(relay: &Arc<Relay>) -> Option<Self> {
        let place = Self(relay.clone());
        let before = relay.sessions.fetch_add(1, Ordering::AcqRel);
        (before < relay.settings().max_sessions).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn run(session: &Arc<Session>, frames: &mut Frames) {
    let slow = SlowLane::start(session);
    let mut subscriptions = HashMap::new();
    let stop = &session.conn.relay.stop;
    loop {
        let frame = tokio::select! {
            // First of all: who was shut out is served nothing more.
            biased;
            () = session.outbox.ended().cancelled() => return,
            () = stop.cancelled() => return goodbye(session).await,
            frame = frames.next_answerable(&session.outbox) => frame,
        };
        match frame {
            Ok(Some(frame)) => match decode(&frame) {
                Ok(Message::Bye(_)) => return,
                Ok(message) => {
                    // A push may wait for its pace; a session that was ended meanwhile does not wait with it.
                    let handled = tokio::select! {
                        () = session.outbox.ended().cancelled() => return,
                        handled = handle(session, &slow, &mut subscriptions, message) => handled,
                    };
                    if let Err((req, refusal)) = handled {
                        session.outbox.send(&refusal.answer(req));
                    }
                }
                Err(refusal) => session.outbox.send(&refusal.answer(None)),
            },
            Ok(None) | Err(FramesError::Lost(_)) => return,
            Err(e) => return session.outbox.end_with(&Refusal::invalid(e.to_string()).answer(None)),
        }
    }
}

/// The relay stops: what is under way is answered, then the device is told.
async fn goodbye(session: &Session) {
    // All of the budget is there again when the last push of the connection was answered.
    let all = u32::try_from(BUDGET).unwrap_or(u32::MAX);
    let _answered = session.conn.budget.acquire_many(all).await;
    session.outbox.end_with(&refuse::shutting_down());
}

type Refused = (Option<u32>, Refusal);

async fn handle(
    session: &Arc<Session>,
    slow: &SlowLane,
    subscriptions: &mut HashMap<u32, Subscription>,
    message: Message,
) -> Result<(), Refused> {
    match message {
        Message::Push(push) => push::push(session, push).await,
        Message::Ack(ack) => {
            // Nobody has more than was assigned, whatever it says.
            let cursor = ack.cursor.min(session.group.newest());
            session.conn.relay.storage.acknowledge(session.id, session.conn.device, cursor);
            Ok(())
        }
        Message::Credit(credit) => match subscriptions.get(&credit.req) {
            Some(subscription) => {
                subscription.add_credit(credit.bytes);
                Ok(())
            }
            // The subscription may have ended while this was on its way.
            None => Ok(()),
        },
        Message::Signal(signal) => {
            session.conn.signal().map_err(|refusal| (None, refusal))?;
            if signal.payload.len() > MAX_SIGNAL {
                return Err((None, Refusal::invalid(format!("a signal is at most {MAX_SIGNAL} bytes"))));
            }
            session.conn.relay.metrics.signals.inc();
            session.group.signal(session.conn.device, &signal);
            Ok(())
        }
        Message::Subscribe(subscribe) => {
            let req = Some(subscribe.req);
            let started = session.conn.message();
            let started = started.and_then(|()| subscribe::start(session, subscriptions, &subscribe));
            started.map_err(|refusal| (req, refusal))
        }
        Message::Pull(request) => slow.take(session, Some(request.req), request.into()),
        Message::RosterGet(request) => slow.take(session, Some(request.req), request.into()),
        Message::RosterAppend(request) => slow.take_statements(session, request).await,
        Message::Hello(_) => Err((None, Refusal::invalid("HELLO a second time"))),
        other => {
            let text = format!("message {:#04x} does not belong on a session", other.kind());
            Err((None, Refusal::invalid(text)))
        }
    }
}
