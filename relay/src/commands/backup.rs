//! `zerok-relay backup`: everything that makes this relay, in one file or on standard output.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use zerok_relay::Config;

use super::amount::{Bytes, count};

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// File to write, - for standard output; it holds the relay's key, so keep it as safe as that
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
        let piped = self.file.as_os_str() == "-";
        let done = if piped { pipe(config)? } else { zerok_relay::backup(config, &self.file, self.force)? };
        if self.json {
            tell(piped, &serde_json::to_string(&done)?);
            return Ok(ExitCode::SUCCESS);
        }
        let (groups, blobs) = (count(done.groups, "group"), count(done.blobs, "blob"));
        let (size, stored) = (Bytes(done.file_bytes), Bytes(done.blob_bytes));
        let key = if done.key { "the relay's key" } else { "no key: this relay never had one" };
        tell(piped, &format!("{}: {size}, {groups}, {blobs} ({stored}), {key}", self.file.display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// Standard output is the backup's, if that goes there.
fn tell(piped: bool, text: &str) {
    if piped {
        eprintln!("{text}");
    } else {
        println!("{text}");
    }
}

/// The backup is made whole before its first byte goes out, so that a slow reader holds nothing up.
fn pipe(config: &Config) -> anyhow::Result<zerok_relay::Backup> {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        bail!("a backup is no text: send it to a file or a pipe");
    }
    let dir = tempfile::tempdir_in(&config.data).with_context(|| config.data.display().to_string())?;
    let file = dir.path().join("backup");
    let done = zerok_relay::backup(config, &file, false)?;
    std::io::copy(&mut File::open(&file)?, &mut out).context("standard output")?;
    out.flush().context("standard output")?;
    Ok(done)
}
