//! The daemon's command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use zerokd::{Config, Paths, StopSignals, demo, logging};

/// Keeps this person's devices in step through a relay that can read nothing.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Directory for configuration, data and socket [default: ZEROKD_HOME, or the platform's places]
    #[arg(long, global = true)]
    home: Option<PathBuf>,
    /// Configuration file
    #[arg(long, env = "ZEROKD_CONFIG")]
    config: Option<PathBuf>,
    /// Data directory
    #[arg(long, env = "ZEROKD_DATA")]
    data: Option<PathBuf>,
    /// Path of the local socket [default: below --home, ZEROKD_SOCKET, or the platform's place]
    #[arg(long)]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the main job on this machine: two daemons and a relay keep a copy of DIR in step
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| match args.command {
        Some(Command::Demo(args)) => runtime.block_on(demo::run(args)),
        None => runtime.block_on(serve(args)),
    });
    result.unwrap_or_else(|error| {
        eprintln!("zerokd: {error:#}");
        ExitCode::from(error.downcast_ref::<zerokd::StartError>().map_or(1, zerokd::StartError::exit_code))
    })
}

async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    logging::start();
    let mut paths = Paths::locate(args.home.as_deref(), args.socket.as_deref())?;
    paths.config = args.config.unwrap_or(paths.config);
    paths.data = args.data.unwrap_or(paths.data);
    let config = Config::load(&paths.config)?;
    let signals = StopSignals::take()?;
    signals.serve(zerokd::start(paths, config).await?).await;
    Ok(ExitCode::SUCCESS)
}
