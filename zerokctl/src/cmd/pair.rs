//! `zerokctl pair`.

use std::time::Duration;

use serde_json::Value;
use zerok_client::api::PairingClient;
use zerok_client::types::{Invitation, kind};
use zerok_client::{Client, Events};

use super::{Context, input};
use crate::args::Pair;
use crate::exit::Failure;
use crate::output::{Table, duration, plain, to_terminal};

/// How long after its end an invite's last event may come.
const GRACE: Duration = Duration::from_secs(10);

pub(super) async fn run(ctx: &Context, pair: Pair) -> Result<(), Failure> {
    match pair.join {
        Some(invite) => join(ctx, invite).await,
        None => create(ctx, pair).await,
    }
}

async fn join(ctx: &Context, invite: String) -> Result<(), Failure> {
    let invite = if invite == "-" { input::line("invite")? } else { invite };
    let client = ctx.client().await?;
    ctx.out.say("joining …");
    let joined = client.pair_join(invite, None).await?;
    ctx.out.answer(&joined, || {
        let mut table = Table::new(["NAME", "ID"]);
        for member in &joined.members {
            table.row([&member.name, &member.id]);
        }
        format!("joined {} ({})\n{table}", plain(&joined.group.name), plain(&joined.group.id))
    })
}

async fn create(ctx: &Context, pair: Pair) -> Result<(), Failure> {
    let client = ctx.client().await?;
    let wait = pair.wait || (!pair.no_wait && !ctx.out.json && to_terminal());
    let events = if wait { Some(from_now(&client).await?) } else { None };
    let invitation = client.pair_create(None, pair.ttl, pair.group.group).await?;
    let invite = invitation.invite.as_deref().unwrap_or_default();
    ctx.out.answer(&invitation, || format!("{}\n", plain(invite)))?;
    let left = left(&invitation);
    if !ctx.out.json {
        ctx.out.say(&format!("On the other device:\n  {}", plain(&invitation.command)));
        ctx.out
            .say(&format!("It works once, within {}. Keep it secret until then.", duration(left.as_secs())));
    }
    match events {
        Some(events) => tokio::time::timeout(left + GRACE, outcome(ctx, events, &invitation.invite_id))
            .await
            .unwrap_or_else(|_| Err(expired())),
        None => Ok(()),
    }
}

async fn from_now(client: &Client) -> Result<Events, Failure> {
    let mut events = client.events(None);
    events.begin().await?;
    Ok(events)
}

/// What is left of the invite's life.
fn left(invitation: &Invitation) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(invitation.expires_at).saturating_sub(now)
}

/// Waits for the event that ends this invite.
async fn outcome(ctx: &Context, mut events: Events, invite_id: &str) -> Result<(), Failure> {
    ctx.out.say("Waiting for it …");
    loop {
        let batch = events.next().await?;
        if batch.missed {
            return Err(Failure::failed(
                "the daemon was restarted; whether the invite was used is not known",
            ));
        }
        for event in batch.events {
            let ours = event.data.get("invite_id").and_then(Value::as_str) == Some(invite_id);
            match event.kind.as_str() {
                kind::PAIR_GRANTED if ours => return granted(ctx, &event.data),
                kind::PAIR_FAILED if ours => return Err(failed(&event.data)),
                _ => {}
            }
        }
    }
}

fn granted(ctx: &Context, data: &Value) -> Result<(), Failure> {
    let name = data.pointer("/device/name").and_then(Value::as_str).unwrap_or("a device");
    ctx.out.say(&format!("{} has joined.", plain(name)));
    if ctx.out.json { ctx.out.document(&serde_json::json!({ "granted": data })) } else { Ok(()) }
}

fn failed(data: &Value) -> Failure {
    match data.get("reason").and_then(Value::as_str) {
        Some("expired") | None => expired(),
        Some(reason) => Failure::failed(format!("the invite was not used: {reason}")),
    }
}

fn expired() -> Failure {
    Failure::timed_out("the invite expired unused", "make a new one: zerokctl pair --create")
}
