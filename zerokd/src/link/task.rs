//! One task per relay: connect, one session per group, wait, again. The state machine's answer is what is done next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use iroh::endpoint::{Connection, VarInt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zerok_core::{Action, Backoff, Event, Link};
use zerok_protocol::{GroupId, Message};

use super::deliveries::Deliveries;
use super::end::{SessionEnd, closed_for_rate};
use super::session;
use super::{LinkState, LinkView};
use crate::context::Context;
use crate::store::relays::{self, RelayRow, StoredRelay};
use crate::{clock, endpoint, wire};

/// Keeps one link task for each relay in the database.
pub(crate) async fn supervise(context: Context) {
    let mut relays_changed = context.store.relays();
    let mut running = Running::new();
    loop {
        match context.store.read(relays::all).await {
            Ok(stored) => keep(&context, &mut running, stored),
            Err(error) => tracing::error!("the relays could not be read: {error}"),
        }
        tokio::select! {
            changed = relays_changed.changed() => if changed.is_err() { return },
            () = context.cancel.cancelled() => return,
        }
    }
}

type Running = BTreeMap<RelayRow, (StoredRelay, CancellationToken)>;

/// Ends the links of relays that are gone or have moved, and starts those that are new.
fn keep(context: &Context, running: &mut Running, stored: Vec<StoredRelay>) {
    running.retain(|row, (relay, stop)| {
        let keep = stored.iter().any(|s| s == relay);
        if !keep {
            stop.cancel();
            context.links.forget(*row);
        }
        keep
    });
    for relay in stored {
        running.entry(relay.row).or_insert_with(|| {
            let stop = context.cancel.child_token();
            context.tracker.spawn(run(context.clone(), relay.clone(), stop.clone()));
            (relay, stop)
        });
    }
}

async fn run(context: Context, relay: StoredRelay, stop: CancellationToken) {
    let row = relay.row;
    context.links.insert(LinkView {
        relay: relay.clone(),
        state: LinkState::Connecting,
        error: None,
        connection: None,
        sessions: BTreeMap::new(),
    });
    let mut nudge = context.links.nudge.subscribe();
    let mut machine = Link::new();
    let mut connection: Option<Connection> = None;
    let mut event = Event::Start;
    loop {
        if stop.is_cancelled() {
            event = Event::Stop;
        }
        event = match machine.on(event, u64::from_be_bytes(clock::random())) {
            Action::Connect => {
                wanted(&context, row, &mut nudge, &stop).await;
                context.links.update(row, |view| view.state = LinkState::Connecting);
                tokio::select! {
                    made = endpoint::connect(&context.endpoint, &relay.address) => match made {
                        Ok(made) => {
                            connection = Some(made);
                            Event::Connected
                        }
                        Err(error) => {
                            lost(&context, &relay, &error.to_string());
                            Event::Lost
                        }
                    },
                    () = stop.cancelled() => Event::Stop,
                }
            }
            Action::Admit => {
                let made = connection.clone();
                context.links.update(row, |view| {
                    view.state = LinkState::Connected;
                    view.error = None;
                    view.connection = made;
                });
                told(&context, &relay, "connected", None);
                tracing::info!("a relay is connected");
                Event::Admitted
            }
            Action::Serve => {
                let Some(connection) = connection.take() else { unreachable!("Serve follows Connected") };
                let end = serve(&context, &relay, &connection, &stop).await;
                connection.close(VarInt::from_u32(0), b"");
                context.links.update(row, |view| view.connection = None);
                end
            }
            Action::Wait(time) => {
                context.links.update(row, |view| view.state = LinkState::Waiting);
                tokio::select! {
                    () = tokio::time::sleep(time) => Event::Due,
                    _ = nudge.changed() => Event::Nudge,
                    () = stop.cancelled() => Event::Stop,
                }
            }
            Action::Close => {
                if stop.is_cancelled() {
                    return; // its view is gone, or is another task's by now
                }
                context.links.update(row, |view| view.state = LinkState::Stopped);
                // Refused for good: only a new address or a restart starts it again.
                stop.cancelled().await;
                return;
            }
            Action::Stay => return,
        };
    }
}

/// Without a group there is nothing to connect for: waits for one, or until somebody asks for the relay.
async fn wanted(
    context: &Context,
    row: RelayRow,
    nudge: &mut watch::Receiver<u64>,
    stop: &CancellationToken,
) {
    let mut groups = context.groups.changed();
    if !context.groups.all().is_empty() || nudge.has_changed().unwrap_or(false) {
        nudge.borrow_and_update();
        return;
    }
    context.links.update(row, |view| {
        view.state = LinkState::Idle;
        view.error = None;
    });
    tokio::select! {
        _ = groups.changed() => {}
        _ = nudge.changed() => {}
        () = stop.cancelled() => {}
    }
}

fn told(context: &Context, relay: &StoredRelay, state: &str, error: Option<&str>) {
    let data = serde_json::json!({ "id": relay.address.id.to_hex(), "state": state, "error": error });
    context.events.emit("relay.state", None, data);
}

fn lost(context: &Context, relay: &StoredRelay, error: &str) {
    let text = error.to_owned();
    let mut was_connected = false;
    context.links.update(relay.row, |view| {
        was_connected = view.state == LinkState::Connected;
        view.error = Some(text);
    });
    if was_connected {
        told(context, relay, "waiting", Some(error));
        tracing::info!("a relay was lost: {error}");
    }
}

/// Serves the sessions of all groups until the connection ends.
async fn serve(
    context: &Context,
    relay: &StoredRelay,
    connection: &Connection,
    stop: &CancellationToken,
) -> Event {
    let deliveries = Deliveries::default();
    let local = stop.child_token();
    let _cancel = local.clone().drop_guard();
    context.tracker.spawn(route(connection.clone(), deliveries.clone(), context.clone(), local.clone()));
    let mut groups_changed = context.groups.changed();
    let mut sessions: JoinSet<(GroupId, SessionEnd)> = JoinSet::new();
    let mut open: BTreeSet<GroupId> = BTreeSet::new();
    let mut refused = Backoff::default();
    let mut pauses: BTreeMap<GroupId, Duration> = BTreeMap::new();
    loop {
        for group in context.groups.all() {
            if open.insert(group.id) {
                let (context, relay, connection) = (context.clone(), relay.clone(), connection.clone());
                let deliveries = deliveries.clone();
                let pause = pauses.remove(&group.id).unwrap_or_default();
                sessions.spawn(async move {
                    let id = group.id;
                    tokio::time::sleep(pause).await;
                    (id, session::run(&context, &relay, &connection, &deliveries, group).await)
                });
            }
        }
        tokio::select! {
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                let Ok((id, end)) = ended else { return Event::Lost };
                tracing::debug!("a session ended: {end}");
                if let Some(retry_after) = connection.close_reason().as_ref().and_then(closed_for_rate) {
                    return Event::Busy { retry_after };
                }
                match end {
                    SessionEnd::Paced(wait) => {
                        pauses.insert(id, wait);
                        open.remove(&id);
                    }
                    SessionEnd::Lost(error) => {
                        lost(context, relay, &error);
                        return Event::Lost;
                    }
                    SessionEnd::Busy { retry_after_ms, text } => {
                        lost(context, relay, &text);
                        return Event::Busy { retry_after: Duration::from_millis(retry_after_ms) };
                    }
                    // This group is not served here, or not yet (an embedded relay learns of a new group as this link
                    // does): it is asked again now and then. The others go on.
                    SessionEnd::Refused(text) => {
                        pauses.insert(id, refused.next(u64::from_be_bytes(clock::random())));
                        open.remove(&id);
                        let hint = "zerokctl relay list shows the relay; ask its operator, or add another relay";
                        context.problems.set("relay_refused", &id.to_hex(), format!("a relay refuses this group: {text}"), hint);
                        context.links.update(relay.row, |view| view.error = Some(text));
                    }
                }
            }
            _ = groups_changed.changed() => {}
            reason = connection.closed() => {
                if let Some(retry_after) = closed_for_rate(&reason) {
                    return Event::Busy { retry_after };
                }
                lost(context, relay, &format!("the connection ended: {reason}"));
                return Event::Lost;
            }
            () = stop.cancelled() => return Event::Stop,
        }
    }
}

/// Hands each delivery stream to the session whose subscription it serves.
async fn route(connection: Connection, deliveries: Deliveries, context: Context, stop: CancellationToken) {
    loop {
        let mut stream = tokio::select! {
            accepted = connection.accept_uni() => match accepted {
                Ok(stream) => stream,
                Err(_) => return,
            },
            () = stop.cancelled() => return,
        };
        let (deliveries, tracker) = (deliveries.clone(), context.tracker.clone());
        context.tracker.spawn(async move {
            let first = tokio::time::timeout(Duration::from_secs(10), wire::read(&mut stream)).await;
            if let Ok(Ok(Message::Delivery(delivery))) = first {
                deliveries.hand_over(delivery.group, wire::drain(stream, &tracker));
            }
        });
    }
}
