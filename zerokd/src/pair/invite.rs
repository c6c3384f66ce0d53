//! The inviting side: an invite is kept by a task until it is used, withdrawn or too old.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::Connection;
use tokio::time::{Instant, sleep, timeout_at};
use zerok_core::{Grant, Invite, JoinRequest, Secret, open_request, seal_grant};
use zerok_protocol::{MailboxId, Side};

use super::PairError;
use super::mailbox::Mailbox;
use crate::context::Context;
use crate::group::Group;
use crate::link::LinkState;
use crate::store::StoreError;
use crate::store::invites::{self, StoredInvite};
use crate::store::relays::{self, RelayRow};
use crate::{clock, names};

/// How long `pair.create` waits for a relay to be connected.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// Pause after a failure that is not final.
const AGAIN: Duration = Duration::from_millis(500);

/// A new invite.
pub(crate) struct Created {
    /// Its text.
    pub text: String,
    /// Its row.
    pub row: i64,
    /// When it dies, Unix ms.
    pub expires: u64,
}

/// Makes an invite, opens its mailbox and leaves a task with it.
pub(crate) async fn create(
    context: &Context,
    group: &Arc<Group>,
    ttl: Duration,
) -> Result<Created, PairError> {
    let (relay, connection) = connected(context, group, None, Instant::now() + CONNECTED_WITHIN).await?;
    let address = context.store.read(relays::all).await?;
    let address = address.into_iter().find(|r| r.row == relay).ok_or(PairError::NoRelay)?.address;
    let expires = clock::now_ms() + u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let invite = Invite {
        secret: Secret::from(clock::random::<32>()),
        mailbox: MailboxId(clock::random()),
        // Without the operator's token: only making a group needs one.
        relay: address.to_string(),
        expires_at: expires,
    };
    let mut mailbox = Mailbox::new(&connection, invite.mailbox, Side::Opener).await?;
    mailbox.open(seconds_left(expires)).await?;
    let (grp, text) = (group.row, invite.to_text());
    let stored = text.clone();
    let row = context
        .store
        .write(move |c| invites::put(c, grp, relay, &stored, expires))
        .await
        .map_err(|e: StoreError| e)?;
    let kept = StoredInvite { row, grp, relay, invite: text.clone(), expires, joiner: None };
    context.tracker.spawn(keep(context.clone(), group.clone(), kept));
    Ok(Created { text, row, expires })
}

/// Goes on with the invites that were open when the daemon stopped.
pub(crate) async fn resume(context: &Context) -> Result<(), StoreError> {
    for invite in context.store.read(invites::live).await? {
        if let Some(group) = context.groups.by_row(invite.grp) {
            context.tracker.spawn(keep(context.clone(), group, invite));
        }
    }
    Ok(())
}

/// Withdraws an open invite.
pub(crate) async fn cancel(context: &Context, row: i64) -> Result<(), PairError> {
    let open = context
        .store
        .write(move |connection| {
            let open = invites::live(connection)?.into_iter().find(|i| i.row == row && i.joiner.is_none());
            if open.is_some() {
                invites::end(connection, row, "cancelled")?;
            }
            Ok::<_, StoreError>(open)
        })
        .await?;
    let Some(open) = open else { return Err(PairError::NoInvite) };
    let invite = Invite::parse(&open.invite)?;
    if let Some(group) = context.groups.by_row(open.grp)
        && let Ok((_, connection)) = connected(context, &group, Some(open.relay), Instant::now()).await
    {
        let mut mailbox = Mailbox::new(&connection, invite.mailbox, Side::Opener).await?;
        mailbox.close().await?;
    }
    Ok(())
}

/// Waits until some relay is connected, so that no group is made for an invite that cannot be.
pub(crate) async fn reachable(context: &Context) -> Result<(), PairError> {
    context.links.nudge();
    until(context, Instant::now() + CONNECTED_WITHIN, || {
        let views = context.links.views();
        // A link that began only after the first nudge has not heard it.
        if views.iter().any(|view| view.state == LinkState::Idle) {
            context.links.nudge();
        }
        views.iter().any(|view| view.connection.is_some()).then_some(())
    })
    .await
}

/// A connection with an open session of the group, to one relay or any.
async fn connected(
    context: &Context,
    group: &Group,
    relay: Option<RelayRow>,
    deadline: Instant,
) -> Result<(RelayRow, Connection), PairError> {
    until(context, deadline, || {
        let open = context.links.connections(&group.id);
        open.into_iter().find(|(row, _)| relay.is_none_or(|wanted| wanted == *row))
    })
    .await
}

/// Looks again whenever a link changes.
async fn until<T>(
    context: &Context,
    deadline: Instant,
    look: impl Fn() -> Option<T>,
) -> Result<T, PairError> {
    let mut changed = context.links.changed();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if context.store.read_blocking(relays::all)?.is_empty() {
            return Err(PairError::NoRelay);
        }
        if timeout_at(deadline, changed.changed()).await.is_err() {
            let views = context.links.views();
            let why = views
                .iter()
                .find_map(|view| view.error.clone())
                .unwrap_or_else(|| "not connected yet".into());
            if views.iter().any(|view| view.connection.is_some() && view.error.is_some()) {
                return Err(PairError::Refused(why));
            }
            return Err(PairError::Unreachable(format!("no relay is connected: {why}")));
        }
    }
}

fn seconds_left(expires: u64) -> u32 {
    let left = expires.saturating_sub(clock::now_ms()).div_ceil(1000);
    u32::try_from(left).unwrap_or(u32::MAX).max(1)
}

/// Serves one invite until it ends.
async fn keep(context: Context, group: Arc<Group>, mut stored: StoredInvite) {
    let Ok(invite) = Invite::parse(&stored.invite) else {
        tracing::error!("a stored invite is damaged");
        return;
    };
    loop {
        if stored.joiner.is_none() && clock::now_ms() >= stored.expires {
            end(&context, &group, &stored, "expired").await;
            return;
        }
        let attempt = tokio::select! {
            attempt = serve(&context, &group, &invite, &mut stored) => attempt,
            () = context.cancel.cancelled() => return,
        };
        match attempt {
            Ok(()) => return,
            Err(PairError::Used) if stored.joiner.is_none() => {
                // The relay's mailbox is gone: too old, or the relay was restarted and forgot it. Open it again.
            }
            Err(error) => tracing::debug!("an invite waits: {error}"),
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            () = context.cancel.cancelled() => return,
        }
    }
}

async fn end(context: &Context, group: &Group, stored: &StoredInvite, state: &'static str) {
    let row = stored.row;
    let ended = context.store.write(move |connection| invites::end(connection, row, state)).await;
    if let Err::<(), StoreError>(error) = ended {
        tracing::error!("an invite could not be ended: {error}");
    }
    if state != "done" {
        let data = serde_json::json!({ "invite_id": row.to_string(), "reason": state });
        context.events.emit("pair.failed", Some(group.id), data);
    }
}

async fn serve(
    context: &Context,
    group: &Arc<Group>,
    invite: &Invite,
    stored: &mut StoredInvite,
) -> Result<(), PairError> {
    let until = Instant::now() + Duration::from_secs(3600);
    let (_, connection) = connected(context, group, Some(stored.relay), until).await?;
    let mut mailbox = Mailbox::new(&connection, invite.mailbox, Side::Opener).await?;
    mailbox.open(seconds_left(stored.expires)).await?;
    while stored.joiner.is_none() {
        if clock::now_ms() >= stored.expires {
            end(context, group, stored, "expired").await;
            return Ok(());
        }
        let left = Duration::from_millis(stored.expires.saturating_sub(clock::now_ms()));
        let taken = match tokio::time::timeout(left, mailbox.take()).await {
            Ok(taken) => taken?,
            Err(_) => continue,
        };
        let Some(message) = taken else { continue };
        match open_request(&invite.secret, &invite.mailbox, &message) {
            Ok(request) => {
                if !decide(context, group, stored, request).await? {
                    return Ok(()); // it was withdrawn meanwhile
                }
            }
            Err(error) => {
                tracing::warn!("a request in an invite's mailbox was not taken: {error}");
                let row = stored.row;
                if context.store.write(move |connection| invites::wrong_guess(connection, row)).await? {
                    let data = serde_json::json!({ "invite_id": row.to_string(), "reason": "too many wrong requests" });
                    context.events.emit("pair.failed", Some(group.id), data);
                    return mailbox.close().await;
                }
            }
        }
    }
    grant(context, group, invite, stored, &mut mailbox).await
}

/// Marks the invite used and stores the statement that adds the joiner, in one transaction.
async fn decide(
    context: &Context,
    group: &Arc<Group>,
    stored: &mut StoredInvite,
    request: JoinRequest,
) -> Result<bool, PairError> {
    let joiner = rmp_serde::to_vec_named(&request).expect("writing plain data to a Vec cannot fail");
    let data = serde_json::json!({ "invite_id": stored.row.to_string(), "name": request.name });
    context.events.emit("pair.contacted", Some(group.id), data);
    let (row, bytes, name) = (stored.row, joiner.clone(), request.name.clone());
    let decided = if group.standing().roster.is_member(&request.member.device) {
        context.store.write(move |connection| invites::decide(connection, row, &bytes, &name)).await?
    } else {
        let append = add(context, group, &request);
        context
            .groups
            .issue(group, append, move |connection| invites::decide(connection, row, &bytes, &name))
            .await?
    };
    if decided {
        stored.joiner = Some(joiner);
    }
    Ok(decided)
}

fn add(context: &Context, group: &Group, request: &JoinRequest) -> zerok_protocol::roster::Append {
    let standing = group.standing();
    let epoch = standing.roster.epoch();
    let (secret, _) = standing.epochs.get(&epoch).expect("a member holds the newest epoch it has taken in");
    let (member, signature) = (request.member.clone(), request.signature);
    zerok_core::add(&context.keys, &standing.roster, member, signature, secret, &group.constant)
}

/// Waits until the joiner is a member at the relay, then sends the grant.
async fn grant(
    context: &Context,
    group: &Arc<Group>,
    invite: &Invite,
    stored: &StoredInvite,
    mailbox: &mut Mailbox,
) -> Result<(), PairError> {
    let damaged = StoreError::Damaged("an invite");
    let request: JoinRequest =
        stored.joiner.as_ref().and_then(|bytes| rmp_serde::from_slice(bytes).ok()).ok_or(damaged)?;
    let mut standing = group.watch();
    loop {
        let now = standing.borrow_and_update().clone();
        if now.roster.is_member(&request.member.device) {
            break;
        }
        if now.pending.is_none() {
            // Another member's statement came first: the same change again, on top of it.
            let append = add(context, group, &request);
            context.groups.issue(group, append, |_| Ok(true)).await?;
            continue;
        }
        if standing.changed().await.is_err() {
            return Err(StoreError::Closed.into());
        }
    }
    let row = group.row;
    let (relays, own_name, group_name) = context
        .store
        .read(move |connection| {
            let relays = relays::all(connection)?.iter().map(|relay| relay.address.to_string()).collect();
            Ok::<(Vec<String>, _, _), StoreError>((
                relays,
                names::own(connection)?,
                names::read(connection, row)?.1,
            ))
        })
        .await?;
    let grant = Grant {
        group: group.id,
        head: group.standing().roster.head(),
        relays,
        group_name: group_name.unwrap_or_default(),
        inviter_name: own_name,
        inviter: context.keys.id(),
    };
    mailbox.put(seal_grant(&invite.secret, &invite.mailbox, clock::random(), &grant)).await?;
    end(context, group, stored, "done").await;
    drop(mailbox.close().await);
    let data = serde_json::json!({
        "invite_id": stored.row.to_string(),
        "device": { "id": request.member.device.to_hex(), "name": request.name },
    });
    context.events.emit("pair.granted", Some(group.id), data);
    tracing::info!("a device was let in");
    Ok(())
}
