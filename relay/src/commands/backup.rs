//! `zerok-relay backup`: everything that makes this relay, in one file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use zerok_relay::Config;

use super::amount::{Bytes, count};

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// File to write; it holds the relay's key, so keep it as safe as that
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<ExitCode> {
        let done = zerok_relay::backup(config, &self.file, self.force)?;
        if self.json {
            println!("{}", serde_json::to_string(&done)?);
            return Ok(ExitCode::SUCCESS);
        }
        let (groups, blobs) = (count(done.groups, "group"), count(done.blobs, "blob"));
        let (size, stored) = (Bytes(done.file_bytes), Bytes(done.blob_bytes));
        let key = if done.key { "the relay's key" } else { "no key: this relay never had one" };
        println!("{}: {size}, {groups}, {blobs} ({stored}), {key}", self.file.display());
        Ok(ExitCode::SUCCESS)
    }
}
