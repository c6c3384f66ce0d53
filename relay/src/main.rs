//! The `zerok-relay` binary: arguments, configuration, logging, run, exit code.

mod address_file;
mod args;
mod commands;
mod logging;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    logging::init();
    let config = match args.config() {
        Ok((config, unknown)) => {
            for name in unknown {
                tracing::warn!("environment variable {name} is not one of mine");
            }
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
    let ended = match args.command {
        Some(command) => command.run(&config),
        None => run(args.address_file.as_deref(), config).map(|()| ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        Err(e) => {
            eprintln!("zerok-relay: {e:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(address_file: Option<&Path>, config: zerok_relay::Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
    let own_address = config.data.join("relay.address");
    let relay = zerok_relay::start(config).await?;
    // For `zerok-relay invite`.
    address_file::write(&own_address, relay.address())
        .with_context(|| format!("cannot write {}", own_address.display()))?;
    if let Some(path) = address_file {
        address_file::write(path, relay.address())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = relay.closed() => anyhow::bail!("the relay ended by itself; the log says why"),
    }
    tokio::select! {
        () = relay.stop() => Ok(()),
        _ = terminate.recv() => anyhow::bail!("stopped at once"),
        _ = interrupt.recv() => anyhow::bail!("stopped at once"),
    }
}
