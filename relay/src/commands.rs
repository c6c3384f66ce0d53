//! What an operator does beside running the relay: one file for each subcommand.

mod amount;
mod backup;
mod check;
mod health;
mod invite;
mod restore;

use std::process::ExitCode;

use clap::Subcommand;
use zerok_relay::Config;

/// A subcommand. Without one the relay runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask the running relay how it is; exit code 0 if it is well (for containers and monitors)
    Health(health::Health),
    /// Let somebody make groups here: prints the relay's address with a token
    Invite(invite::InviteCommand),
    /// Write everything that makes this relay (database and key) to one file, while it runs
    Backup(backup::Backup),
    /// Put a backup in the place of the database and the key; the relay must be stopped
    Restore(restore::Restore),
    /// Look for damage in what is stored; exit code 1 if there is any, 2 if that cannot be told
    Check(check::Check),
}

impl Command {
    /// Does it, and says how it ended.
    pub(crate) fn run(self, config: &Config) -> anyhow::Result<ExitCode> {
        match self {
            Command::Health(health) => health.run(config),
            Command::Invite(invite) => invite.run(config),
            Command::Backup(backup) => backup.run(config),
            Command::Restore(restore) => restore.run(config),
            Command::Check(check) => check.run(config),
        }
    }
}
