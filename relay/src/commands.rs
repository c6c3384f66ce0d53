//! What an operator does beside running the relay: one file for each subcommand.

mod health;

use std::process::ExitCode;

use clap::Subcommand;
use zerok_relay::Config;

/// A subcommand. Without one the relay runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask the running relay how it is; exit code 0 if it is well (for containers and monitors)
    Health(health::Health),
}

impl Command {
    /// Does it, and says how it ended.
    pub(crate) fn run(self, config: &Config) -> anyhow::Result<ExitCode> {
        match self {
            Command::Health(health) => health.run(config),
        }
    }
}
