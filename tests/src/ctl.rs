//! `zerokctl` as a process, once or followed line by line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use crate::binary::binary;

/// How long one command may take.
const PATIENCE: &str = "60";
/// How long a followed command may be silent when a line is expected.
const SILENCE: Duration = Duration::from_secs(20);

/// What a command printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Itself, if it exited 0.
    ///
    /// # Panics
    /// It did not.
    #[must_use]
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\nstdout: {}\nstderr: {}", self.command, self.stdout, self.stderr);
        self
    }

    /// Its standard output as one JSON document.
    ///
    /// # Panics
    /// It is not one.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| {
            panic!(
                "{}: no JSON document ({e})\nstdout: {}\nstderr: {}",
                self.command, self.stdout, self.stderr
            )
        })
    }
}

/// `zerokctl --home HOME ARGS…`, with this standard input.
pub(crate) fn command(home: &Path, args: &[&str]) -> Command {
    // `timeout` (coreutils) so that a command that hangs fails its test instead of holding it for ever.
    let mut command = Command::new("timeout");
    command.arg("--kill-after=1").arg(PATIENCE).arg(binary("zerokctl")).arg("--home").arg(home).args(args);
    command
}

/// Runs it to its end.
pub(crate) fn run(home: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = command(home, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("zerokctl starts");
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input may be gone already.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().expect("zerokctl can be waited for");
    Output {
        command: format!("zerokctl {}", args.join(" ")),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A command that goes on printing lines, as with `--follow`. Killed on drop.
#[derive(Debug)]
pub struct Follow {
    child: Child,
    lines: Receiver<String>,
}

impl Follow {
    pub(crate) fn start(home: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(binary("zerokctl"));
        command.arg("--home").arg(home).args(args);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("zerokctl starts");
        let out = child.stdout.take().expect("its output is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line as JSON.
    ///
    /// # Panics
    /// None comes, or it is no JSON.
    #[track_caller]
    pub fn line(&mut self) -> Value {
        match self.lines.recv_timeout(SILENCE) {
            Ok(line) => serde_json::from_str(&line).unwrap_or_else(|e| panic!("no JSON line ({e}): {line}")),
            Err(RecvTimeoutError::Timeout) => panic!("no line within {} s", SILENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => panic!("the followed command ended"),
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
