//! The joining side.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{Connection, VarInt};
use tokio::time::{sleep, timeout};
use zerok_core::{Grant, Invite, JoinRequest, open_grant, seal_request};
use zerok_protocol::roster::Append;
use zerok_protocol::{Code, Head, Hello, Message, RelayAddr, RosterGet, Side, VERSION};

use super::PairError;
use super::mailbox::{Mailbox, pace};
use crate::clock;
use crate::context::Context;
use crate::endpoint;
use crate::group::Group;
use crate::names;
use crate::store::{StoreError, relays};
use crate::wire::{self, WireError};

/// How long the inviter may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// When to ask again: the relay may have handed the request to a connection that the inviter had lost.
const ASK_AGAIN: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// What came of it.
pub(crate) struct Joined {
    /// The group, usable from now on.
    pub group: Arc<Group>,
    /// Its name.
    pub name: String,
    /// Who let this device in.
    pub inviter: String,
}

/// Joins with an invite; returns when the group is usable here.
pub(crate) async fn join(context: &Context, text: &str) -> Result<Joined, PairError> {
    let invite = Invite::parse(text)?;
    let relay: RelayAddr = invite.relay.parse()?;
    if invite.is_expired(clock::now_ms()) {
        return Err(PairError::Expired);
    }
    let connection = endpoint::connect(&context.endpoint, &relay).await?;
    let result = exchange(context, &invite, &connection, relay).await;
    connection.close(VarInt::from_u32(0), b"");
    match result {
        Err(PairError::Used) if invite.is_expired(clock::now_ms()) => Err(PairError::Expired),
        other => other,
    }
}

async fn exchange(
    context: &Context,
    invite: &Invite,
    connection: &Connection,
    relay: RelayAddr,
) -> Result<Joined, PairError> {
    let name = context.store.read(names::own).await?;
    let request = JoinRequest { member: context.keys.member(), signature: context.keys.sign_member(), name };
    let mut mailbox = Mailbox::new(connection, invite.mailbox, Side::Joiner).await?;
    let answered = async {
        let mut asked = false;
        loop {
            match mailbox.put(seal_request(invite, clock::random(), &request)).await {
                // Closed since this device asked: the grant may be waiting in it.
                Err(PairError::Used) if asked => {}
                put => put?,
            }
            asked = true;
            if let Some(message) = mailbox.take_within(ASK_AGAIN).await? {
                return Ok::<_, PairError>(open_grant(invite, &message)?);
            }
        }
    };
    let grant = timeout(ANSWERED_WITHIN, answered).await.map_err(|_| PairError::Silent)??;
    let statements = roster(connection, &grant).await?;
    let group = settle(context, &grant, statements, relay).await?;
    let row = group.row;
    let own = context.keys.id();
    context
        .store
        .write(move |connection| names::set_device(connection, row, &own, &names::own(connection)?))
        .await
        .map_err(|e: StoreError| e)?;
    context.events.emit("group.joined", Some(group.id), serde_json::json!({ "inviter": grant.inviter_name }));
    Ok(Joined { group, name: grant.group_name, inviter: grant.inviter_name })
}

/// Fetches the roster as the member that this device now is.
async fn roster(connection: &Connection, grant: &Grant) -> Result<Vec<Append>, PairError> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|_| WireError::Lost)?;
    let hello =
        Hello { versions: vec![VERSION], group: grant.group, head: grant.head, last_cursor: 0, token: None };
    wire::write(&mut send, &hello.into()).await?;
    let mut statements: Vec<Append> = Vec::new();
    let mut head: Option<Head> = None;
    loop {
        let message =
            timeout(ANSWER, wire::read(&mut receive)).await.map_err(|_| WireError::Timeout(ANSWER))??;
        match message {
            Message::Welcome(_) => {}
            Message::RosterPage(page) => {
                if page.statements.is_empty() {
                    return Err(WireError::Unexpected.into());
                }
                head = Some(page.head);
                statements.extend(page.statements);
            }
            Message::Error(error) if error.code == Code::RateLimited => {
                sleep(pace(&error)).await;
                if error.req.is_none() {
                    // HELLO itself, whose stream has ended.
                    return Box::pin(roster(connection, grant)).await;
                }
            }
            // The grant was another device's, who came first with the same invite.
            Message::Error(error) if matches!(error.code, Code::UnknownGroup | Code::Unauthorized) => {
                return Err(PairError::Used);
            }
            Message::Error(error) => {
                return Err(PairError::Refused(format!("{}: {}", error.code, error.message)));
            }
            _ => continue, // presence and the like
        }
        let next = statements.len() as u64;
        if head.is_some_and(|head| next > head.n) {
            return Ok(statements);
        }
        wire::write(&mut send, &RosterGet { req: 2, from: next }.into()).await?;
    }
}

/// Stores the relays, then the group: once the group is there, so is the way to its relay.
async fn settle(
    context: &Context,
    grant: &Grant,
    statements: Vec<Append>,
    relay: RelayAddr,
) -> Result<Arc<Group>, PairError> {
    let mut addresses = vec![relay];
    for text in &grant.relays {
        let address: RelayAddr = text.parse()?;
        if addresses.iter().all(|known| known.id != address.id) {
            addresses.push(address);
        }
    }
    let now = clock::now_ms();
    context
        .store
        .write(move |connection| {
            for address in &addresses {
                relays::put(connection, address, now)?;
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    Ok(context.groups.join(&grant.group, statements).await?)
}
