//! `zerokctl`: the command line of 0k-Sync. It does nothing that another program could not do through the daemon's
//! socket: it knows `zerok-client` only.

mod args;
mod cmd;
mod exit;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::exit::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let (home, json) = (args.home.clone(), args.json);
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(cmd::run(args)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(home.as_deref(), json),
    }
}
