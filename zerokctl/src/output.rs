//! Data on stdout: JSON for programs, aligned text for people. What other devices have named is shown without
//! control characters, so that it cannot drive the terminal.

mod table;

use std::io::{IsTerminal, Write};
use std::path::Path;

use serde::Serialize;

pub(crate) use table::Table;

use crate::exit::Failure;

/// Where a command's answer goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Whether the answer is JSON.
    pub(crate) json: bool,
}

impl Output {
    /// Prints the document for a program, or the text for a person.
    pub(crate) fn answer<T: Serialize>(
        self,
        document: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json { self.document(document) } else { self.text(&text()) }
    }

    /// Prints one JSON document on one line.
    pub(crate) fn document<T: Serialize>(self, document: &T) -> Result<(), Failure> {
        let mut line = serde_json::to_string(document).map_err(std::io::Error::other)?;
        line.push('\n');
        self.bytes(line.as_bytes())
    }

    /// Prints text, which ends with a newline or is empty.
    pub(crate) fn text(self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are, at once.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Tells a person something on stderr.
    pub(crate) fn say(self, text: &str) {
        // Talk is not the answer: when nobody listens, the command goes on.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Whether stdout is a terminal.
pub(crate) fn to_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// The text without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// The first digits of an id, enough for a person.
pub(crate) fn short(id: &str) -> String {
    plain(id).chars().take(10).collect()
}

/// A number of bytes for a person.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut tenths, mut unit) = (n, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenths} {name}") }
}

/// A number of seconds for a person.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long ago a time in Unix milliseconds was.
pub(crate) fn ago(at_ms: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{} ago", duration(now.as_secs().saturating_sub(at_ms / 1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(plain("Büro"), "Büro");
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/home/a")), "/home/a");
        assert_eq!(quoted(Path::new("/it's")), "'/it'\\''s'");
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(3660), "1 h 1 min");
    }
}
