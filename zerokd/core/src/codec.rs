//! MessagePack as every format here uses it: named maps out; in, exactly one value, shallow, nothing behind it.

use std::io::Cursor;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Deepest nesting of any of our formats is 6 (a signal's vector in its body).
const MAX_DEPTH: usize = 12;

/// The named-map encoding of plain data.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("writing plain data to a Vec cannot fail")
}

/// Reads one value that fills `bytes` exactly; `None` for anything else.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut from = rmp_serde::Deserializer::new(Cursor::new(bytes));
    from.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut from).ok()?;
    (usize::try_from(from.position()).ok()? == bytes.len()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_value_is_refused() {
        assert_eq!(decode::<u64>(&encode(&7u64)), Some(7));
        assert_eq!(decode::<u64>(&[7, 0]), None);
        assert_eq!(decode::<u64>(&[]), None);
    }
}
