//! The `zerok-relay` binary: arguments, configuration, logging, run, exit code.

mod address_file;
mod args;
mod commands;
mod logging;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

fn main() -> ExitCode {
    let mut args = Args::parse();
    logging::init();
    let config = match args.config() {
        Ok((config, unknown)) => {
            args.warn_of(&unknown);
            config
        }
        Err(e) => {
            eprintln!("zerok-relay: {:#}", anyhow::Error::new(e));
            return ExitCode::from(2);
        }
    };
    if args.validate {
        return ExitCode::SUCCESS;
    }
    let ended = match args.command.take() {
        Some(command) => command.run(&config),
        None => serve::serve(&args, config).map(|()| ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        Err(e) => {
            eprintln!("zerok-relay: {e:#}");
            ExitCode::FAILURE
        }
    }
}
