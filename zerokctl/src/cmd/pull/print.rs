//! How entries look: for a program one JSON document or one per line; into a pipe the bytes as they are, each
//! followed by a newline; on a terminal text that cannot drive it.

use zerok_client::types::{Entry, Gap};

use crate::exit::Failure;
use crate::output::{Output, bytes, plain, to_terminal};

/// Prints entries as they are read.
pub(super) struct Printer {
    out: Output,
    form: Form,
    /// Whether the document was begun; not before the first page is there, so that a failure prints nothing.
    begun: bool,
    first: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `{"entries":[…],"next":…}`, written piece by piece.
    Document,
    /// One JSON document per entry and line.
    Lines,
    Raw,
    Terminal,
}

impl Printer {
    /// For entries that end.
    pub(super) fn new(out: Output) -> Self {
        Self { out, form: if out.json { Form::Document } else { for_people() }, begun: false, first: true }
    }

    /// For entries that come for as long as somebody waits.
    pub(super) fn lines(out: Output) -> Self {
        Self { out, form: if out.json { Form::Lines } else { for_people() }, begun: false, first: true }
    }

    pub(super) fn entries(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let mut buffer = Vec::new();
        if self.form == Form::Document && !self.begun {
            buffer.extend_from_slice(br#"{"entries":["#);
            self.begun = true;
        }
        for entry in entries {
            self.one(entry, &mut buffer)?;
            self.first = false;
        }
        self.out.bytes(&buffer)
    }

    pub(super) fn end(
        &self,
        next: &str,
        has_more: bool,
        gaps: &[Gap],
        truncated: bool,
    ) -> Result<(), Failure> {
        if self.form != Form::Document {
            return Ok(());
        }
        let rest = serde_json::json!({
            "next": next, "has_more": has_more, "gaps": gaps, "truncated": truncated
        });
        let rest = rest.to_string();
        self.out.text(&format!("],{}\n", rest.strip_prefix('{').unwrap_or(&rest)))
    }

    fn one(&self, entry: &Entry, buffer: &mut Vec<u8>) -> Result<(), Failure> {
        match self.form {
            Form::Document | Form::Lines => {
                if self.form == Form::Document && !self.first {
                    buffer.push(b',');
                }
                serde_json::to_writer(&mut *buffer, entry).map_err(std::io::Error::other)?;
                if self.form == Form::Lines {
                    buffer.push(b'\n');
                }
            }
            Form::Raw => {
                buffer.extend_from_slice(entry.data.as_bytes());
                buffer.push(b'\n');
            }
            Form::Terminal => {
                buffer.extend_from_slice(readable(entry.data.as_bytes()).as_bytes());
                buffer.push(b'\n');
            }
        }
        Ok(())
    }
}

fn for_people() -> Form {
    if to_terminal() { Form::Terminal } else { Form::Raw }
}

/// Text as text, line by line; anything else by its size.
fn readable(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) => text.lines().map(plain).collect::<Vec<_>>().join("\n"),
        Err(_) => format!("[{}]", bytes(data.len().try_into().unwrap_or(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_cannot_drive_the_terminal() {
        assert_eq!(readable(b"a\x1b[2J\nb"), "a\\u{1b}[2J\nb");
        assert_eq!(readable(&[0xff, 0xfe]), "[2 B]");
    }
}
