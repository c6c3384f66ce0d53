//! An epoch id as 16 bytes: number and tag, both big-endian.

use zerok_protocol::EpochId;

pub(crate) fn epoch_bytes(id: EpochId) -> [u8; 16] {
    let mut out = [0; 16];
    let (number, tag) = out.split_at_mut(8);
    number.copy_from_slice(&id.number.to_be_bytes());
    tag.copy_from_slice(&id.tag.to_be_bytes());
    out
}

pub(crate) fn read_epoch(bytes: &[u8; 16]) -> EpochId {
    let both = u128::from_be_bytes(*bytes);
    let low = |n: u128| u64::try_from(n & u128::from(u64::MAX)).unwrap_or_default();
    EpochId { number: low(both >> 64), tag: low(both) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_id_comes_back() {
        let id = EpochId { number: 3, tag: u64::MAX - 1 };
        assert_eq!(read_epoch(&epoch_bytes(id)), id);
        assert_eq!(epoch_bytes(id)[7], 3);
    }
}
