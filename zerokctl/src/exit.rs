//! How a command ends: the exit code, the text and the hint.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use zerok_client::{ApiError, Error, ErrorKind, RpcError};

/// Exit codes; each number means one thing for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    NotRunning = 3,
    NotPaired = 4,
    Conflict = 5,
    NotAuthorised = 6,
    TimedOut = 7,
    RelayUnreachable = 8,
    OverQuota = 9,
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    /// The word of the API's error table, or one of our own.
    kind: &'static str,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A command line that cannot mean anything.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: Code::Usage, kind: "usage", message: message.into(), hint: Some(hint.into()) }
    }

    /// Something that did not happen in time.
    pub(crate) fn timed_out(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: Code::TimedOut, kind: "timeout", message: message.into(), hint: Some(hint.into()) }
    }

    /// Anything else that went wrong.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { code: Code::Failed, kind: "failed", message: message.into(), hint: None }
    }

    /// Tells the person (or, with `--json`, the program) on stderr, and gives the exit code.
    pub(crate) fn report(mut self, home: Option<&Path>, json: bool) -> ExitCode {
        if self.code == Code::NotRunning {
            self.hint = Some(format!("start it: {}", start_command(home)));
        }
        let text = if json { self.as_json() } else { self.as_text() };
        if self.code != Code::Ok {
            // When stderr is gone too there is nobody left to tell.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        ExitCode::from(self.code as u8)
    }

    fn as_text(&self) -> String {
        let hint = self.hint.as_ref().map(|h| format!("hint: {}\n", crate::output::plain(h)));
        format!("error: {}\n{}", crate::output::plain(&self.message), hint.unwrap_or_default())
    }

    fn as_json(&self) -> String {
        let error = serde_json::json!({ "kind": self.kind, "message": self.message, "hint": self.hint });
        format!("{}\n", serde_json::json!({ "error": error }))
    }
}

fn start_command(home: Option<&Path>) -> String {
    match home {
        Some(home) => format!("zerokd --home {}", crate::output::quoted(home)),
        None => "zerokd".to_owned(),
    }
}

impl From<ErrorKind> for Code {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidArgument => Self::Usage,
            ErrorKind::NotPaired => Self::NotPaired,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Revoked => Self::NotAuthorised,
            ErrorKind::Timeout => Self::TimedOut,
            ErrorKind::RelayUnreachable => Self::RelayUnreachable,
            ErrorKind::Quota => Self::OverQuota,
            _ => Self::Failed,
        }
    }
}

impl From<ApiError> for Failure {
    fn from(e: ApiError) -> Self {
        Self { code: e.kind.into(), kind: e.kind.as_str(), message: e.message, hint: Some(e.hint) }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        let message = e.to_string();
        let (code, kind, hint) = match e {
            Error::Api(api) => return api.into(),
            Error::NotRunning { .. } => (Code::NotRunning, "not_running", "start it: zerokd"),
            Error::Socket(_) => (Code::Usage, "socket", "name a shorter --home, or set ZEROKD_SOCKET"),
            Error::Connect(io) if io.kind() == std::io::ErrorKind::PermissionDenied => {
                (Code::NotAuthorised, "permission", "the daemon answers only the user that it runs as")
            }
            Error::Connect(_) => (Code::Failed, "connect", "look at the daemon's log"),
            Error::Call { .. } => (Code::Failed, "call", "zerokctl and zerokd may differ in version"),
            Error::Busy => (Code::Failed, "busy", "close a program that uses the daemon, and try again"),
            Error::Timeout => (Code::TimedOut, "timeout", "look at the daemon's log"),
            Error::Lost(_) => (Code::Failed, "lost", "see whether the daemon still runs: zerokctl status"),
        };
        Self { code, kind, message, hint: Some(hint.to_owned()) }
    }
}

impl From<RpcError> for Failure {
    fn from(e: RpcError) -> Self {
        Error::from(e).into()
    }
}

/// From standard output and the runtime. A reader that went away (`zerokctl … | head`) is no failure.
impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        let code = if e.kind() == std::io::ErrorKind::BrokenPipe { Code::Ok } else { Code::Failed };
        Self { code, kind: "io", message: e.to_string(), hint: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_scripts_act_on_have_their_own_exit_code() {
        let table = [
            (ErrorKind::NotPaired, 4),
            (ErrorKind::Conflict, 5),
            (ErrorKind::Revoked, 6),
            (ErrorKind::Timeout, 7),
            (ErrorKind::RelayUnreachable, 8),
            (ErrorKind::Quota, 9),
            (ErrorKind::Internal, 1),
        ];
        for (kind, code) in table {
            assert_eq!(Code::from(kind) as u8, code, "{kind:?}");
        }
    }

    #[test]
    fn every_api_error_carries_a_hint() {
        for kind in ErrorKind::ALL {
            let failure = Failure::from(ApiError::new(*kind, "text"));
            assert!(failure.as_text().contains("\nhint: "), "{kind:?}");
        }
    }

    #[test]
    fn the_start_command_repeats_the_home() {
        assert_eq!(start_command(Some(Path::new("/a b"))), "zerokd --home '/a b'");
        assert_eq!(start_command(None), "zerokd");
    }
}
