//! Framing: a `u32` big-endian length, then one MessagePack message of at most [`MAX_FRAME`] bytes.

use crate::limits::{HEADER_LEN, MAX_FRAME};

/// Why a frame is refused before its body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length exceeds the limit.
    #[error("frame of {0} bytes exceeds the limit of {MAX_FRAME}")]
    TooLarge(u32),
    /// A frame without a body.
    #[error("empty frame")]
    Empty,
}

/// The body length that a frame header announces, checked before anything is allocated for it.
///
/// # Errors
/// The length is zero or exceeds [`MAX_FRAME`].
pub fn frame_length(header: [u8; HEADER_LEN]) -> Result<usize, FrameError> {
    let announced = u32::from_be_bytes(header);
    match usize::try_from(announced) {
        Ok(0) => Err(FrameError::Empty),
        Ok(length) if length <= MAX_FRAME => Ok(length),
        _ => Err(FrameError::TooLarge(announced)),
    }
}

/// Appends one frame to `out`: room for the length, then what `body` writes, then the length filled in.
pub fn put_frame(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    body(out);
    let length = out.len() - start - HEADER_LEN;
    put_length(out, start, length);
}

/// Fills in the length of the frame that begins at `start`.
pub(crate) fn put_length(out: &mut [u8], start: usize, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if let Some(header) = out.get_mut(start..start + HEADER_LEN) {
        header.copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked_before_allocation() {
        assert_eq!(frame_length([0, 0, 0, 0]), Err(FrameError::Empty));
        assert_eq!(frame_length([0, 0, 0, 9]), Ok(9));
        let over = u32::try_from(MAX_FRAME).unwrap() + 1;
        assert_eq!(frame_length(over.to_be_bytes()), Err(FrameError::TooLarge(over)));
    }
}
