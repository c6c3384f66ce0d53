//! `zerokctl init`: this device's name.

use zerok_client::api::{DaemonClient, DevicesClient};

use super::Context;
use crate::exit::Failure;
use crate::output::plain;

pub(super) async fn run(ctx: &Context, name: Option<String>) -> Result<(), Failure> {
    let client = ctx.client().await?;
    let device = match name {
        Some(name) => client.device_rename(name, None, None).await?,
        None => client.daemon_status().await?.device,
    };
    ctx.out.answer(&device, || format!("{}  {}\n", plain(&device.name), plain(&device.id)))
}
