//! A relay process: a free port at its first start, the same port ever after.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::binary::binary;
use crate::listening::{http_get, tcp_port};
use crate::process::{Exit, Process};
use crate::sandbox::Sandbox;
use crate::wait::wait_for;

/// `zerok-relay` with its data below the sandbox.
#[derive(Debug)]
pub struct Relay {
    dir: PathBuf,
    address: String,
    options: Vec<(String, String)>,
    process: Option<Process>,
}

impl Relay {
    /// Starts one and waits until it listens.
    ///
    /// # Panics
    /// It does not come up.
    #[must_use]
    pub fn start(sandbox: &Sandbox) -> Self {
        Self::start_with(sandbox, "relay", &[])
    }

    /// The same under a name of its own, with environment variables.
    ///
    /// # Panics
    /// It does not come up.
    #[must_use]
    pub fn start_with(sandbox: &Sandbox, name: &str, environment: &[(&str, &str)]) -> Self {
        let options = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut relay = Self { dir: sandbox.dir(name), address: String::new(), options, process: None };
        relay.restart();
        relay
    }

    /// The bare command, without arguments.
    #[must_use]
    pub fn command() -> Command {
        Command::new(binary("zerok-relay"))
    }

    /// Its address text, for `relay add`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its database, key and chunks are.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Its process.
    ///
    /// # Panics
    /// It is not running.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the relay is running")
    }

    /// Status code and body of a page that it serves over HTTP.
    ///
    /// # Panics
    /// It is not running.
    #[must_use]
    pub fn http(&self, path: &str) -> Option<(u16, String)> {
        let process = self.process.as_ref().expect("the relay is running");
        http_get(tcp_port(process.id())?, path).ok()
    }

    /// The sum of a metric over its labels.
    ///
    /// # Panics
    /// It is not running.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.http("/metrics")?;
        let values = text.lines().filter(|line| {
            let rest = line.strip_prefix("zerok_relay_").and_then(|line| line.strip_prefix(name));
            rest.is_some_and(|rest| rest.starts_with([' ', '{']) || rest.starts_with("_total"))
        });
        values.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// `kill -9`.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGTERM; how it ended.
    ///
    /// # Panics
    /// It was not running, or does not end.
    pub fn stop(&mut self) -> Exit {
        self.process.take().expect("the relay is running").stop()
    }

    /// Holds it still: connected, and answering nothing.
    pub fn freeze(&mut self) {
        self.process().signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        self.process().signal(Signal::CONT);
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// It does not come up, or under another address.
    pub fn restart(&mut self) {
        let bind = match self.address.rsplit_once('@') {
            Some((_, address)) => address.to_owned(),
            None => "127.0.0.1:0".to_owned(),
        };
        let file = self.dir.join("address");
        let _ = std::fs::remove_file(&file);
        let mut command = Self::command();
        command.arg("--data").arg(self.data()).arg("--bind").arg(bind).arg("--http").arg("127.0.0.1:0");
        command.arg("--address-file").arg(&file);
        command.envs(self.options.iter().map(|(k, v)| (k, v)));
        let mut process = Process::spawn("zerok-relay", &mut command, &self.log());
        let address = wait_for("the relay listens", || {
            if let Some(exit) = process.ended() {
                panic!("zerok-relay ended at its start: {exit:?}");
            }
            read_line(&file)
        });
        assert!(
            self.address.is_empty() || self.address == address,
            "the relay came back under another address"
        );
        self.address = address;
        self.process = Some(process);
    }

    /// Removes its database, not its key; only while it is stopped.
    ///
    /// # Panics
    /// It is running, or there is no database.
    pub fn delete_database(&mut self) {
        assert!(self.process.is_none(), "stop the relay first");
        let mut removed = 0;
        for entry in std::fs::read_dir(self.data()).expect("the relay's data").flatten() {
            if entry.file_name().to_string_lossy().starts_with("relay.db") {
                std::fs::remove_file(entry.path()).expect("removing the relay's database");
                removed += 1;
            }
        }
        assert!(removed > 0, "the relay had no database");
    }
}

fn read_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|line| !line.is_empty())
}
