//! A daemon process with a home of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::binary::binary;
use crate::ctl::{self, Follow, Output};
use crate::process::{Exit, Process};
use crate::rpc::{Api, RpcError, http_post};
use crate::sandbox::Sandbox;
use crate::wait::wait_until;

/// `zerokd --home …`, and the ways to talk to it.
#[derive(Debug)]
pub struct Daemon {
    home: PathBuf,
    log: PathBuf,
    environment: Vec<(String, String)>,
    process: Option<Process>,
}

impl Daemon {
    /// Starts one with the home `name` in the sandbox, and waits until it answers.
    ///
    /// # Panics
    /// It does not come up.
    #[must_use]
    pub fn start(sandbox: &Sandbox, name: &str) -> Self {
        Self::start_with(sandbox, name, &[])
    }

    /// The same with environment variables.
    ///
    /// # Panics
    /// It does not come up.
    #[must_use]
    pub fn start_with(sandbox: &Sandbox, name: &str, environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let log = sandbox.path().join(format!("{name}.log"));
        let mut daemon = Self { home: sandbox.path().join(name), log, environment, process: None };
        daemon.restart();
        daemon
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home.join("zerokd.sock")
    }

    /// Its process.
    ///
    /// # Panics
    /// It is not running.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the daemon is running")
    }

    /// Its process id.
    ///
    /// # Panics
    /// It is not running.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the daemon is running").id()
    }

    /// The command that starts it, to be changed before it is spawned.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary("zerokd"));
        command.arg("--home").arg(&self.home).env_remove("NOTIFY_SOCKET");
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Starts it again on the same home, and waits until it answers.
    ///
    /// # Panics
    /// It does not come up.
    pub fn restart(&mut self) {
        let mut process = Process::spawn("zerokd", &mut self.command(), &self.log);
        let socket = self.socket();
        let ask = json!({"jsonrpc": "2.0", "id": 0, "method": "daemon.version", "params": {}}).to_string();
        wait_until("the daemon answers", || {
            if let Some(exit) = process.ended() {
                panic!("zerokd ended at its start: {exit:?}");
            }
            http_post(&socket, &ask).is_ok()
        });
        self.process = Some(process);
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
        self.process.take().expect("the daemon is running").stop()
    }

    /// Holds it still.
    pub fn freeze(&mut self) {
        self.process().signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        self.process().signal(Signal::CONT);
    }

    /// Runs `zerokctl --home HOME ARGS…` to its end.
    #[must_use]
    pub fn ctl(&self, args: &[&str]) -> Output {
        ctl::run(&self.home, args, &[])
    }

    /// The same with a standard input.
    #[must_use]
    pub fn ctl_with_input(&self, args: &[&str], input: &[u8]) -> Output {
        ctl::run(&self.home, args, input)
    }

    /// Runs `zerokctl --json ARGS…`, which must succeed, and returns its document.
    ///
    /// # Panics
    /// It failed, or printed no JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        self.ctl(&[&["--json"], args].concat()).ok().json()
    }

    /// Starts `zerokctl --json ARGS…` and reads it line by line.
    #[must_use]
    pub fn follow(&self, args: &[&str]) -> Follow {
        Follow::start(&self.home, &[&["--json"], args].concat())
    }

    /// A caller of its local API, which stays good across restarts.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(self.socket())
    }

    /// Calls a method of the local API.
    ///
    /// # Errors
    /// The daemon refused it.
    pub fn try_call(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        self.api().try_call(method, params)
    }

    /// The same, and it must succeed.
    ///
    /// # Panics
    /// It was refused.
    #[track_caller]
    pub fn call(&self, method: &str, params: &Value) -> Value {
        self.api().call(method, params)
    }

    /// `daemon.status`.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> Value {
        self.call("daemon.status", &json!({}))
    }

    /// Pushes one blob; returns its id.
    #[track_caller]
    pub fn push(&self, channel: &str, data: &[u8]) -> String {
        self.api().push(channel, data)
    }

    /// Everything on a channel, from the beginning, in this device's order.
    #[must_use]
    #[track_caller]
    pub fn pull(&self, channel: &str) -> Vec<Vec<u8>> {
        self.api().pull(channel)
    }

    /// The digest of its version vector, in its only group.
    ///
    /// # Panics
    /// It has no group.
    #[must_use]
    #[track_caller]
    pub fn digest(&self) -> String {
        let status = self.status();
        status["groups"][0]["digest"].as_str().unwrap_or_else(|| panic!("no digest: {status}")).to_owned()
    }

    /// Own entries that no relay holds yet, in its only group.
    ///
    /// # Panics
    /// It has no group.
    #[must_use]
    #[track_caller]
    pub fn outbox(&self) -> u64 {
        let status = self.status();
        status["groups"][0]["outbox"].as_u64().unwrap_or_else(|| panic!("no outbox: {status}"))
    }
}
