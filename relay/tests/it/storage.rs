//! The database as an operator sees it: backup, restore, check, damage, full disks, old versions.

mod backup;
mod check;
mod damage;
mod full;
mod versions;

use std::path::Path;
use std::process::Output;

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{command, run};
use crate::client::config;
use zerok_relay::{Config, Running};

/// A relay's directory, outside of any relay.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn config(&self) -> Config {
        Config { data: self.data(), ..config(&self.0) }
    }

    fn data(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    async fn start(&self) -> Running {
        zerok_relay::start(self.config()).await.unwrap()
    }

    /// Runs a subcommand of the binary on it.
    fn run(&self, args: &[&str]) -> Output {
        run(command(self.0.path()).args(args))
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The database, while no relay has it.
    fn database(&self) -> Connection {
        Connection::open(self.data().join("relay.db")).unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}
