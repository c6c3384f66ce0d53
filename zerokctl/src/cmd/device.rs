//! `zerokctl device`.

use zerok_client::api::DevicesClient;
use zerok_client::types::DeviceList;

use super::Context;
use crate::args::Device;
use crate::exit::Failure;
use crate::output::{Table, ago, plain};

pub(super) async fn run(ctx: &Context, command: Device) -> Result<(), Failure> {
    let client = ctx.client().await?;
    match command {
        Device::List { group } => {
            let list = client.device_list(group.group).await?;
            ctx.out.answer(&list, || table(&list).to_string())
        }
        Device::Rename { device, name, group } => {
            let renamed = client.device_rename(name, Some(device), group.group).await?;
            ctx.out.answer(&renamed, || format!("{}  {}\n", plain(&renamed.name), plain(&renamed.id)))
        }
    }
}

fn table(list: &DeviceList) -> Table {
    let mut table = Table::new(["NAME", "ONLINE", "LAST SEEN", "ID"]);
    for device in &list.devices {
        let (online, seen) = match (device.this, device.online) {
            (true, _) => ("this device", String::new()),
            (false, online) => (if online { "yes" } else { "no" }, seen(device.last_seen)),
        };
        table.row([&device.name, online, &seen, &device.id]);
    }
    table
}

fn seen(last: Option<u64>) -> String {
    last.map_or_else(|| "never".to_owned(), ago)
}
