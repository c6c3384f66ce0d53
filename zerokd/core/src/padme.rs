//! Padmé padding (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs",
//! PETS 2019): a length keeps only its leading bits, so that at most 12 % is added and few lengths remain.

/// Why a padded text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaddingError {
    /// Shorter than the length it announces.
    #[error("padded text is shorter than it says")]
    Truncated,
    /// Something other than zeros behind the text.
    #[error("padding is not zero")]
    NotZero,
}

/// Bytes of the length in front.
pub(crate) const PREFIX: usize = 4;

/// The length to which `n` bytes are padded: at least `n`, at most 12 % more.
#[must_use]
pub fn padded_len(n: usize) -> usize {
    let Some(exponent @ 1..) = n.checked_ilog2() else { return n };
    let cleared = exponent - (exponent.ilog2() + 1);
    let mask = (1usize << cleared) - 1;
    n.checked_add(mask).map_or(n, |up| up & !mask)
}

/// Appends the length of `plaintext` (u32 big-endian), `plaintext` and zeros up to the padded length.
pub(crate) fn pad_into(out: &mut Vec<u8>, plaintext: &[u8]) {
    let length = u32::try_from(plaintext.len()).expect("nothing of 4 GiB is ever padded");
    let start = out.len();
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(plaintext);
    out.resize(start + padded_len(PREFIX + plaintext.len()), 0);
}

/// The length of `plaintext` (u32 big-endian), `plaintext`, zeros up to [`padded_len`] of both.
#[must_use]
pub fn pad(plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(padded_len(PREFIX + plaintext.len()));
    pad_into(&mut out, plaintext);
    out
}

/// The text inside.
///
/// # Errors
/// The announced length does not fit, or the tail is not zero.
pub fn unpad(padded: &[u8]) -> Result<&[u8], PaddingError> {
    let (length, rest) = padded.split_first_chunk().ok_or(PaddingError::Truncated)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| PaddingError::Truncated)?;
    let (text, tail) = rest.split_at_checked(length).ok_or(PaddingError::Truncated)?;
    if tail.iter().any(|b| *b != 0) {
        return Err(PaddingError::NotZero);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_those_of_the_paper() {
        let pairs =
            [(0, 0), (1, 1), (2, 2), (8, 8), (9, 10), (11, 12), (100, 104), (1000, 1024), (1 << 20, 1 << 20)];
        for (n, padded) in pairs {
            assert_eq!(padded_len(n), padded, "{n}");
        }
        assert_eq!(padded_len((1 << 20) + 1), (1 << 20) + (1 << 15));
        assert_eq!(padded_len(usize::MAX), usize::MAX);
    }

    #[test]
    fn a_tail_that_is_not_zero_is_refused() {
        let mut padded = pad(&[1; 9]);
        *padded.last_mut().unwrap() = 1;
        assert_eq!(unpad(&padded), Err(PaddingError::NotZero));
        assert_eq!(unpad(&[0, 0, 0, 1]), Err(PaddingError::Truncated));
        assert_eq!(unpad(&[0, 0]), Err(PaddingError::Truncated));
    }

    proptest! {
        #[test]
        fn padding_adds_at_most_12_percent_and_keeps_order(n in 0usize..1 << 40) {
            let padded = padded_len(n);
            prop_assert!(padded >= n);
            prop_assert!((padded - n) * 100 <= n * 12);
            prop_assert!(padded_len(n + 1) >= padded);
            prop_assert_eq!(padded_len(padded), padded);
        }

        #[test]
        fn padding_comes_off_again(text in prop::collection::vec(any::<u8>(), 0..2000)) {
            let padded = pad(&text);
            prop_assert_eq!(unpad(&padded), Ok(text.as_slice()));
        }

        #[test]
        fn unpad_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = unpad(&bytes);
        }
    }
}
