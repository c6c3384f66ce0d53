//! Reading from standard input, never without bound.

use std::io::{BufRead, IsTerminal, Read};

use crate::exit::Failure;

/// Longest line that is taken.
const MAX_LINE: u64 = 16 * 1024;

/// One line from standard input; asks for it on a terminal.
pub(super) fn line(what: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        eprint!("{what}: ");
    }
    let mut text = String::new();
    stdin.take(MAX_LINE).read_line(&mut text)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::usage(
            format!("no {what} on standard input"),
            format!("give the {what} as one line"),
        ));
    }
    Ok(text.to_owned())
}
