//! `zerok-relay restore`: a backup in the place of what is there, which is kept aside.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use zerok_relay::Config;

use super::amount::{Bytes, count};

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A file that `zerok-relay backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<ExitCode> {
        let done = zerok_relay::restore(config, &self.file)?;
        if self.json {
            println!("{}", serde_json::to_string(&done)?);
            return Ok(ExitCode::SUCCESS);
        }
        let (groups, blobs) = (count(done.groups, "group"), count(done.blobs, "blob"));
        let key = if done.key { "the relay's key" } else { "no key, the present one stays" };
        println!("restored: {groups}, {blobs} ({}), {key}", Bytes(done.blob_bytes));
        for before in [&done.database_before, &done.key_before].into_iter().flatten() {
            println!("what was there before: {}", before.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
