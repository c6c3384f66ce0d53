//! Names of devices and groups: what another person typed is shown here, so nothing in it may steer a terminal.

/// Longest name, in characters.
pub const MAX_NAME: usize = 64;

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but white space.
    #[error("is empty")]
    Empty,
    /// Too long.
    #[error("is longer than {MAX_NAME} characters")]
    TooLong,
    /// A control character, or one that turns the direction of the text or cannot be seen.
    #[error("holds a control character")]
    Control,
}

/// Is it a name: 1 to 64 characters, none of them a control or direction character?
///
/// # Errors
/// Says what is wrong with it.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Empty);
    }
    if name.chars().nth(MAX_NAME).is_some() {
        return Err(NameError::TooLong);
    }
    if name.chars().any(steers) {
        return Err(NameError::Control);
    }
    Ok(())
}

/// Controls, line and paragraph separators, direction marks and overrides, invisible characters. The joiners of
/// scripts and emoji (U+200C, U+200D) are not among them.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_pass_and_tricks_do_not() {
        for good in ["laptop", "Zoë's Läptop 💻", "مكتب", "👩‍💻", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let cases = [
            ("", NameError::Empty),
            ("  ", NameError::Empty),
            ("a\nb", NameError::Control),
            ("a\u{1b}[2J", NameError::Control),
            ("a\u{202e}b", NameError::Control),
            (&"ü".repeat(65), NameError::TooLong),
        ];
        for (bad, error) in cases {
            assert_eq!(check_name(bad), Err(error), "{bad:?}");
        }
    }
}
