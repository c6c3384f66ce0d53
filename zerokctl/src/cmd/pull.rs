//! `zerokctl pull`: entries to stdout, and their cursor remembered only after they are out.

mod print;

use zerok_client::api::BlobsClient;
use zerok_client::types::{Entry, Gap};
use zerok_client::{Client, MAX_PAGE, StartAt};

use self::print::Printer;
use super::Context;
use crate::args::Pull;
use crate::exit::Failure;
use crate::output::{plain, short};

pub(super) async fn run(ctx: &Context, args: Pull) -> Result<(), Failure> {
    let client = ctx.client().await?;
    if args.follow { follow(ctx, &client, args).await } else { to_the_end(ctx, &client, args).await }
}

/// Prints what is there, page by page, so that memory stays bounded however long the channel is.
async fn to_the_end(ctx: &Context, client: &Client, args: Pull) -> Result<(), Failure> {
    let mut printer = Printer::new(ctx.out);
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut after = args.after.clone();
    let mut truncated = false;
    let (has_more, gaps) = loop {
        let consumer = if after.is_none() { args.consumer.clone() } else { None };
        let limit = u32::try_from(left).unwrap_or(u32::MAX).min(MAX_PAGE);
        let (channel, group) = (args.channel.clone(), args.group.group.clone());
        let page = client.blob_pull(channel, after, consumer, Some(limit), None, None, None, group).await?;
        printer.entries(&page.entries)?;
        left = left.saturating_sub(page.entries.len().try_into().unwrap_or(u64::MAX));
        remember(client, &args, &page.next, &page.entries).await?;
        truncated |= page.truncated;
        after = Some(page.next);
        if left == 0 || !page.has_more {
            break (page.has_more, page.gaps);
        }
    };
    warn(ctx, &gaps, truncated);
    printer.end(&after.unwrap_or_default(), has_more, &gaps, truncated)
}

/// Prints what is there and then what comes, until the limit or for good.
async fn follow(ctx: &Context, client: &Client, args: Pull) -> Result<(), Failure> {
    let start = match (&args.after, &args.consumer) {
        (Some(cursor), _) => StartAt::After(cursor.clone()),
        (None, Some(name)) => StartAt::Consumer(name.clone()),
        (None, None) => StartAt::Beginning,
    };
    let mut stream = client.entries(args.channel.clone(), start);
    if let Some(group) = &args.group.group {
        stream = stream.group(group.clone());
    }
    let mut printer = Printer::lines(ctx.out);
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let batch = stream.next().await?;
        warn(ctx, &batch.gaps, batch.truncated);
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(batch.entries.len());
        let entries = batch.entries.get(..take).unwrap_or_default();
        printer.entries(entries)?;
        left = left.saturating_sub(take.try_into().unwrap_or(u64::MAX));
        let all = take == batch.entries.len();
        let next = if all { Some(&batch.next) } else { entries.last().map(|e| &e.cursor) };
        if let Some(next) = next {
            remember(client, &args, next, entries).await?;
        }
    }
    Ok(())
}

/// Stores the consumer's cursor, after its entries were printed.
async fn remember(client: &Client, args: &Pull, next: &str, printed: &[Entry]) -> Result<(), Failure> {
    if let (Some(consumer), false) = (&args.consumer, printed.is_empty()) {
        let (channel, group) = (args.channel.clone(), args.group.group.clone());
        client.blob_ack(channel, consumer.clone(), next.to_owned(), group).await?;
    }
    Ok(())
}

fn warn(ctx: &Context, gaps: &[Gap], truncated: bool) {
    for gap in gaps {
        let (author, reason) = (short(&gap.author), plain(&gap.reason));
        ctx.out.say(&format!("warning: entries of device {author} are missing here: {reason}"));
    }
    if truncated {
        ctx.out.say("warning: retention has removed entries from this range");
    }
}
