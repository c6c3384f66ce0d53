//! The commands, one file per noun.

mod device;
mod events;
mod folder;
mod group;
mod init;
mod input;
mod pair;
mod paths;
mod pull;
mod push;
mod relay;
mod status;

use std::path::PathBuf;

use zerok_client::{Client, socket};

use crate::args::{Args, Command};
use crate::exit::Failure;
use crate::output::Output;

/// What every command needs.
pub(crate) struct Context {
    /// Where the answer goes.
    pub(crate) out: Output,
    home: Option<PathBuf>,
}

impl Context {
    /// The socket of the daemon that is meant.
    pub(crate) fn socket(&self) -> Result<PathBuf, Failure> {
        Ok(socket::locate(self.home.as_deref()).map_err(zerok_client::Error::from)?)
    }

    /// A connection to that daemon.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect_to(self.socket()?).await?)
    }
}

/// Does what the command line asks for.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let ctx = Context { out: Output { json: args.json }, home: args.home };
    match args.command {
        Command::Init { name } => init::run(&ctx, name).await,
        Command::Status { watch } => status::run(&ctx, watch).await,
        Command::Pair(pair) => pair::run(&ctx, pair).await,
        Command::Push(push) => push::run(&ctx, push).await,
        Command::Pull(pull) => pull::run(&ctx, pull).await,
        Command::Device(device) => device::run(&ctx, device).await,
        Command::Group(group) => group::run(&ctx, group).await,
        Command::Relay(relay) => relay::run(&ctx, relay).await,
        Command::Folder(folder) => folder::run(&ctx, folder).await,
        Command::Events { follow, after } => events::run(&ctx, follow, after).await,
        Command::Paths => paths::run(&ctx).await,
    }
}
