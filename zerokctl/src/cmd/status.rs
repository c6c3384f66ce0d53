//! `zerokctl status`: one screen that says what is going on and what is wrong.

use std::time::Duration;

use zerok_client::api::DaemonClient;
use zerok_client::types::Status;

use super::{Context, folder, group, relay};
use crate::exit::Failure;
use crate::output::{duration, plain, to_terminal};

pub(super) async fn run(ctx: &Context, watch: bool) -> Result<(), Failure> {
    let client = ctx.client().await?;
    loop {
        let status = client.daemon_status().await?;
        if watch && !ctx.out.json && to_terminal() {
            ctx.out.text("\u{1b}[H\u{1b}[2J")?;
        }
        ctx.out.answer(&status, || text(&status))?;
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn text(status: &Status) -> String {
    let device = format!("{}  {}", plain(&status.device.name), plain(&status.device.id));
    let up = duration(status.uptime_seconds);
    let problems: String = match status.problems.as_slice() {
        [] => "  none\n".to_owned(),
        all => all.iter().map(|p| format!("  {}\n    hint: {}\n", plain(&p.text), plain(&p.hint))).collect(),
    };
    [
        format!("device\n  {device}  (zerokd {}, up {up})\n", plain(&status.version)),
        format!("relays\n{}", relay::table(&status.relays).indented("none: zerokctl relay add ADDR")),
        format!("groups\n{}", group::table(&status.groups).indented("none: zerokctl pair --create")),
        format!("folders\n{}", folder::table(&status.folders).indented("none")),
        format!("problems\n{problems}"),
    ]
    .concat()
}
