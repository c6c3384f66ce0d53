//! `zerokctl relay`.

use zerok_client::api::RelaysClient;
use zerok_client::types::{LinkState, Relay as RelayInfo};

use super::{Context, input};
use crate::args::Relay;
use crate::exit::Failure;
use crate::output::Table;

pub(super) async fn run(ctx: &Context, command: Relay) -> Result<(), Failure> {
    match command {
        Relay::List { group } => {
            let list = ctx.client().await?.relay_list(group.group).await?;
            ctx.out.answer(&list, || table(&list.relays).to_string())
        }
        Relay::Add { address, group } => {
            let address = address_text(address)?;
            let relay = ctx.client().await?.relay_add(address, group.group).await?;
            ctx.out.answer(&relay, || table(std::slice::from_ref(&relay)).to_string())
        }
        Relay::Remove { relay, group } => {
            let done = ctx.client().await?.relay_remove(relay, group.group).await?;
            ctx.out.answer(&done, || "removed\n".to_owned())
        }
        Relay::Embed { bind, group } => {
            let relay = ctx.client().await?.relay_embed(bind, group.group).await?;
            ctx.out.answer(&relay, || table(std::slice::from_ref(&relay)).to_string())
        }
    }
}

/// The address as given, or from standard input. One with a token is a secret, and other users of the machine can
/// read a command line.
fn address_text(argument: String) -> Result<String, Failure> {
    if argument == "-" {
        return input::line("relay address");
    }
    if argument.contains("token=") {
        return Err(Failure::usage(
            "a relay address with a token is refused as an argument: other users could read it",
            "give it on standard input: zerokctl relay add - < FILE",
        ));
    }
    Ok(argument)
}

/// One row per relay.
pub(super) fn table(relays: &[RelayInfo]) -> Table {
    let mut table = Table::new(["STATE", "LATENCY", "ADDRESS", "NOTE"]);
    for relay in relays {
        let latency = relay.latency_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        let note = relay.error.as_deref().unwrap_or(if relay.embedded { "inside this daemon" } else { "" });
        table.row([state(relay.state), &latency, &relay.address, note]);
    }
    table
}

fn state(state: LinkState) -> &'static str {
    match state {
        LinkState::Idle => "idle",
        LinkState::Connecting => "connecting",
        LinkState::Connected => "connected",
        LinkState::Waiting => "waiting",
        LinkState::Refused => "refused",
        LinkState::Unknown => "unknown",
    }
}
