//! `zerokctl push`.

use std::io::{IsTerminal, Read};

use zerok_client::types::Wait;
use zerok_client::{ApiError, ErrorKind, MAX_BLOB, Push as Blob};

use super::Context;
use crate::args::{Push, Tier};
use crate::exit::Failure;
use crate::output::plain;

pub(super) async fn run(ctx: &Context, args: Push) -> Result<(), Failure> {
    let mut blob = Blob::new(args.channel, data(args.data)?);
    blob.key = args.key;
    blob.group = args.group.group;
    blob.timeout_ms = args.timeout.map(|s| s.saturating_mul(1000));
    blob.wait = match args.wait {
        Tier::Local => Wait::Local,
        Tier::Relay => Wait::Relay,
    };
    let pushed = ctx.client().await?.push(blob).await?;
    ctx.out.answer(&pushed, || format!("{}\n", plain(&pushed.id)))
}

/// The blob: the argument itself, a file, or standard input.
fn data(argument: Option<String>) -> Result<Vec<u8>, Failure> {
    match argument.as_deref() {
        None if std::io::stdin().is_terminal() => {
            Err(Failure::usage("nothing to push", "zerokctl push DATA, or @FILE, or - to type it"))
        }
        None | Some("-") => bounded(std::io::stdin().lock(), "standard input"),
        Some(text) => match text.strip_prefix('@') {
            Some(path) => {
                let named = |e| Failure::failed(format!("reading {}: {e}", plain(path)));
                bounded(std::fs::File::open(path).map_err(named)?, path)
            }
            None => Ok(text.as_bytes().to_vec()),
        },
    }
}

fn bounded(source: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    let limit = u64::try_from(MAX_BLOB).unwrap_or(u64::MAX).saturating_add(1);
    let read = source.take(limit).read_to_end(&mut data);
    read.map_err(|e| Failure::failed(format!("reading {name}: {e}")))?;
    if data.len() > MAX_BLOB {
        let error =
            ApiError::new(ErrorKind::TooLarge, format!("data: {name} has more than {MAX_BLOB} bytes"));
        return Err(error.into());
    }
    Ok(data)
}
