//! `zerokctl paths`.

use serde::Serialize;
use zerok_client::Client;

use super::Context;
use crate::exit::Failure;

#[derive(Serialize)]
struct Paths {
    socket: String,
    running: bool,
}

pub(super) async fn run(ctx: &Context) -> Result<(), Failure> {
    let socket = ctx.socket()?;
    let running = Client::connect_to(&socket).await.is_ok();
    let paths = Paths { socket: socket.to_string_lossy().into_owned(), running };
    ctx.out.answer(&paths, || {
        let state = if running { "the daemon answers" } else { "no daemon answers" };
        format!("socket  {}  ({state})\n", crate::output::plain(&paths.socket))
    })
}
