//! `zerokctl group`.

use zerok_client::api::GroupsClient;
use zerok_client::types::Group as GroupInfo;

use super::Context;
use crate::args::Group;
use crate::exit::Failure;
use crate::output::Table;

pub(super) async fn run(ctx: &Context, command: Group) -> Result<(), Failure> {
    let client = ctx.client().await?;
    match command {
        Group::List => {
            let list = client.group_list().await?;
            ctx.out.answer(&list, || table(&list.groups).to_string())
        }
        Group::Create { name } => {
            let group = client.group_create(name).await?;
            ctx.out.answer(&group, || table(std::slice::from_ref(&group)).to_string())
        }
    }
}

/// One row per group. Equal digests on two devices mean equal contents.
pub(super) fn table(groups: &[GroupInfo]) -> Table {
    let mut table = Table::new(["NAME", "DEVICES", "OUTBOX", "DIGEST", "ID"]);
    for group in groups {
        let (devices, outbox) = (group.devices.to_string(), group.outbox.to_string());
        table.row([&group.name, &devices, &outbox, &crate::output::short(&group.digest), &group.id]);
    }
    table
}
