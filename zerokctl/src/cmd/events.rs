//! `zerokctl events`.

use zerok_client::api::EventLogClient;
use zerok_client::types::{Event, EventPage};

use super::Context;
use crate::exit::Failure;
use crate::output::{ago, plain};

pub(super) async fn run(ctx: &Context, follow: bool, after: Option<String>) -> Result<(), Failure> {
    let client = ctx.client().await?;
    if !follow {
        let page = all(&client, after).await?;
        return ctx.out.answer(&page, || page.events.iter().map(line).collect());
    }
    let mut events = client.events(after);
    loop {
        let batch = events.next().await?;
        if batch.missed {
            ctx.out.say("warning: events are missing here: the daemon was restarted, or there were too many");
        }
        for event in &batch.events {
            ctx.out.answer(event, || line(event))?;
        }
    }
}

/// All that the ring holds, at most 10,000.
async fn all(client: &zerok_client::Client, after: Option<String>) -> Result<EventPage, Failure> {
    let mut page = client.events_since(after, None, None).await?;
    while page.has_more {
        let more = client.events_since(Some(page.next), None, None).await?;
        page.events.extend(more.events);
        page = EventPage {
            next: more.next,
            has_more: more.has_more,
            missed: page.missed || more.missed,
            ..page
        };
    }
    Ok(page)
}

fn line(event: &Event) -> String {
    format!("{:>12}  {}  {}\n", ago(event.at), plain(&event.kind), plain(&event.data.to_string()))
}
