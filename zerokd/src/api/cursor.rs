//! Cursors as apps see them: opaque `<generation>.<n>`; `0` is the beginning.

use zerok_client::{ApiError, ErrorKind};

/// A cursor's text.
pub(super) fn text(generation: &str, n: u64) -> String {
    format!("{generation}.{n}")
}

/// Reads a cursor; `None` is one of another generation.
pub(super) fn parse(parameter: &str, cursor: &str, generation: &str) -> Result<Option<u64>, ApiError> {
    if cursor == "0" {
        return Ok(Some(0));
    }
    let malformed = || ApiError::invalid(parameter, "is no cursor: use 0, or one that the daemon gave");
    let (theirs, n) = cursor.split_once('.').ok_or_else(malformed)?;
    let n: u64 = n.parse().map_err(|_| malformed())?;
    if theirs.len() != generation.len()
        || !theirs.bytes().all(|b| b.is_ascii_hexdigit())
        || i64::try_from(n).is_err()
    {
        return Err(malformed());
    }
    Ok((theirs == generation).then_some(n))
}

/// Reads a cursor of the log.
pub(super) fn parse_log(parameter: &str, cursor: &str, generation: &str) -> Result<u64, ApiError> {
    parse(parameter, cursor, generation)?.ok_or_else(|| {
        ApiError::new(
            ErrorKind::CursorReset,
            format!("{parameter}: the cursor belongs to an earlier database"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_generation_is_told_apart_from_garbage() {
        assert_eq!(parse("after", &text("0a0b", 7), "0a0b").unwrap(), Some(7));
        assert_eq!(parse("after", "0", "0a0b").unwrap(), Some(0));
        assert_eq!(parse("after", "ffff.7", "0a0b").unwrap(), None);
        for garbage in ["", "7", "0a0b", "0a0b.", "0a0b.x", "0a0b.-1", "0a0b.99999999999999999999", "zzzz.1"]
        {
            assert_eq!(
                parse("after", garbage, "0a0b").unwrap_err().kind,
                ErrorKind::InvalidArgument,
                "{garbage}"
            );
        }
        assert_eq!(parse_log("after", "ffff.7", "0a0b").unwrap_err().kind, ErrorKind::CursorReset);
    }
}
