//! `zerok-relay restore`: a backup in the place of what is there, which is kept aside.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use zerok_relay::Config;

use super::amount::{Bytes, count};

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A file that `zerok-relay backup` wrote, - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<ExitCode> {
        let done = if self.file.as_os_str() == "-" {
            let named = || config.data.display().to_string();
            DirBuilder::new().recursive(true).mode(0o700).create(&config.data).with_context(named)?;
            let mut spool = tempfile::NamedTempFile::new_in(&config.data).with_context(named)?;
            std::io::copy(&mut std::io::stdin().lock(), &mut spool).context("standard input")?;
            zerok_relay::restore(config, spool.path())?
        } else {
            zerok_relay::restore(config, &self.file)?
        };
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
