//! A process under test: its log in a file, and its end with the test's.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_for;

/// Lines of a log that a failing test shows.
const TAIL: usize = 40;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

/// A running process. It stays in the test's own process group, so that Ctrl-C and a test runner's time limit reach
/// it too; on drop it is killed, and its log's end is shown when the test is failing.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with its output appended to `log`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).expect("a log in the sandbox");
        let err = out.try_clone().expect("a second handle to the log");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It is gone already.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap_or_else(|e| panic!("signal to {}: {e}", self.name));
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill9(mut self) {
        self.end();
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// It did not end within the deadline.
    #[must_use]
    pub fn stop(mut self) -> Exit {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// It did not within the deadline.
    #[must_use]
    pub fn wait(&mut self) -> Exit {
        let what = format!("{} ends", self.name);
        wait_for(&what, || self.ended())
    }

    /// How it ended, if it did.
    ///
    /// # Panics
    /// The system does not say.
    #[must_use]
    pub fn ended(&mut self) -> Option<Exit> {
        self.child.try_wait().expect("a child can be waited for").map(Exit::from)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn end(&mut self) {
        // It may have ended by itself: then there is nothing to kill, only to collect.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let text = std::fs::read(&self.log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().collect();
            eprintln!("--- {}: the last of {} log lines", self.name, lines.len());
            for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
                eprintln!("    {line}");
            }
        }
    }
}
